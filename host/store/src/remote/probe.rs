//! Proves that a server does what a store must do, before anything is entrusted to it.
//!
//! Some servers that speak S3 ignore the precondition of a conditional write and answer 200; some look first and write then, so
//! that of several writers more than one wins. On either, two hosts push different WAL under one name and both are told that it
//! is safe. The objects made here begin with a dot, so that no listing shows them, and are removed whatever happens.

use bytes::Bytes;
use futures_util::future::join_all;
use stillframe_core::store::PutOutcome;
use thiserror::Error;

use super::fault::Fault;
use super::wire::Wire;

/// Writers that race for one name: on two cores, a server that looks before it writes lets several win in every few rounds.
const WRITERS: usize = 24;

/// Races, each for a name of its own.
const ROUNDS: usize = 5;

/// Large enough to take more than one step through a server, small enough for a slow line: 5 × 24 × 64 KiB are 7.5 MiB.
const BODY_BYTES: usize = 64 << 10;

/// What a store promises.
const READ: &str = "an object is read as it was written";
const LISTING: &str = "an object is listed as soon as it is written";
const DELETION: &str = "an object that was deleted is absent";
const PRECONDITION: &str = "a write on the condition that there is no object replaces none";

/// A promise that the server broke, and how.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{did}, against the promise that {promise}")]
pub(crate) struct Breach {
    promise: &'static str,
    did: String,
}

/// Proves reads after writes, listings, deletions and conditional writes; leaves nothing behind.
pub(super) async fn prove(wire: &dyn Wire) -> Result<(), Fault> {
    let token = token()?;
    let names: Vec<String> = (0..=ROUNDS).map(|round| format!(".stillframe-probe-{token}-{round}")).collect();
    let outcome = async {
        prove_in_sequence(wire, &names[0], &token).await?;
        for name in &names[1..] {
            prove_in_a_race(wire, name).await?;
        }
        Ok(())
    };
    let outcome = outcome.await;
    let removed = remove(wire, &names).await;
    // The first fault says more than that the removal failed as well.
    outcome.and(removed)
}

async fn prove_in_sequence(wire: &dyn Wire, name: &str, token: &str) -> Result<(), Fault> {
    let (first, second) = (Bytes::from(format!("first {token}")), Bytes::from(format!("second {token}")));
    if wire.put_if_absent(name, first.clone()).await? == PutOutcome::AlreadyExists {
        return breach(PRECONDITION, "it said of a name that was never used that it exists");
    }
    let again = wire.put_if_absent(name, second.clone()).await?;
    let read = wire.get(name).await?;
    if again == PutOutcome::Created {
        let and = if read.as_ref() == Some(&second) { " and replaced the object" } else { "" };
        return breach(PRECONDITION, &format!("it ignored the precondition: it answered success to a second writer{and}"));
    }
    if read.as_ref() != Some(&first) {
        return breach(READ, "it gave back another object than was written");
    }
    if wire.head(name).await? != Some(first.len() as u64) {
        return breach(READ, "it told another size than was written");
    }
    let listed = wire.list(name, None, 2).await?.entries;
    if listed != [(name.to_owned(), first.len() as u64)] {
        return breach(LISTING, &format!("it listed {} objects where there is one", listed.len()));
    }
    wire.delete(name).await?;
    if wire.get(name).await?.is_some() || !wire.list(name, None, 2).await?.entries.is_empty() {
        return breach(DELETION, "it still shows an object that it deleted");
    }
    Ok(())
}

async fn prove_in_a_race(wire: &dyn Wire, name: &str) -> Result<(), Fault> {
    let bodies: Vec<Bytes> = (0..WRITERS).map(|writer| Bytes::from(vec![writer.to_le_bytes()[0]; BODY_BYTES])).collect();
    let writers = bodies.iter().map(|body| wire.put_if_absent(name, body.clone()));
    let outcomes: Vec<PutOutcome> = join_all(writers).await.into_iter().collect::<Result<_, _>>()?;
    let winners: Vec<usize> = (0..WRITERS).filter(|writer| outcomes[*writer] == PutOutcome::Created).collect();
    match winners.as_slice() {
        [winner] if wire.get(name).await?.as_ref() == Some(&bodies[*winner]) => Ok(()),
        [_] => breach(PRECONDITION, "it told one writer of a race that it had won, and kept the object of another"),
        [] => breach(PRECONDITION, &format!("it let none of {WRITERS} concurrent writers win")),
        several => {
            let did = format!("it answered success to {} of {WRITERS} concurrent writers of one object", several.len());
            breach(PRECONDITION, &did)
        }
    }
}

async fn remove(wire: &dyn Wire, names: &[String]) -> Result<(), Fault> {
    join_all(names.iter().map(|name| wire.delete(name))).await.into_iter().collect()
}

fn breach(promise: &'static str, did: &str) -> Result<(), Fault> {
    Err(Fault::Unfit { source: Breach { promise, did: did.to_owned() } })
}

fn token() -> Result<String, Fault> {
    getrandom::u64().map(|random| format!("{random:016x}")).map_err(|source| Fault::NoRandomness { source })
}
