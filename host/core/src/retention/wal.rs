//! What happens to the archived WAL, file by file.
//!
//! There can be a million files, and few reasons: neighbours share theirs.

use super::protected::KeepRecovery;
use super::{Ancestry, ProtectedWal, RetentionRule, WalReason};
use crate::catalog::{ArchivedFile, Backup, Intent, WalGContents};
use jiff::Timestamp;

/// What happens to one archived file, and why: none means that nothing needs it and it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalDecision<'a> {
    /// The file.
    pub file: &'a ArchivedFile,
    /// Why it stays.
    pub kept_for: Option<&'a WalReason>,
}

/// Neighbours of one timeline that share their fate and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRun<'a> {
    /// The files, by position. Never empty.
    pub files: &'a [ArchivedFile],
    /// Why they stay; none when nothing needs them and they go.
    pub kept_for: Option<&'a WalReason>,
}

impl WalRun<'_> {
    /// Bytes of its files, as stored.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// A decision about every archived file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WalPlan {
    files: Vec<ArchivedFile>,
    /// The end of each run in the files, and its reason.
    ends: Vec<(usize, Option<WalReason>)>,
}

impl WalPlan {
    /// Every file with what happens to it, by name.
    pub fn iter(&self) -> impl Iterator<Item = WalDecision<'_>> {
        self.runs().flat_map(|run| run.files.iter().map(move |file| WalDecision { file, kept_for: run.kept_for }))
    }

    /// The same, by runs.
    pub fn runs(&self) -> impl Iterator<Item = WalRun<'_>> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        begins
            .zip(&self.ends)
            .map(|(begin, (end, kept_for))| WalRun { files: &self.files[begin..*end], kept_for: kept_for.as_ref() })
    }

    /// The files that go, by name.
    pub fn removed(&self) -> impl Iterator<Item = &ArchivedFile> {
        self.runs().filter(|run| run.kept_for.is_none()).flat_map(|run| run.files)
    }

    /// The files that stay, by name.
    pub fn kept(&self) -> impl Iterator<Item = &ArchivedFile> {
        self.runs().filter(|run| run.kept_for.is_some()).flat_map(|run| run.files)
    }
}

/// Decides about WAL, given the backups that stay.
#[must_use]
pub fn release_wal(
    rule: &RetentionRule,
    kept: &[&Backup],
    intents: &[Intent],
    files: Vec<ArchivedFile>,
    ancestry: &Ancestry,
    walg: &WalGContents,
    now: Timestamp,
) -> WalPlan {
    let running: Vec<Intent> = intents.iter().filter(|intent| intent.expires_at >= now).cloned().collect();
    let recovery = if *rule == RetentionRule::Everything { KeepRecovery::No } else { KeepRecovery::Yes };
    // Nothing stays that says what is needed: then all of it may be, unless the operator means everything.
    let nothing_to_judge_by = kept.iter().all(|backup| backup.has_failed()) && running.is_empty() && recovery == KeepRecovery::Yes;
    let otherwise = nothing_to_judge_by.then_some(WalReason::NothingToJudgeBy);
    let protected = ProtectedWal::new(kept, &running, walg, ancestry.clone(), recovery);
    let mut ends: Vec<(usize, Option<WalReason>)> = Vec::new();
    let mut place = 0;
    for of_timeline in files.chunk_by(|one, next| one.name.timeline() == next.name.timeline()) {
        let timeline = protected.on(of_timeline[0].name.timeline());
        let first = ends.len();
        for file in of_timeline {
            let reason = timeline.reason_to_keep(file.name).or(otherwise.as_ref());
            place += 1;
            match ends[first..].last_mut() {
                Some((end, last)) if last.as_ref() == reason => *end = place,
                _ => ends.push((place, reason.cloned())),
            }
        }
    }
    WalPlan { files, ends }
}
