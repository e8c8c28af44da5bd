//! Attempts to kill the binary at a moment of its life, told apart by how they ended: one that came too late has killed nobody.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::{Finished, Random, Running, runs_the_binary};

/// The signal of `kill -9`.
const KILL: Option<i32> = Some(9);

/// How an attempt to kill a process ended.
#[derive(Debug)]
pub enum Attempt {
    /// The binary was running, and ended by the signal.
    Hit(Finished),
    /// It was not yet the binary.
    TooEarly,
    /// It ended by itself.
    Ended(Finished),
}

/// Kills a process when it has run for so long.
pub fn kill_after(running: Running, delay: Duration) -> Attempt {
    // The moment is what the test draws; nothing waits for anything here.
    thread::sleep(delay);
    kill_now(running)
}

/// Kills a process.
pub fn kill_now(running: Running) -> Attempt {
    let was_the_binary = runs_the_binary(running.pid());
    running.kill9();
    let finished = running.wait();
    match (finished.signal(), was_the_binary) {
        (KILL, true) => Attempt::Hit(finished),
        (KILL, false) => Attempt::TooEarly,
        _ => Attempt::Ended(finished),
    }
}

/// Before when a process is killed. Learnt from those before it, so that most are hit, at any moment of their lives, whatever else the
/// machine does meanwhile.
#[derive(Debug)]
pub struct Horizon(Mutex<Duration>);

impl Horizon {
    /// Begins with the longest time that such a process was seen to take, or with a guess.
    pub fn new(longest: Duration) -> Self {
        Self(Mutex::new(longest))
    }

    /// A moment of the life of a process.
    pub fn draw(&self, random: &mut Random) -> Duration {
        random.within(*self.0.lock().unwrap())
    }

    /// Kills a process at some moment of its life.
    pub fn kill(&self, running: Running, random: &mut Random) -> Attempt {
        let delay = self.draw(random);
        let attempt = kill_after(running, delay);
        let mut horizon = self.0.lock().unwrap();
        match attempt {
            Attempt::Hit(_) => *horizon = horizon.mul_f64(1.03),
            Attempt::TooEarly => {}
            // It took no longer than this; but one that failed at once says little about the others.
            Attempt::Ended(_) => *horizon = delay.max(*horizon / 2),
        }
        attempt
    }
}
