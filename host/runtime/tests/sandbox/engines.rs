//! The same provider on both engines.

use stillframe_core::provider::{Provider, ProviderFault};
use stillframe_runtime::{EngineKind, Runtime};

use crate::harness::{OWNER, cached, settings, settings_until, whole};

#[tokio::test]
async fn the_interpreter_holds_the_same_limits() {
    let runtime = Runtime::new(cached(EngineKind::Pulley));
    let provider = runtime.load(settings(&[])).await.unwrap();
    assert_eq!(provider.list(OWNER).await.unwrap().len(), 2);
    let looping = runtime.load(settings_until(1, &[("do", "loop")])).await.unwrap();
    assert_eq!(looping.check().await.unwrap_err().fault, ProviderFault::Deadline { seconds: 1 });
    let bomb = runtime.load(settings(&[("do", "memory-bomb")])).await;
    let text = whole(&bomb.unwrap().check().await.unwrap_err());
    assert!(text.contains("memory limit of 67108864 bytes"), "{text}");
}
