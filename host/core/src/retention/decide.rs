//! What a rule of the command line says about each backup.

use jiff::Timestamp;

use super::holds::Holds;
use super::order::Placed;
use super::policy::{is_base, last_proven, settled};
use super::{Cutoff, KeepReason, PlanError, Reason, RemoveReason, RetentionRule};
use crate::catalog::{Backup, BackupName, BackupState, Permanence};

/// Decides about the backups, which are given oldest first.
pub(super) fn decide(
    rule: &RetentionRule,
    order: &[Placed<'_>],
    remnants: &[BackupName],
    holds: &Holds,
    now: Timestamp,
) -> Result<Vec<Reason>, PlanError> {
    check(rule, order, remnants, holds, now)?;
    let cutoff = match rule {
        RetentionRule::Before(cutoff) | RetentionRule::Retain { after: Some(cutoff), .. } => Some(cutoff),
        _ => None,
    };
    // By place for a backup, which has one; by time otherwise, which clusters do not share.
    let named = cutoff.and_then(|cutoff| match cutoff {
        Cutoff::Backup(name) => order.iter().position(|placed| &placed.backup.sentinel.name == name),
        Cutoff::Time(_) => None,
    });
    let is_new = |place: usize| match cutoff {
        None => false,
        Some(Cutoff::Backup(_)) => named.is_some_and(|named| place >= named),
        Some(Cutoff::Time(moment)) => order[place].began >= *moment,
    };
    let proven = last_proven(order);
    let mut newer = 0;
    let mut reasons: Vec<Reason> = Vec::with_capacity(order.len());
    for (place, placed) in order.iter().enumerate().rev() {
        let backup = placed.backup;
        let reason = settled(backup).unwrap_or_else(|| {
            if backup.has_failed() && !matches!(rule, RetentionRule::Target(_)) {
                return Reason::Remove(RemoveReason::Failed);
            }
            let rank = Rank { newer, is_new: is_new(place), is_last_proven: proven == Some(place) };
            word(rule, backup, &rank)
        });
        reasons.push(match reason {
            Reason::Remove(reason) if !backup.is_condemned => holds.remove(backup, reason),
            reason => reason,
        });
        newer += usize::from(is_base(backup));
    }
    reasons.reverse();
    if let RetentionRule::Before(cutoff) = rule {
        let one_stays = reasons.contains(&Reason::Keep(KeepReason::NotOlder));
        let is_ordinary = |backup: &Backup| backup.permanence == Permanence::Ordinary && !backup.is_condemned;
        if !one_stays && order.iter().any(|placed| is_ordinary(placed.backup)) {
            return Err(PlanError::NothingAsNew(match cutoff {
                Cutoff::Backup(name) => name.to_string(),
                Cutoff::Time(moment) => moment.to_string(),
            }));
        }
    }
    Ok(reasons)
}

/// The place of a backup among the others.
struct Rank {
    /// How many newer ones the rule may count on.
    newer: usize,
    /// Whether it is as new as the rule's cutoff.
    is_new: bool,
    is_last_proven: bool,
}

/// The rule's word on an ordinary backup that has not failed.
fn word(rule: &RetentionRule, backup: &Backup, rank: &Rank) -> Reason {
    // Not counted, for it may turn out to have failed; and not deleted either, as long as it would be counted if it is good.
    let kept = |reason| Reason::Keep(if backup.state == BackupState::Ready { reason } else { KeepReason::NotReady });
    match rule {
        RetentionRule::Retain { count, .. } if rank.newer < *count => kept(KeepReason::AmongNewest(*count)),
        RetentionRule::Retain { .. } | RetentionRule::Before(_) if rank.is_new => kept(KeepReason::NotOlder),
        RetentionRule::Retain { .. } | RetentionRule::Before(_) if rank.is_last_proven => kept(KeepReason::LastProven),
        // A policy is judged elsewhere, and what nobody judges stays.
        RetentionRule::Retain { .. } | RetentionRule::Before(_) => Reason::Remove(RemoveReason::TooOld),
        RetentionRule::Target(target) if target == &backup.sentinel.name => Reason::Remove(RemoveReason::Named),
        RetentionRule::Target(_) => Reason::Keep(KeepReason::NotNamed),
        RetentionRule::Everything => Reason::Remove(RemoveReason::Everything),
        RetentionRule::Garbage | RetentionRule::Policy(_) => Reason::Keep(KeepReason::NotGarbage),
    }
}

/// Refuses rules that name what is not there or may not go.
fn check(
    rule: &RetentionRule,
    order: &[Placed<'_>],
    remnants: &[BackupName],
    holds: &Holds,
    now: Timestamp,
) -> Result<(), PlanError> {
    let named = match rule {
        RetentionRule::Retain { count: 0, .. } => return Err(PlanError::RetainNothing),
        RetentionRule::Retain { after: Some(Cutoff::Backup(name)), .. }
        | RetentionRule::Before(Cutoff::Backup(name))
        | RetentionRule::Target(name) => name,
        RetentionRule::Retain { .. }
        | RetentionRule::Before(Cutoff::Time(_))
        | RetentionRule::Everything
        | RetentionRule::Garbage
        | RetentionRule::Policy(_) => {
            return Ok(());
        }
    };
    let Some(backup) = order.iter().map(|placed| placed.backup).find(|backup| &backup.sentinel.name == named) else {
        // Its deletion was interrupted: what is left of it goes, and the WAL that it needed.
        if matches!(rule, RetentionRule::Target(_)) && remnants.contains(named) {
            return Ok(());
        }
        return Err(PlanError::NoSuchBackup(named.clone()));
    };
    if matches!(rule, RetentionRule::Target(_)) && backup.permanence == Permanence::Permanent {
        return Err(PlanError::Permanent(named.clone()));
    }
    if let (RetentionRule::Target(_), Some(until), false) = (rule, backup.locked_until(now), backup.is_condemned) {
        return Err(PlanError::Locked { name: named.clone(), until });
    }
    if let (RetentionRule::Target(_), Some(place), false) = (rule, holds.restore_of(backup), backup.is_condemned) {
        return Err(PlanError::Restored { name: named.clone(), place: place.clone() });
    }
    Ok(())
}
