//! What takes time, memory or output without end, dies, or fails.

use std::hint::black_box;
use std::time::Duration;

use crate::bindings::stillframe::provider::host::{self, Level};
use crate::bindings::stillframe::provider::tree::{self, CloneMethod, CloneOptions, Location};
use crate::bindings::stillframe::provider::types::{Error, InvalidArgument};

/// Does what it is named after; most of it never returns.
pub(crate) fn attack(name: &str) -> Result<(), Error> {
    match name {
        "loop" => forever(|| {
            black_box(());
        }),
        "host-call-loop" => forever(|| {
            host::remaining_ms();
        }),
        "short-sleep-loop" => forever(|| {
            host::sleep_ms(1);
        }),
        "sleep" => std::thread::sleep(Duration::from_hours(1)),
        "polite-sleep" => return polite_sleep(),
        "memory-bomb" => forever(memory_bomb),
        "recursion" => {
            black_box(recursion(1));
        }
        "panic" => panic!("no luck\x1b[31m today"),
        "trap" => std::process::abort(),
        "exit" => std::process::exit(0),
        "stderr-flood" => {
            for line in 0..100_000 {
                eprintln!("stderr line {line}");
            }
            panic!("after the flood");
        }
        "stderr" => eprintln!("only a word"),
        "log-flood" => {
            for line in 0..5_000 {
                host::log(Level::Info, &format!("log line {line}"));
            }
        }
        "log-huge" => host::log(Level::Warn, &"x".repeat(1 << 20)),
        "log-too-huge" => host::log(Level::Warn, &"x".repeat(20 << 20)),
        "log-escape" => host::log(Level::Warn, "fine\n2026-11-21 ERROR forged \u{1b}[2J\u{202e}"),
        "progress-flood" => {
            for step in 0..5_000 {
                host::progress(step, Some(5_000), "busy");
            }
        }
        "clone" => return clone("from", "to", CloneMethod::Copy),
        "shares-the-data" => return clone("source-data", "snapshots", CloneMethod::Shared),
        name => return fail(name),
    }
    Ok(())
}

/// Fails with an error of the interface.
fn fail(name: &str) -> Result<(), Error> {
    Err(match name {
        "fail-invalid" => Error::Invalid(InvalidArgument { field: "key".to_owned(), message: "is wrong".to_owned() }),
        "fail-busy" => Error::Busy(Some(u64::MAX)),
        "fail-locked" => Error::Locked(u64::MAX),
        "fail-exhausted" => Error::Exhausted("the pool `tank`".to_owned()),
        "fail-long" => Error::Internal("\u{1b}]0;x\u{7}".repeat(100_000)),
        _ => return Ok(()),
    })
}

fn forever(mut step: impl FnMut()) {
    loop {
        step();
    }
}

fn memory_bomb() {
    std::mem::forget(black_box(vec![1_u8; 1 << 20]));
}

fn recursion(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == 0 { 0 } else { recursion(depth + 1) + frame[7] }
}

/// Does not sleep when that would be longer than it has.
fn polite_sleep() -> Result<(), Error> {
    if host::remaining_ms() > 3_600_000 || host::sleep_ms(3_600_000) {
        return Err(Error::Internal("the host let it sleep".to_owned()));
    }
    Ok(())
}

/// Clones one granted root into another.
fn clone(root: &str, to: &str, method: CloneMethod) -> Result<(), Error> {
    let place = |root: &str, path: &str| Location { root: root.to_owned(), path: path.to_owned() };
    let options = CloneOptions { method, base: None, skip: Vec::new(), last: Vec::new() };
    match tree::clone_tree(&place(root, ""), &place(to, "clone"), &options) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Internal(format!("{error:?}"))),
    }
}
