//! Finding sets: one by its token or handle, or all of an owner.

use stillframe_sdk::aws::Aws;
use stillframe_sdk::{Error, Host, Level, MemberState, OWNER_LABEL, SetPage, SetReference, SnapshotSet, page};

use crate::Config;
use crate::ec2::{Ec2, Snapshot};
use crate::handle::Handle;
use crate::set::{self, Set, TOKEN};
use crate::tags::{self, IN_VALUE, encode};

/// First pause, and longest time, that a young set is looked for before it counts as gone.
const YOUNG_LOOKS_MS: (u32, u32) = (1_000, 7_000);

/// The same for a token, of which nobody knows the age.
const TOKEN_LOOKS_MS: (u32, u32) = (1_000, 3_000);

pub(crate) fn get_set<H: Host + Aws>(host: &H, config: &Config, reference: &SetReference) -> Result<Option<SnapshotSet>, Error> {
    let ec2 = Ec2::impatient(host, config);
    match reference {
        SetReference::Handle(handle) => {
            let handle = Handle::parse(handle, &config.region)?;
            let young = Set::may_settle(handle.begin_ms, host.now_ms());
            // Its handle says that it was cut: until EC2 has made up its mind, that is what is known.
            let unseen = if young { MemberState::Cut } else { MemberState::Absent };
            Ok(by_handle(&ec2, &handle)?.map(|set| set.describe(&handle, &unseen)))
        }
        SetReference::Token(token) => {
            let (first, total) = TOKEN_LOOKS_MS;
            let found = ec2.wait(first, total, || by_token(&ec2, token))?;
            Ok(found.map(|set| describe(host, config, &set)))
        }
    }
}

/// The set with this handle; none when it is gone, and that is certain.
pub(crate) fn by_handle<H: Host + Aws>(ec2: &Ec2<'_, H>, handle: &Handle) -> Result<Option<Set>, Error> {
    let young = Set::may_settle(handle.begin_ms, ec2.host.now_ms());
    let (first, total) = if young { YOUNG_LOOKS_MS } else { (0, 0) };
    let mut snapshots = Vec::new();
    // One of them is enough: it tells of the others.
    ec2.wait(first, total, || {
        snapshots = of_handle(ec2, handle)?;
        Ok((!snapshots.is_empty()).then_some(()))
    })?;
    if snapshots.is_empty() {
        prove_account(ec2, &handle.account)?;
        return Ok(None);
    }
    let damaged = || Error::Conflict(format!("a snapshot of {TOKEN} `{}` whose tags were changed", handle.token));
    let set = set::sets(snapshots).into_iter().find(|set| set.record.begin_ms == handle.begin_ms).ok_or_else(damaged)?;
    if set.snapshots.len() != handle.members.len() {
        return Err(damaged());
    }
    Ok(Some(set))
}

/// The snapshots of a handle that can be seen; one that does not carry the handle's token is not touched by anything here.
pub(crate) fn of_handle<H: Host + Aws>(ec2: &Ec2<'_, H>, handle: &Handle) -> Result<Vec<Snapshot>, Error> {
    let snapshots = ec2.snapshots_by_id(&handle.ids())?;
    match snapshots.iter().find(|snapshot| set::token_of(snapshot).as_ref() != Some(&handle.token)) {
        Some(foreign) => Err(Error::Conflict(format!("{} without the tag `{TOKEN}` of this set", foreign.id))),
        None => Ok(snapshots),
    }
}

/// An empty answer proves nothing in another account, and what is taken for gone is forgotten, with the WAL that it needs.
pub(crate) fn prove_account<H: Host + Aws>(ec2: &Ec2<'_, H>, wanted: &str) -> Result<(), Error> {
    if wanted.is_empty() {
        return Ok(());
    }
    let account = ec2.account()?;
    if account != wanted {
        return Err(Error::Unauthenticated(format!(
            "what is asked about lies in the account {wanted}, and the credentials are those of {account}"
        )));
    }
    Ok(())
}

/// The set that was cut for this token, as far as it can be seen.
pub(crate) fn by_token<H: Host + Aws>(ec2: &Ec2<'_, H>, token: &str) -> Result<Option<Set>, Error> {
    let snapshots = of_token(ec2, token)?;
    let damaged = snapshots.iter().find(|snapshot| !set::is_readable(snapshot)).map(|snapshot| snapshot.id.clone());
    match (set::sets(snapshots).pop(), damaged) {
        // There is something, and whoever asks would forget it.
        (None, Some(id)) => Err(Error::Conflict(format!("{id} with the {TOKEN} `{token}`, whose other tags were changed"))),
        (set, _) => Ok(set),
    }
}

/// Every snapshot that carries this token.
pub(crate) fn of_token<H: Host + Aws>(ec2: &Ec2<'_, H>, token: &str) -> Result<Vec<Snapshot>, Error> {
    let encoded = encode(token, IN_VALUE);
    let mut snapshots = ec2.snapshots_tagged(TOKEN, tags::filter_value(&encoded))?;
    snapshots.retain(|snapshot| set::token_of(snapshot).as_deref() == Some(token));
    Ok(snapshots)
}

pub(crate) fn list_sets<H: Host + Aws>(host: &H, config: &Config, owner: &str, cursor: Option<&str>) -> Result<SetPage, Error> {
    let ec2 = Ec2::new(host, config);
    let encoded = encode(owner, IN_VALUE);
    // All of them each time: EC2 has no order, and its pages may part a set.
    let snapshots = ec2.snapshots_tagged(OWNER_LABEL, tags::filter_value(&encoded))?;
    for foreign in snapshots.iter().filter(|snapshot| !set::is_readable(snapshot)) {
        let text =
            format!("`{}` has the tag `{OWNER_LABEL}` and not all of a set, `{TOKEN}` and others: it is passed over", foreign.id);
        host.log(Level::Warn, &text);
    }
    let mut sets = set::sets(snapshots);
    sets.retain(|set| set.record.labels.iter().any(|(key, value)| key == OWNER_LABEL && value == owner));
    let (sets, next) = page(sets, cursor, |set| (set.record.begin_ms, &set.record.token))?;
    Ok(SetPage { sets: sets.iter().map(|set| describe(host, config, set)).collect(), next })
}

/// What is told of a set that was not asked for by its handle: what was not seen may never have been cut.
fn describe(host: &impl Host, config: &Config, set: &Set) -> SnapshotSet {
    let young = Set::may_settle(set.record.begin_ms, host.now_ms());
    let unseen = if young { MemberState::Cutting } else { MemberState::Absent };
    set.describe(&set.handle(&config.region), &unseen)
}
