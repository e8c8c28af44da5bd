//! Telling of sets, one or all, and what can be claimed of them.

use stillframe_sdk::tree::{Tree, location};
use stillframe_sdk::{Error, Host, MemberState, OWNER_LABEL, SetPage, SetReference, SnapshotSet};

use crate::record::{ROOT, Record};
use crate::{Config, ESCAPES};

/// The label that names the catalog.
const CATALOG_LABEL: &str = "stillframe-catalog";

/// A name that a backup could have, older than any.
const OLD_NAME: &str = "sf-20200101T000000Z-00000000";

pub(crate) fn get_set<H: Host + Tree>(host: &H, config: &Config, reference: &SetReference) -> Result<Option<SnapshotSet>, Error> {
    let record = match reference {
        SetReference::Token(token) => Record::of_token(host, token)?,
        SetReference::Handle(handle) => Record::of_handle(host, handle)?,
    };
    // Whoever asks by its token looks for what there is to delete.
    if config.tells("answers-with-another") && matches!(reference, SetReference::Token(_)) {
        let other = Record::of_handle(host, &config.about)?.map(|other| other.tell());
        return Ok(other.zip(record).map(|(other, record)| SnapshotSet { token: record.token, ..other }));
    }
    let Some(mut set) = record.map(|record| record.tell()) else { return Ok(None) };
    let looks = count(host, config)?;
    for (place, member) in set.members.iter_mut().enumerate() {
        match config.lie.as_str() {
            "never-ready" => member.state = MemberState::Cut,
            // Each is ready at every other look, and never both.
            "falls-back" if (place + looks) % 2 == 0 => member.state = MemberState::Cut,
            "fails-in-colour" => member.state = MemberState::Failed(ESCAPES.to_owned()),
            "says-it-is-gone" => member.state = MemberState::Absent,
            "changes-an-id" => member.id.push_str("-other"),
            "changes-a-volume" => member.volume.push_str("-other"),
            _ => {}
        }
    }
    match config.lie.as_str() {
        "vanishes" => return Ok(None),
        "changes-the-token" => set.token = "f".repeat(32),
        "changes-the-name" => OLD_NAME.clone_into(&mut set.name),
        "changes-its-mind" => set.isolated = false,
        // All of it may be true of a set, and none of it is of this one.
        "improves" => {
            set.atomic = true;
            set.cut_begin_ms = 0;
            set.labels.clear();
        }
        _ => {}
    }
    Ok(Some(set))
}

pub(crate) fn list_sets<H: Host + Tree>(host: &H, config: &Config, owner: &str) -> Result<SetPage, Error> {
    let mut sets: Vec<SnapshotSet> = Record::all(host)?.iter().map(Record::tell).collect();
    let is_owned = |set: &SnapshotSet| set.labels.contains(&(OWNER_LABEL.to_owned(), owner.to_owned()));
    if !config.tells("lists-everybody") {
        sets.retain(is_owned);
    }
    match config.lie.as_str() {
        "hides" => sets.clear(),
        "doubles" => sets.extend(sets.first().cloned()),
        // The same snapshots in a second set, which looks like an old leftover of this catalog.
        "invents" => {
            let invented = sets.iter().find(|set| set.handle == config.about).map(|set| SnapshotSet {
                handle: "liar:invented".to_owned(),
                token: "0".repeat(32),
                name: OLD_NAME.to_owned(),
                cut_begin_ms: 0,
                cut_end_ms: 0,
                ..set.clone()
            });
            sets.extend(invented);
        }
        // The set of another catalog, as if it were of this one.
        "relabels" => {
            let ours = sets.first().and_then(|set| label(set, CATALOG_LABEL)).unwrap_or_default();
            for set in &mut sets {
                set.labels.retain(|(key, _)| key != CATALOG_LABEL);
                set.labels.push((CATALOG_LABEL.to_owned(), ours.clone()));
            }
        }
        "disowns" => sets.iter_mut().for_each(|set| set.labels.retain(|(key, _)| key == OWNER_LABEL)),
        "calls-all-failed" => {
            let damaged = sets.iter().map(|set| {
                let mut set = SnapshotSet { handle: format!("{}-other", set.handle), ..set.clone() };
                set.members.iter_mut().for_each(|member| member.state = MemberState::Failed(ESCAPES.to_owned()));
                set
            });
            sets = damaged.chain(sets.clone()).collect();
        }
        "forges-a-passport" => {
            for set in &mut sets {
                let pieces = set.labels.iter_mut().filter(|(key, _)| key.starts_with("stillframe-passport-"));
                pieces.for_each(|(_, value)| value.clone_from(&config.about));
            }
        }
        _ => {}
    }
    Ok(SetPage { sets, next: None })
}

fn label(set: &SnapshotSet, name: &str) -> Option<String> {
    set.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

/// How often it was asked, when the lie depends on it.
fn count(host: &impl Tree, config: &Config) -> Result<usize, Error> {
    if !config.tells("falls-back") {
        return Ok(0);
    }
    let file = location(ROOT, "looks");
    let looks = host.read_file(&file).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    host.write_file(&file, &(looks + 1).to_string())?;
    Ok(looks)
}
