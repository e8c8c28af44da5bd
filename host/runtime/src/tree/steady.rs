//! Files that come last, read until they are whole.
//!
//! PostgreSQL overwrites `pg_control` in place while it runs, and a read beside a write may be torn: half old, half new. Two
//! equal reads in a row make that unlikely; its own checksum rules it out.

use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use stillframe_core::postgres::PgControl;

use super::transfer::{self, CloneStats, Transfer};
use super::{TreeError, beneath};

/// Longest such file: `pg_control` has 8 KiB, and the content is held in memory twice.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Reads until two agree. A checkpoint writes the file once, so more than a few tries mean that it is damaged.
const MAX_READS: usize = 100;

/// Clones a file that comes last. It is always copied, and its absence is an error: without it the clone would be useless.
pub(super) fn clone_last(transfer: &Transfer<'_>, path: &Path) -> Result<CloneStats, TreeError> {
    let failed = |cause: io::Error| TreeError::of("clone the file", &path.display(), &cause);
    let (content, metadata) = settle(path, || {
        transfer.stop.check()?;
        read_once(transfer, path)
    })?;
    let (parent, _) = beneath::open_parent(transfer.clone, path).map_err(failed)?;
    let to = transfer::create(&parent, path)?;
    to.write_all_at(&content, 0).map_err(failed)?;
    transfer::finish(&to, &metadata, transfer.flush).map_err(failed)?;
    let bytes = content.len() as u64;
    Ok(CloneStats { files: 1, bytes_total: bytes, bytes_copied: bytes, ..CloneStats::default() })
}

/// Reads until two reads agree and the content is whole.
fn settle<M>(path: &Path, mut read: impl FnMut() -> Result<(Vec<u8>, M), TreeError>) -> Result<(Vec<u8>, M), TreeError> {
    let mut previous = None;
    let mut flaw = "no two reads of it agree".to_owned();
    for _ in 0..MAX_READS {
        let (content, metadata) = read()?;
        if previous.as_ref() == Some(&content) {
            match check(path, &content) {
                Ok(()) => return Ok((content, metadata)),
                Err(found) => flaw = found,
            }
        }
        previous = Some(content);
    }
    Err(TreeError::Failed(format!("cannot clone `{}`: after {MAX_READS} reads {flaw}", path.display())))
}

/// Opens the file anew each time: it may be replaced as well as overwritten.
fn read_once(transfer: &Transfer<'_>, path: &Path) -> Result<(Vec<u8>, Metadata), TreeError> {
    let failed = |cause: io::Error| TreeError::of("read the file that comes last,", &path.display(), &cause);
    let file = beneath::open(transfer.source, path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(TreeError::Failed(format!(
            "`{}` cannot come last: it is not a regular file of at most {MAX_BYTES} bytes",
            path.display()
        )));
    }
    let mut content = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut content).map_err(failed)?;
    Ok((content, metadata))
}

/// Checks what can be checked of a file by its name.
fn check(path: &Path, content: &[u8]) -> Result<(), String> {
    if path.file_name().is_some_and(|name| name == "pg_control") {
        PgControl::parse(content).map_err(|cause| cause.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::control_file;
    use super::*;

    #[test]
    fn takes_the_first_content_that_is_whole_and_read_twice() {
        let (old, new) = (control_file(1), control_file(2));
        let mut torn = new.clone();
        torn[..100].copy_from_slice(&old[..100]);
        let mut reads = [torn.clone(), torn.clone(), torn, old, new.clone(), new.clone()].into_iter();
        let read = || reads.next().map(|content| (content, ())).ok_or(TreeError::TimedOut);
        assert_eq!(settle(Path::new("global/pg_control"), read), Ok((new, ())));
    }

    #[test]
    fn gives_up_on_a_control_file_whose_checksum_never_fits() {
        let mut damaged = control_file(1);
        damaged[0] ^= 1;
        let error = settle(Path::new("global/pg_control"), || Ok((damaged.clone(), ()))).unwrap_err();
        assert!(matches!(&error, TreeError::Failed(text) if text.contains("checksum")), "{error}");
    }

    #[test]
    fn gives_up_on_a_file_that_changes_with_every_read() {
        let mut count = 0u32;
        let mut read = || {
            count += 1;
            Ok((count.to_le_bytes().to_vec(), ()))
        };
        let error = settle(Path::new("other"), &mut read).unwrap_err();
        assert!(matches!(&error, TreeError::Failed(text) if text.contains("agree")), "{error}");
    }
}
