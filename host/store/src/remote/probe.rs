//! Proves that a server does what a store must do, before anything is entrusted to it.
//!
//! Some servers that speak S3 ignore the precondition of a conditional write and answer 200; some look first and write then, so
//! that of several writers more than one wins. On either, two hosts push different WAL under one name and both are told that it
//! is safe. The objects made here begin with a dot, so that no listing shows them, and are removed whatever happens.

use std::collections::BTreeSet;
use std::fmt;

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

/// A promise that the server broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Promise {
    /// What was written is read.
    Read,
    /// What was written is listed.
    Listing,
    /// What was deleted is gone.
    Deletion,
    /// Who writes only what is absent replaces nothing.
    Precondition,
}

impl fmt::Display for Promise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Read => "an object is read as it was written",
            Self::Listing => "an object is listed as soon as it is written",
            Self::Deletion => "an object that was deleted is absent",
            Self::Precondition => "a write on the condition that there is no object replaces none",
        })
    }
}

/// How the server broke it.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{did}, against the promise that {promise}")]
pub(crate) struct Breach {
    promise: Promise,
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
        return breach(Promise::Precondition, "it said of a name that was never used that it exists");
    }
    let again = wire.put_if_absent(name, second.clone()).await?;
    let read = wire.get(name).await?;
    if again == PutOutcome::Created {
        let and = if read.as_ref() == Some(&second) { " and replaced the object" } else { "" };
        return breach(Promise::Precondition, &format!("it ignored the precondition: it answered success to a second writer{and}"));
    }
    if read.as_ref() != Some(&first) {
        return breach(Promise::Read, "it gave back another object than was written");
    }
    if wire.head(name).await? != Some(first.len() as u64) {
        return breach(Promise::Read, "it told another size than was written");
    }
    let listed = wire.list(name, None, 2).await?.entries;
    if listed != [(name.to_owned(), first.len() as u64)] {
        return breach(Promise::Listing, &format!("it listed {} objects where there is one", listed.len()));
    }
    wire.delete(name).await?;
    if wire.get(name).await?.is_some() || !wire.list(name, None, 2).await?.entries.is_empty() {
        return breach(Promise::Deletion, "it still shows an object that it deleted");
    }
    Ok(())
}

async fn prove_in_a_race(wire: &dyn Wire, name: &str) -> Result<(), Fault> {
    let bodies: Vec<Bytes> = (0..WRITERS).map(|writer| Bytes::from(vec![writer.to_le_bytes()[0]; BODY_BYTES])).collect();
    let writers = bodies.iter().map(|body| wire.put_if_absent(name, body.clone()));
    let outcomes: Vec<PutOutcome> = join_all(writers).await.into_iter().collect::<Result<_, _>>()?;
    let winners: BTreeSet<usize> = (0..WRITERS).filter(|writer| outcomes[*writer] == PutOutcome::Created).collect();
    match (winners.len(), winners.first()) {
        (1, Some(winner)) if wire.get(name).await?.as_ref() == Some(&bodies[*winner]) => Ok(()),
        (1, _) => breach(Promise::Precondition, "it told one writer of a race that it had won, and kept the object of another"),
        (0, _) => breach(Promise::Precondition, &format!("it let none of {WRITERS} concurrent writers win")),
        (count, _) => {
            let did = format!("it answered success to {count} of {WRITERS} concurrent writers of one object");
            breach(Promise::Precondition, &did)
        }
    }
}

async fn remove(wire: &dyn Wire, names: &[String]) -> Result<(), Fault> {
    join_all(names.iter().map(|name| wire.delete(name))).await.into_iter().collect()
}

fn breach(promise: Promise, did: &str) -> Result<(), Fault> {
    Err(Fault::Unfit { source: Breach { promise, did: did.to_owned() } })
}

fn token() -> Result<String, Fault> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|source| Fault::NoRandomness { source })?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
