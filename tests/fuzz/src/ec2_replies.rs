//! What EC2 and STS answer, and `mount` and `findmnt` print, as the provider `ebs` reads it: a line with the operation, then answers.

use stillframe_plugin_ebs::{Config, Ebs};
use stillframe_sdk::aws::Payload;
use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{BlockDevice, DataRole, parse_config};

use crate::Verdict;
use crate::input::Input;
use crate::operation::{self, Cluster, TOKEN};
use crate::script::Script;

/// The volumes of the cluster.
const DATA: &str = "vol-0000000000000000a";
const WAL: &str = "vol-0000000000000000b";

/// Whatever they answer, every request is about well-formed ids, and no volume of the cluster is deleted or detached.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let word = input.text();
    let script = Script::new(&input.rest_text());
    let config: Config = parse_config(r#"{"region":"eu-central-1"}"#).expect("the configuration is right");
    let verdict = operation::run::<Ebs, FakeHost>(&word, &script.host, &config, &cluster());
    for request in script.requests.borrow().iter() {
        let Payload::Query(query) = &request.payload else { continue };
        if matches!(request.action.as_str(), "DeleteVolume" | "DetachVolume" | "DeleteSnapshot") {
            for (name, value) in &query.params {
                assert!(value != DATA && value != WAL, "{} {name}={value}", request.action);
            }
        }
    }
    verdict
}

fn cluster() -> Cluster {
    let on = |name: &str, role, volume: &'static str, number: u32| {
        let mut path = operation::path(name, role, &format!("/dev/nvme{number}n1"), "xfs");
        path.devices = vec![BlockDevice {
            name: format!("nvme{number}n1"),
            kind: "disk".to_owned(),
            serial: Some(volume.replace('-', "")),
            model: Some("Amazon Elastic Block Store".to_owned()),
        }];
        (path, volume)
    };
    let snapshots = "0000000000abc0002,0000000000abc0001";
    Cluster {
        paths: vec![on("wal", DataRole::Wal, WAL, 2), on("data", DataRole::Data, DATA, 1)],
        handle: format!("eu-central-1:111122223333:{TOKEN}:1795219200000:{snapshots}"),
    }
}
