//! The judgement: a case and a remedy for everything that is not as it should be. Pure: nothing is asked and nothing is done here.
//!
//! What was not answered decides nothing. Snapshots go only when they are certainly in no record of this catalog, are old enough,
//! and could not be published; a sentinel never goes.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::evidence::{Evidence, Listed};
use super::rebuild::Obstacle;
use super::{Action, Case, Discrepancy, ReconcileRequest, Remedy, labels};
use crate::catalog::{Backup, BackupName, BackupSet, BackupState, Intent, RestoreRecord};
use crate::provider::{Member, MemberState, ProviderName, SnapshotSet, total_bytes};

/// For so long after a backup began, what it asked a storage system for may still come, though its process has ended.
const QUIET: Duration = Duration::from_mins(10);

/// So old must a restore be before anything about it is strange: it may be under way.
const RESTORE_AGE: Duration = Duration::from_hours(1);

/// Judges everything; the worst comes first, then by name.
pub(super) fn judge(evidence: &Evidence, request: &ReconcileRequest) -> Vec<Discrepancy> {
    let contents = &evidence.contents;
    let mut findings: Vec<Discrepancy> = Vec::new();
    findings.extend(contents.backups.iter().filter_map(|backup| published(evidence, backup)));
    findings.extend(contents.intents.iter().map(|intent| announced(evidence, intent, request)));
    findings.extend(contents.stale_intents.iter().filter_map(|intent| stale(evidence, intent, request)));
    findings.extend(contents.remnants.iter().map(remnant));
    findings.extend(evidence.in_no_record().iter().map(|(name, sets)| unpublished(evidence, name, sets, request)));
    findings.extend(evidence.restores.iter().filter_map(|record| restore(evidence, record, request)));
    let unreadable = evidence.unreadable.iter().map(|(key, reason)| Discrepancy {
        remedy: Remedy::Decide("nothing that may be recorded there is judged until it can be read".to_owned()),
        ..finding(Case::Unreadable, key, reason)
    });
    findings.extend(unreadable);
    findings.sort_by(|one, other| (one.case, &one.subject).cmp(&(other.case, &other.subject)));
    findings
}

fn finding(case: Case, subject: &str, reason: &str) -> Discrepancy {
    Discrepancy {
        case,
        subject: subject.to_owned(),
        providers: Vec::new(),
        since: None,
        size_bytes: None,
        reason: reason.to_owned(),
        remedy: Remedy::Wait,
    }
}

/// A backup that is listed: all of it must be there.
fn published(evidence: &Evidence, backup: &Backup) -> Option<Discrepancy> {
    let sentinel = &backup.sentinel;
    let about = |case, reason: &str, remedy| Discrepancy {
        providers: sentinel.sets.iter().map(|set| set.provider.clone()).collect(),
        since: Some(sentinel.started_at),
        size_bytes: sentinel.size_bytes(),
        remedy,
        ..finding(case, sentinel.name.as_str(), reason)
    };
    let unanswered = sentinel.sets.iter().find(|set| !evidence.is_known(&set.provider)).map(|set| &set.provider);
    if backup.is_condemned {
        let reason = "its deletion was interrupted";
        return Some(match (unanswered, backup.locked_until(evidence.now)) {
            (Some(provider), _) => about(Case::Condemned, &unasked(provider), Remedy::Wait),
            (None, Some(until)) => about(Case::Condemned, &format!("{reason}; it is locked until {until}"), Remedy::Wait),
            (None, None) => {
                let action = Action::FinishDeletion(Box::new(backup.clone()));
                about(Case::Condemned, reason, Remedy::Act(action))
            }
        });
    }
    // What was found out earlier needs nobody's attention again: a rule of retention lets it go.
    if backup.has_failed() {
        return None;
    }
    let delete_it = || Remedy::Decide(format!("delete what is left of it: `stillframe delete target {} --confirm`", sentinel.name));
    let mut is_ready = unanswered.is_none();
    for set in sentinel.sets.iter().filter(|set| evidence.is_known(&set.provider)) {
        let Some(found) = found(evidence, set) else {
            let reason = format!("the provider `{}` has no trace of its snapshot", set.provider);
            return Some(about(Case::Missing, &reason, delete_it()));
        };
        for member in set.members_in(found) {
            match harm(member) {
                Harm::None => {}
                Harm::NotReady => is_ready = false,
                Harm::Failed(_) if backup.state == BackupState::Cut => {
                    let action = Action::RecordState(Box::new(backup.clone()));
                    return Some(about(Case::Unready, "its snapshot failed", Remedy::Act(action)));
                }
                Harm::Failed(reason) => return Some(about(Case::Damaged, &reason, delete_it())),
            }
        }
    }
    match backup.state {
        BackupState::Cut if is_ready => {
            let action = Action::RecordState(Box::new(backup.clone()));
            Some(about(Case::Unready, "its snapshots are ready by now", Remedy::Act(action)))
        }
        BackupState::Cut => Some(about(Case::Unready, "its snapshots are not known to be ready", Remedy::Wait)),
        BackupState::Ready | BackupState::Failed(_) => None,
    }
}

fn found<'a>(evidence: &'a Evidence, set: &BackupSet) -> Option<&'a SnapshotSet> {
    let snapshot = &set.snapshot;
    let asked = || evidence.asked.get(&(set.provider.clone(), snapshot.handle.clone()))?.as_ref();
    evidence.find(&snapshot.token, &snapshot.handle).or_else(asked)
}

enum Harm {
    None,
    NotReady,
    Failed(String),
}

fn harm(member: Option<&Member>) -> Harm {
    match member.map(|member| (&member.state, &member.id)) {
        Some((MemberState::Ready, _)) => Harm::None,
        Some((MemberState::Cut | MemberState::Cutting, _)) => Harm::NotReady,
        Some((MemberState::Failed(reason), id)) => Harm::Failed(format!("its snapshot `{id}` failed: {reason}")),
        Some((MemberState::Deleting | MemberState::Absent, id)) => Harm::Failed(format!("its snapshot `{id}` is gone")),
        None => Harm::Failed("the provider does not name all of its snapshots any more".to_owned()),
    }
}

/// A backup that was announced: it runs, or it is finished, or undone.
fn announced(evidence: &Evidence, intent: &Intent, request: &ReconcileRequest) -> Discrepancy {
    let sets: Vec<Listed<'_>> = evidence.sets_of(intent).collect();
    let about = |case, reason: &str, remedy| Discrepancy {
        providers: intent.requests.iter().map(|asked| asked.provider.clone()).collect(),
        since: Some(intent.begun_at),
        size_bytes: size_bytes(&sets),
        remedy,
        ..finding(case, intent.name.as_str(), reason)
    };
    if !evidence.is_abandoned(intent, request) {
        let reason = format!("it may still run on `{}`, until {}", intent.hostname, intent.expires_at);
        return about(Case::Running, &reason, Remedy::Wait);
    }
    let case = Case::Interrupted;
    if let Some(asked) = intent.requests.iter().find(|asked| !evidence.is_known(&asked.provider)) {
        return about(case, &unasked(&asked.provider), Remedy::Wait);
    }
    let undo = |reason: &str| about(case, reason, Remedy::Act(Action::Undo(intent.clone())));
    if evidence.given_up.contains(&intent.name) {
        return undo("its removal was interrupted");
    }
    let is_young = evidence.now.duration_since(intent.begun_at).unsigned_abs() < QUIET;
    if sets.len() < intent.requests.len() && is_young && evidence.now < intent.expires_at {
        return about(case, "its process has ended just now, and what it asked for may still come", Remedy::Wait);
    }
    match evidence.rebuilt.get(&intent.name) {
        Some(Ok(sentinel)) => {
            let action = Action::Finish(Box::new(sentinel.clone()));
            about(case, "all of it is there", Remedy::Act(action))
        }
        Some(Err(Obstacle::Later(reason))) => about(case, reason, Remedy::Wait),
        Some(Err(Obstacle::Unclear(reason) | Obstacle::Never(reason))) => undo(reason),
        None => undo("it has cut nothing"),
    }
}

/// An intent that nobody needs. One of a process that lives goes by itself, and its absence would tell that process that it was
/// given up.
fn stale(evidence: &Evidence, intent: &Intent, request: &ReconcileRequest) -> Option<Discrepancy> {
    let action = Action::RemoveIntent(intent.clone());
    evidence.is_abandoned(intent, request).then(|| Discrepancy {
        since: Some(intent.begun_at),
        remedy: Remedy::Act(action),
        ..finding(Case::StaleIntent, intent.name.as_str(), "the backup is published")
    })
}

fn remnant(name: &BackupName) -> Discrepancy {
    let remedy = Remedy::Act(Action::Forget(name.clone()));
    Discrepancy { remedy, ..finding(Case::Remnant, name.as_str(), "nothing else of it is recorded") }
}

/// Snapshots that are in no record: adopted, deleted, or left to people.
fn unpublished(evidence: &Evidence, name: &str, sets: &[Listed<'_>], request: &ReconcileRequest) -> Discrepancy {
    let cut_at = sets.iter().map(|(_, set)| set.cut_end).max();
    let about = |reason: &str, remedy| Discrepancy {
        providers: sets.iter().map(|(provider, _)| (*provider).clone()).collect::<BTreeSet<_>>().into_iter().collect(),
        since: cut_at,
        size_bytes: size_bytes(sets),
        remedy,
        ..finding(Case::Unpublished, name, reason)
    };
    let Ok(parsed) = name.parse::<BackupName>() else {
        let decide = "look for who made it; it is never touched".to_owned();
        return about("no backup of Stillframe has such a name", Remedy::Decide(decide));
    };
    if !evidence.contents.unreadable.is_empty() {
        return about("it may be recorded in what cannot be read", Remedy::Wait);
    }
    if evidence.is_recorded(&parsed) {
        let decide = "settle that backup first, and run it again".to_owned();
        return about("it bears the name of a recorded backup, and is no part of it", Remedy::Decide(decide));
    }
    if !evidence.is_ours(&parsed, sets, request) {
        let says = sets.iter().any(|(_, set)| labels::is_of(set, evidence.identity.as_ref()) == Some(false));
        let reason =
            if says { "it belongs to the catalog of another store" } else { "its labels do not tell to which catalog it belongs" };
        let decide = format!("if no other store knows it, claim it: `stillframe reconcile --claim {name}`");
        return about(reason, Remedy::Decide(decide));
    }
    let never = match evidence.rebuilt.get(&parsed) {
        Some(Ok(sentinel)) => {
            let action = Action::Adopt(Box::new(sentinel.clone()));
            return about("its records are lost, and all of it is there", Remedy::Act(action));
        }
        Some(Err(Obstacle::Later(reason))) => return about(reason, Remedy::Wait),
        Some(Err(Obstacle::Unclear(reason))) if !request.claimed.contains(&parsed) => {
            let decide =
                format!("if it is no backup that anybody needs, claim it, and it goes: `stillframe reconcile --claim {name}`");
            return about(reason, Remedy::Decide(decide));
        }
        Some(Err(Obstacle::Unclear(reason) | Obstacle::Never(reason))) => reason.as_str(),
        None => return about("it could not be looked at", Remedy::Wait),
    };
    if let Some(error) = evidence.unknown.first() {
        return about(&unasked(&error.provider), Remedy::Wait);
    }
    // The name is the host's own word, and the moment of the cut the provider's.
    if !is_older(evidence.now, cut_at.max(parsed.moment()), request.min_age) {
        return about(&format!("{never}; it is younger than {} s", request.min_age.as_secs()), Remedy::Wait);
    }
    let sets = sets.iter().map(|(provider, set)| ((*provider).clone(), (*set).clone())).collect();
    about(never, Remedy::Act(Action::Delete(sets)))
}

/// A clock that is behind makes nothing old.
fn is_older(now: Timestamp, than: Option<Timestamp>, age: Duration) -> bool {
    than.and_then(|than| Duration::try_from(now.duration_since(than)).ok()).is_some_and(|passed| passed >= age)
}

/// A restore that costs storage, and nobody seems to use. What is in it nobody else has: it is released by people only.
fn restore(evidence: &Evidence, record: &RestoreRecord, request: &ReconcileRequest) -> Option<Discrepancy> {
    if !is_older(evidence.now, Some(record.begun_at), RESTORE_AGE) {
        return None;
    }
    let is_here = record.hostname == request.hostname;
    let is_gone = |path: &std::path::Path| is_here && matches!(path.try_exists(), Ok(false));
    let backup = evidence.contents.find(&record.backup);
    let reason = if record.parts.is_empty() || record.parts.iter().any(|part| part.handle.is_none()) {
        "it was interrupted".to_owned()
    } else if is_gone(&record.destination) {
        format!("`{}` does not exist any more", record.destination.display())
    } else if backup.is_none() && evidence.contents.unreadable.is_empty() {
        format!("its backup `{}` is gone", record.backup)
    } else {
        return None;
    };
    let decide =
        format!("when nobody needs what is in it: `stillframe snapshot-release {}` on `{}`", record.token.0, record.hostname);
    Some(Discrepancy {
        providers: record.parts.iter().map(|part| part.provider.clone()).collect(),
        since: Some(record.begun_at),
        // What its snapshot holds, which stays as long as it is in use.
        size_bytes: backup.and_then(|backup| backup.sentinel.size_bytes()),
        remedy: Remedy::Decide(decide),
        ..finding(Case::Restore, &record.destination.display().to_string(), &reason)
    })
}

fn unasked(provider: &ProviderName) -> String {
    format!("the provider `{provider}` did not answer")
}

fn size_bytes(sets: &[Listed<'_>]) -> Option<u64> {
    total_bytes(sets.iter().flat_map(|(_, set)| &set.members).map(|member| member.size_bytes))
}
