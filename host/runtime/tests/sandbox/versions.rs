//! Components of earlier versions of the interface, kept as they were compiled then (`tests/components`).

use std::path::Path;

use stillframe_core::provider::{Deletion, MemberState, Provider, ProviderFault, SetReference, Token};
use stillframe_runtime::{ComponentSource, Grants, ProviderSettings};

use crate::harness::{Log, OWNER, create_request, data_paths, restore_request, runtime, settings};

/// The file as it was compiled against 1.0.0. Another digest means another component: this one is never built again.
const MINIMAL_1_0_0: &str = "6c63249082431495dfefe2b72960950f5b87a714042bad1acf119e4860f6587e";

fn stored() -> ProviderSettings {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/components/1.0.0/minimal.wasm");
    let component = ComponentSource::File { path, sha256: Some(MINIMAL_1_0_0.parse().unwrap()) };
    ProviderSettings { component, grants: Grants::default(), ..settings(&[]) }
}

#[tokio::test]
async fn a_component_built_against_1_0_keeps_working() {
    let inspection = runtime().inspect(&stored()).await.unwrap();
    assert_eq!(inspection.interface_version.as_deref(), Some("1.0.0"));
    assert_eq!(inspection.problems, Vec::<String>::new());
    let provider = runtime().load(stored()).await.unwrap();
    let description = provider.describe().await.unwrap();
    assert_eq!((description.name.as_str(), description.version.as_str()), ("minimal", "1.0.0"));
    assert!(description.features.isolated && !description.features.restore);

    let (log, guard) = Log::begin();
    assert_eq!(provider.check().await.unwrap(), ["time passes"]);
    drop(guard);
    assert!(log.lines().iter().any(|line| line.contains("checking")), "{:?}", log.lines());
    assert!(log.lines().iter().any(|line| line.contains("half") && line.ends_with("done=1 total=2")), "{:?}", log.lines());

    let paths = data_paths(Path::new("/"));
    let volumes = provider.resolve(&paths).await.unwrap();
    assert_eq!(volumes.iter().map(|volume| volume.id.as_str()).collect::<Vec<_>>(), ["data", "tablespace-16384"]);
    let request = create_request(&paths);
    let created = provider.create(&request).await.unwrap();
    assert_eq!((created.handle.as_str(), created.members.len()), ("set:token-1", 2));
    assert_eq!(created.labels, request.labels);
}

#[tokio::test]
async fn every_word_of_1_0_keeps_its_meaning() {
    let provider = runtime().load(stored()).await.unwrap();
    let by_token = |token: &str| SetReference::Token(Token(token.to_owned()));
    let set = provider.get(&by_token("t")).await.unwrap().unwrap();
    assert_eq!((set.handle.as_str(), set.name.as_str(), set.atomic, set.isolated), ("set:t", "name-t", true, true));
    assert_eq!((set.cut_begin.as_second(), set.cut_end.as_second()), (1_700_000_000, 1_700_000_001));
    let states: Vec<MemberState> = set.members.iter().map(|member| member.state.clone()).collect();
    let failed = MemberState::Failed("it ran full".to_owned());
    let expected = [MemberState::Cutting, MemberState::Cut, MemberState::Ready, failed, MemberState::Deleting, MemberState::Absent];
    assert_eq!(states, expected);
    let first = &set.members[0];
    assert_eq!((first.volume.as_str(), first.id.as_str(), first.percent), ("vol-a", "snap-vol-a", Some(50)));
    assert_eq!((first.size_bytes, first.attributes["pool"].as_str()), (Some(4_096), "tank"));
    assert_eq!(provider.get(&by_token("unknown")).await.unwrap(), None);
    assert_eq!(provider.get(&SetReference::Handle("set:h".to_owned())).await.unwrap().unwrap().token.0, "h");

    let listed: Vec<String> = provider.list(OWNER).await.unwrap().into_iter().map(|set| set.handle).collect();
    assert_eq!(listed, ["set:first", "set:second"]);
    for (handle, expected) in [("set:x", Deletion::Deleted), ("set:pending", Deletion::Pending), ("set:absent", Deletion::Absent)] {
        assert_eq!(provider.delete(handle).await.unwrap(), expected);
    }
    let busy = provider.delete("set:busy").await.unwrap_err();
    assert_eq!(busy.fault, ProviderFault::Busy { retry_after_ms: Some(1_000) });
    assert_eq!(provider.delete("foreign").await.unwrap_err().fault, ProviderFault::NotFound("foreign".to_owned()));
    let restored = provider.restore(&restore_request(Path::new("/srv/data"))).await.unwrap_err();
    assert!(matches!(&restored.fault, ProviderFault::Unsupported(_)), "it exports no `restore`: {restored:?}");
}
