//! What `zfs` prints, as the provider `zfs` reads it: a line with the operation, then answers.

use stillframe_plugin_zfs::{Config, ZfsProvider};
use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{DataRole, parse_config};

use crate::Verdict;
use crate::input::Input;
use crate::operation::{self, Cluster, TOKEN};
use crate::script::Script;
use crate::store::BACKUP;

/// Whatever it prints, nothing is destroyed but snapshots and clones that it called ours, and never with what hangs on them.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let word = input.text();
    let script = Script::new(&input.rest_text());
    let config = r#"{"datasets":["tank/pg","tank/wal","fast/ts"],"clones":["tank/stillframe","fast/stillframe"]}"#;
    let config: Config = parse_config(config).expect("the configuration is right");
    let verdict = operation::run::<ZfsProvider, FakeHost>(&word, &script.host, &config, &cluster());
    for invocation in script.invocations.borrow().iter() {
        if invocation.args.first().is_some_and(|verb| verb == "destroy") {
            let line = invocation.args.join(" ");
            assert!(!invocation.args.iter().any(|argument| matches!(argument.as_str(), "-r" | "-R" | "-f")), "`zfs {line}`");
            let victim = invocation.args.last().map_or("", String::as_str);
            let is_clone = victim.starts_with("tank/stillframe/") || victim.starts_with("fast/stillframe/");
            assert!(victim.contains('@') || is_clone, "`zfs {line}` destroys a dataset that is no clone of ours");
        }
    }
    verdict
}

/// PGDATA and WAL in one pool, a tablespace in another.
fn cluster() -> Cluster {
    let on = |name: &str, role, dataset: &'static str, within: &str| {
        let mut path = operation::path(name, role, dataset, "zfs");
        path.mount_point = format!("/srv/{dataset}");
        path.path = format!("{}{within}", path.mount_point);
        (path, dataset)
    };
    Cluster {
        paths: vec![
            on("tablespace-16384", DataRole::Tablespace, "fast/ts", "/blue whale"),
            on("wal", DataRole::Wal, "tank/wal", ""),
            on("data", DataRole::Data, "tank/pg", "/15/main"),
        ],
        handle: format!("{BACKUP}:{TOKEN}"),
    }
}
