//! Proves that a file system does what a store must do: an object is read as it was written, and of several writers one creates it.
//!
//! Network file systems, and those that a program emulates, have been seen to let more than one win. The names begin with a dot, so
//! that no listing shows them, and are removed whatever happens.

use std::io::Read as _;
use std::thread;

use rustix::fs::{AtFlags, Mode, OFlags};
use stillframe_core::store::PutOutcome;

use super::fault::Fault;
use super::publish::{Publication, publish_in};
use super::tree::Root;

/// Writers that race for one name.
const WRITERS: u8 = 8;

/// Races, each for a name of its own.
const ROUNDS: u8 = 5;

/// Proves it; leaves nothing behind.
pub(super) fn prove(root: &Root) -> Result<(), Fault> {
    let random = getrandom::u64().map_err(|source| Fault::NoRandomness { source })?;
    let proofs = (0..ROUNDS).map(|round| {
        let name = format!(".stillframe-probe-{random:016x}-{round}");
        let proven = race(root, &name);
        let removed = rustix::fs::unlinkat(root.top(), name.as_str(), AtFlags::empty());
        // The first fault says more than that the removal failed as well.
        proven.and_then(|()| removed.map_err(Fault::at("remove a probe")))
    });
    proofs.collect()
}

/// Lets several writers race for one name, and reads what came of it.
fn race(root: &Root, name: &str) -> Result<(), Fault> {
    let write = |writer: u8| publish_in(root, root.top(), name, &[writer; 4096], Publication::IfAbsent);
    let outcomes: Vec<Result<PutOutcome, Fault>> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap_or(Err(Fault::Unfit { did: "let a writer panic".to_owned() })))
            .collect()
    });
    let outcomes: Vec<PutOutcome> = outcomes.into_iter().collect::<Result<_, _>>()?;
    let winners: Vec<u8> = (0..WRITERS).filter(|writer| outcomes[usize::from(*writer)] == PutOutcome::Created).collect();
    let [winner] = winners[..] else {
        return Err(Fault::Unfit {
            did: format!("told {} of {WRITERS} writers of one object that they had created it", winners.len()),
        });
    };
    if read(root, name)? == [winner; 4096] {
        return Ok(());
    }
    Err(Fault::Unfit { did: "gave back another object than was written".to_owned() })
}

fn read(root: &Root, name: &str) -> Result<Vec<u8>, Fault> {
    let file = rustix::fs::openat(root.top(), name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let mut bytes = Vec::new();
    let file = std::fs::File::from(file.map_err(Fault::at("open a probe"))?);
    file.take(8192).read_to_end(&mut bytes).map_err(Fault::io("read a probe"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_proven_and_nothing_stays_of_the_proof() {
        let directory = tempfile::TempDir::new().unwrap();
        let root = Root::create(directory.path()).unwrap();
        let names = || std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let before = names();
        prove(&root).unwrap();
        assert_eq!(names(), before);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_not_proven() {
        let directory = tempfile::TempDir::new().unwrap();
        let root = Root::create(directory.path()).unwrap();
        // Removed and still open: nothing can be created in it, whoever asks.
        drop(directory);
        assert!(prove(&root).is_err());
    }
}
