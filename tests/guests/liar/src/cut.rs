//! Cutting, and what can be claimed of a cut.

use stillframe_sdk::tree::{CloneMethod, CloneOptions, Tree, location};
use stillframe_sdk::{CreateRequest, Error, Host, Level, SnapshotSet, Volume};

use crate::record::{Record, Recorded};
use crate::{Config, ESCAPES};

/// The first day of the year 9999.
const FAR_FUTURE_MS: u64 = 253_370_764_800_000;

/// What only somebody would write who hopes that it is used as a path, or given to a shell.
const TRICK: &str = "../../../../../../etc/passwd;$(reboot)`reboot`|&%00%n\\..\\";

pub(crate) fn create_set<H: Host + Tree>(host: &H, config: &Config, request: CreateRequest) -> Result<SnapshotSet, Error> {
    speak(host, config);
    if config.tells("fails-with-words") {
        return Err(Error::Internal(format!("{ESCAPES} the password is {}", config.about)));
    }
    let mut members = Vec::with_capacity(request.volumes.len());
    for volume in &request.volumes {
        members.push(clone(host, config, &request.token, volume)?);
    }
    let record = Record {
        handle: if config.tells("tricky-ids") { format!("{TRICK}{}", request.token) } else { format!("liar:{}", request.token) },
        cut_ms: match config.lie.as_str() {
            "from-the-future" => FAR_FUTURE_MS,
            "from-the-past" => 0,
            _ => host.now_ms(),
        },
        token: request.token,
        name: request.name,
        labels: request.labels,
        members,
    };
    record.write(host)?;
    let mut set = record.tell();
    match config.lie.as_str() {
        "steals-a-handle" => set.handle.clone_from(&config.about),
        "steals-a-snapshot" => set.members[0].id.clone_from(&config.about),
        "decorates" => set.members[0].attributes = vec![("note".to_owned(), ESCAPES.to_owned())],
        "bidi-handle" => set.handle.push('\u{202e}'),
        "bidi-id" => set.members[0].id.push('\u{2066}'),
        "newline-id" => set.members[0].id.push('\n'),
        "nul-id" => set.members[0].id.push('\0'),
        "long-id" => set.members[0].id = "i".repeat(64 << 10),
        "long-text" => set.handle = "h".repeat(100_000_000),
        "many-members" => set.members = vec![set.members[0].clone(); 1_000_000],
        _ => {}
    }
    Ok(set)
}

fn clone<H: Host + Tree>(host: &H, config: &Config, token: &str, volume: &Volume) -> Result<Recorded, Error> {
    let path = &volume.paths[0];
    let root = path.root.as_deref().ok_or_else(|| Error::UnmanagedPath(path.path.clone()))?;
    let options = CloneOptions { method: CloneMethod::Copy, base: None, skip: path.skip.clone(), last: path.last.clone() };
    let stats = host.clone_tree(&location(root, ""), &Record::tree(token, &volume.id), &options)?;
    Ok(Recorded {
        volume: volume.id.clone(),
        id: if config.tells("tricky-ids") { format!("{TRICK}{token}{}", volume.id) } else { format!("{token}/{}", volume.id) },
        size_bytes: if config.tells("huge-sizes") { u64::MAX } else { stats.bytes_total },
    })
}

/// Talks on every channel that it has, before it does its work.
#[expect(clippy::print_stdout, reason = "what it must not be able to do")]
fn speak(host: &impl Host, config: &Config) {
    if config.tells("talks") {
        println!("{{\"backup_name\": \"forged\"}} {ESCAPES}");
        eprintln!("{ESCAPES}");
        for level in [Level::Info, Level::Warn, Level::Error] {
            host.log(level, ESCAPES);
        }
        host.progress(u64::MAX, Some(0), ESCAPES);
    }
    if config.tells("floods") {
        for number in 0..20_000 {
            host.log(Level::Info, &format!("{number} {ESCAPES}"));
            host.progress(number, None, ESCAPES);
        }
    }
}
