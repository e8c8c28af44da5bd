//! What lvm2, `mount` and `findmnt` print, as the provider `lvm` reads it: a line with the operation, then answers.

use stillframe_plugin_lvm::{Config, Lvm};
use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{BlockDevice, DataRole, parse_config};

use crate::Verdict;
use crate::input::Input;
use crate::operation::{self, Cluster, TOKEN};
use crate::script::Script;
use crate::store::BACKUP;

/// Whatever they print, nothing but a snapshot or a clone of the provider's own is removed or written.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let word = input.text();
    let script = Script::new(&input.rest_text());
    let config: Config = parse_config(r#"{"volume_groups":["vg-a","vg1"]}"#).expect("the configuration is right");
    let verdict = operation::run::<Lvm, FakeHost>(&word, &script.host, &config, &cluster());
    for invocation in script.invocations.borrow().iter() {
        let last = invocation.args.last().map_or("", String::as_str);
        if invocation.program == "lvremove" && !last.starts_with("--") {
            let name = last.split_once('/').map_or("", |(_, name)| name);
            let is_ours = ["stillframe_backup.", "stillframe_restore."].iter().any(|prefix| name.starts_with(prefix));
            assert!(is_ours, "`lvremove {}` removes what is not ours", invocation.args.join(" "));
        }
    }
    verdict
}

/// PGDATA on a thin volume, a tablespace on a classic one, and WAL in another group.
fn cluster() -> Cluster {
    let on = |name: &str, role, minor: u32, source: &str, fs_type: &str| {
        let device = |name: String, kind: &str| BlockDevice { name, kind: kind.to_owned(), serial: None, model: None };
        let mut path = operation::path(name, role, source, fs_type);
        path.devices = vec![device(format!("dm-{minor}"), "lvm"), device("vda".to_owned(), "disk")];
        path
    };
    Cluster {
        paths: vec![
            (on("data", DataRole::Data, 1, "/dev/mapper/vg--a-thin--pg", "xfs"), "vg-a/thin-pg"),
            (on("wal", DataRole::Wal, 3, "/dev/vg1/wal", "ext4"), "vg1/wal"),
            (on("tablespace-16384", DataRole::Tablespace, 2, "/dev/mapper/vg--a-ts", "ext4"), "vg-a/ts"),
        ],
        handle: format!("{BACKUP}:{TOKEN}"),
    }
}
