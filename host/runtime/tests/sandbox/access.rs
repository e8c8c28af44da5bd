//! A provider has no file, network, environment or process access except through a granted capability.

use std::fs;
use std::net::{TcpListener, UdpSocket};

use stillframe_core::provider::Provider;

use crate::harness::{load, settings};

/// What a probe found when it was aimed at something that is there for everybody else.
async fn found(probe: &str, target: &str) -> String {
    let provider = load(settings(&[("do", probe), ("target", target)])).await;
    let mut warnings = provider.check().await.unwrap();
    assert_eq!(warnings.len(), 1, "{probe}: {warnings:?}");
    warnings.remove(0)
}

#[tokio::test]
async fn reaches_no_file() {
    let place = tempfile::tempdir().unwrap();
    let (file, new_file) = (place.path().join("file"), place.path().join("new"));
    fs::write(&file, "secret").unwrap();
    for (probe, target) in [
        ("read-file", file.to_str().unwrap()),
        ("read-file", "/etc/passwd"),
        ("read-file", "/proc/self/environ"),
        ("list-directory", place.path().to_str().unwrap()),
        ("list-directory", "/"),
        ("list-here", ""),
        ("write-file", new_file.to_str().unwrap()),
    ] {
        let found = found(probe, target).await;
        assert!(found.starts_with("refused: "), "{probe} {target}: {found}");
    }
    assert!(!new_file.exists());
}

#[tokio::test]
async fn reaches_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let tcp = listener.local_addr().unwrap().to_string();
    let udp = socket.local_addr().unwrap().to_string();
    for (probe, target) in [("tcp", tcp.as_str()), ("udp", udp.as_str()), ("listen", ""), ("resolve-name", "localhost:80")] {
        let found = found(probe, target).await;
        assert!(found.starts_with("refused: "), "{probe}: {found}");
    }
    assert!(listener.accept().is_err(), "nobody has connected");
    assert!(socket.recv(&mut [0]).is_err(), "nothing has arrived");
}

#[tokio::test]
async fn sees_no_environment_no_argument_and_no_input() {
    assert!(std::env::vars().next().is_some(), "this process has an environment");
    assert_eq!(found("environment", "").await, "[]");
    assert_eq!(found("arguments", "").await, "[]");
    assert_eq!(found("stdin", "").await, "reached: \"\"");
}

#[tokio::test]
async fn starts_no_process_and_no_thread() {
    for probe in ["process", "thread"] {
        let found = found(probe, "/bin/true").await;
        assert!(found.starts_with("refused: "), "{probe}: {found}");
    }
}

#[tokio::test]
async fn gets_its_own_configuration_and_nothing_else() {
    let provider = load(settings(&[("do", "echo-config"), ("pool", "tank")])).await;
    assert_eq!(provider.check().await.unwrap(), [r#"{"do":"echo-config","pool":"tank"}"#]);
}
