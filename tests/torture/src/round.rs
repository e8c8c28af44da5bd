//! One round: something is done, and somebody dies of it.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use stillframe_tests::{Attempt, Finished, Found, Horizon, Random, Running, kill_after};

use crate::act::{Act, wait};
use crate::installation::{Installation, Provider};
use crate::toll::{Ending, Toll, Victim};

/// What a command is thought to take before one was seen.
const FIRST_HORIZON: Duration = Duration::from_millis(1500);
/// The longest pause between the first sign of a provider at work and the kill.
const WITHIN_A_CALL: Duration = Duration::from_millis(120);
/// How often a provider is looked at: it has done something after this, and not all.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// Longest time that a store is away: less than the program tries again, so that some commands survive it.
const OUTAGE: Duration = Duration::from_secs(2);
/// Longest wait for a `wal-push` of the server.
const ARCHIVER_PATIENCE: Duration = Duration::from_secs(20);
/// One in so many commands has company.
const COMPANY: usize = 3;

/// Plays rounds; learns how long commands take.
pub(crate) struct Rounds {
    pub(crate) random: Random,
    horizons: BTreeMap<Act, Horizon>,
    /// Who dies in this round.
    victim: Victim,
    pub(crate) toll: Toll,
}

impl Rounds {
    pub(crate) fn new(random: Random) -> Self {
        let horizons = Act::ALL.into_iter().map(|act| (act, Horizon::new(FIRST_HORIZON))).collect();
        Self { random, horizons, victim: Victim::Host, toll: Toll::default() }
    }

    /// Does something and kills; false when nobody was hit, and it has to be tried again.
    #[track_caller]
    pub(crate) fn play(&mut self, installation: &mut Installation, victim: Victim) -> bool {
        self.victim = victim;
        let company = (self.random.below(COMPANY) == 0).then(|| self.begin(installation, Act::draw)).flatten();
        let hit = match victim {
            Victim::Host => self.kill_the_host(installation),
            Victim::Provider => self.kill_in_a_call(installation),
            Victim::Archiver => self.kill_the_archiver(installation),
            Victim::Server => self.kill_the_server(installation),
            Victim::Backend => self.kill_a_backend(installation),
            Victim::Store | Victim::Mount => self.take_the_store_away(installation),
        };
        if let Some((act, running)) = company {
            self.finish(act, running);
        }
        if hit {
            self.toll.killed(victim);
        } else {
            self.toll.spared += 1;
        }
        hit
    }

    /// Starts a command; none when there is nothing to do.
    #[track_caller]
    fn begin(&mut self, installation: &Installation, draw: impl Fn(&mut Random) -> Act) -> Option<(Act, Running)> {
        let act = draw(&mut self.random);
        let arguments = act.arguments(installation, &mut self.random)?;
        eprintln!("  {}", arguments.join(" "));
        Some((act, installation.site.stillframe.spawn(arguments)))
    }

    #[track_caller]
    fn kill_the_host(&mut self, installation: &Installation) -> bool {
        let Some((act, running)) = self.begin(installation, Act::draw) else { return false };
        let attempt = self.horizons[&act].kill(running, &mut self.random);
        self.note(act, attempt)
    }

    /// Kills the program while its provider is at work, or the one that its provider runs.
    #[track_caller]
    fn kill_in_a_call(&mut self, installation: &Installation) -> bool {
        let before = installation.trace();
        let Some((act, running)) = self.begin(installation, Act::draw_of_providers) else { return false };
        let has_programs = installation.combination.provider == Provider::Btrfs;
        if has_programs && self.random.below(2) == 0 {
            self.kill_a_program(act, running)
        } else {
            self.kill_after_a_change(installation, &before, act, running)
        }
    }

    /// Waits for the first change of the storage, and kills soon after: a copy is under way then, or a deletion.
    #[track_caller]
    fn kill_after_a_change(
        &mut self,
        installation: &Installation,
        before: &BTreeSet<String>,
        act: Act,
        mut running: Running,
    ) -> bool {
        while installation.trace() == *before {
            if running.has_ended() {
                self.finish(act, running);
                return false;
            }
            thread::sleep(LOOK_INTERVAL);
        }
        let delay = self.random.within(WITHIN_A_CALL);
        let attempt = kill_after(running, delay);
        // A push that has left backup mode has come back from its provider.
        let was_in_call = matches!(&attempt, Attempt::Hit(killed) if !killed.says("left backup mode"));
        self.note(act, attempt) && was_in_call
    }

    /// Kills the first program that runs after some moment. The command goes on, and has to cope with that.
    #[track_caller]
    fn kill_a_program(&mut self, act: Act, mut running: Running) -> bool {
        let spared_until = Instant::now() + self.horizons[&act].draw(&mut self.random);
        let mut hit = false;
        while !hit && !running.has_ended() {
            let program = (Instant::now() > spared_until).then(|| Found::program_of(running.pid())).flatten();
            hit = program.is_some_and(|program| program.kill9());
            // Programs are over within milliseconds.
            thread::yield_now();
        }
        eprintln!("  a program was {}", if hit { "killed" } else { "spared" });
        self.finish(act, running);
        hit
    }

    /// Kills what the server has started to archive a segment.
    fn kill_the_archiver(&mut self, installation: &Installation) -> bool {
        let server = installation.site.cluster.pid();
        installation.site.cluster.sql("SELECT pg_switch_wal()");
        let deadline = Instant::now() + ARCHIVER_PATIENCE;
        while Instant::now() < deadline {
            if let Some(found) = Found::below(server) {
                thread::sleep(self.random.within(Duration::from_millis(30)));
                return found.kill9();
            }
            thread::yield_now();
        }
        false
    }

    #[track_caller]
    fn kill_the_server(&mut self, installation: &mut Installation) -> bool {
        let Some((act, running)) = self.begin(installation, Act::draw) else { return false };
        let delay = self.horizons[&act].draw(&mut self.random);
        thread::sleep(delay);
        installation.site.cluster.kill9();
        installation.site.cluster.start();
        self.finish(act, running);
        installation.begin_load();
        true
    }

    /// Kills one process of the server: that of our own session, if there is one, or any other.
    #[track_caller]
    fn kill_a_backend(&mut self, installation: &mut Installation) -> bool {
        let Some((act, running)) = self.begin(installation, Act::draw) else { return false };
        let delay = self.horizons[&act].draw(&mut self.random);
        thread::sleep(delay);
        let checkpointer = installation.checkpointer();
        let cluster = &installation.site.cluster;
        let processes = cluster.sql(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() ORDER BY application_name = 'stillframe' DESC, random()",
        );
        let pid = processes[0][0].as_deref().and_then(|pid| pid.parse().ok()).expect("a process id");
        let hit = Found::child(cluster.pid(), pid).is_some_and(|found| found.kill9());
        self.finish(act, running);
        if hit {
            installation.wait_for_a_recovery_since(&checkpointer);
            installation.begin_load();
        }
        hit
    }

    #[track_caller]
    fn take_the_store_away(&mut self, installation: &mut Installation) -> bool {
        let Some((act, running)) = self.begin(installation, Act::draw) else { return false };
        let delay = self.horizons[&act].draw(&mut self.random);
        thread::sleep(delay);
        installation.take_store_away();
        thread::sleep(self.random.within(OUTAGE));
        installation.give_store_back();
        self.finish(act, running);
        true
    }

    #[track_caller]
    fn finish(&mut self, act: Act, running: Running) {
        let finished = wait(running, act);
        act.judge(&finished, self.victim);
        self.count(act, &finished);
    }

    /// What became of a command that was to be killed; whether it was.
    #[track_caller]
    fn note(&mut self, act: Act, attempt: Attempt) -> bool {
        match attempt {
            Attempt::Hit(killed) => {
                self.count(act, &killed);
                true
            }
            Attempt::TooEarly => false,
            Attempt::Ended(finished) => {
                act.judge(&finished, self.victim);
                self.count(act, &finished);
                false
            }
        }
    }

    fn count(&mut self, act: Act, finished: &Finished) {
        let ending = match finished.code() {
            Some(0) => Ending::Done,
            Some(4) => Ending::Refused,
            Some(_) => Ending::TryAgain,
            None => Ending::Killed,
        };
        let error = finished.stderr.lines().find(|line| line.starts_with("error:"));
        eprintln!("  {act}: {ending:?} {}", error.unwrap_or_default());
        self.toll.ended(act, ending);
    }
}
