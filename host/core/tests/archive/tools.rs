//! The standard tools read what we write, and we read what they write: the tools that people have when all else is lost.
//!
//! They come from the Debian packages `age`, `brotli`, `coreutils`, `lz4` and `zstd`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use stillframe_core::catalog::Compression;

use crate::place::{Keys, Place, encrypting, plain, segment_content, segment_name, with_identities};

const SEGMENT: &str = "000000010000000000000003";

/// What a program makes of its standard input.
fn filter(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("`{program}` must be installed: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    output.stdout
}

/// The only object that is left by a push with these settings.
async fn pushed(settings: &stillframe_core::catalog::ArchiveSettings, suffix: &str) -> Vec<u8> {
    let place = Place::new();
    place.push(segment_name(), &segment_content(), settings).await.unwrap();
    place.read(&format!("{SEGMENT}{suffix}")).await
}

fn write_identity(directory: &Path, keys: &Keys) -> String {
    let path = directory.join("identity");
    std::fs::write(&path, &keys.secret).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_zstd_and_lz4_tools_pass_over_the_digest() {
    let zstd = pushed(&plain(Compression::Zstd(1)), ".zst").await;
    assert!(filter("zstd", &["-dc"], &zstd) == segment_content());
    let lz4 = pushed(&plain(Compression::Lz4), ".lz4").await;
    assert!(filter("lz4", &["-dc"], &lz4) == segment_content());
}

#[tokio::test]
async fn the_age_tool_passes_over_the_docket_and_finds_a_compressed_file_inside() {
    let (keys, other, directory) = (Keys::new(), Keys::new(), tempfile::tempdir().unwrap());
    let identity = write_identity(directory.path(), &keys);
    let decrypted = |body: &[u8]| filter("age", &["--decrypt", "--identity", &identity], body);
    let recipients = [&other, &keys];
    let zstd = pushed(&encrypting(Compression::Zstd(1), &recipients), ".zst.age").await;
    assert!(filter("zstd", &["-dc"], &decrypted(&zstd)) == segment_content());
    let lz4 = pushed(&encrypting(Compression::Lz4, &recipients), ".lz4.age").await;
    assert!(filter("lz4", &["-dc"], &decrypted(&lz4)) == segment_content());
    let raw = pushed(&encrypting(Compression::None, &recipients), ".age").await;
    assert!(decrypted(&raw) == segment_content());
}

#[tokio::test]
async fn sha256sum_checks_a_file_that_is_stored_as_it_is() {
    let (place, directory) = (Place::new(), tempfile::tempdir().unwrap());
    place.push(segment_name(), &segment_content(), &plain(Compression::None)).await.unwrap();
    for object in place.objects() {
        std::fs::write(directory.path().join(&object), place.read(&object).await).unwrap();
    }
    let check = || {
        let mut command = Command::new("sha256sum");
        command.args(["--check", "--status", "--strict", &format!("{SEGMENT}.digest.sha256")]).current_dir(directory.path());
        command.status().unwrap().success()
    };
    assert!(check());
    std::fs::write(directory.path().join(SEGMENT), b"other").unwrap();
    assert!(!check());
}

#[tokio::test]
async fn what_the_tools_write_with_their_options_is_read() {
    let (keys, directory) = (Keys::new(), tempfile::tempdir().unwrap());
    let content = segment_content();
    let zstd = filter("zstd", &["-c", "-19", "--long=27"], &content);
    let cases = [
        (".zst", filter("zstd", &["-c", "-1", "--no-check"], &content)),
        (".zst", zstd.clone()),
        (".lz4", filter("lz4", &["-c", "-1"], &content)),
        (".lz4", filter("lz4", &["-c", "-9", "-B4", "-BD", "--no-frame-crc"], &content)),
        (".lz4", filter("lz4", &["-c", "-B7", "-BX", "--content-size"], &content)),
        (".br", filter("brotli", &["-c", "-q", "3"], &content)),
        (".br", filter("brotli", &["-c", "-q", "11", "--large_window=24"], &content)),
        ("", content.clone()),
        (".age", filter("age", &["--recipient", &keys.public], &content)),
        (".zst.age", filter("age", &["--recipient", &keys.public], &zstd)),
    ];
    let identity = write_identity(directory.path(), &keys);
    assert_eq!(filter("age-keygen", &["-y", &identity], b""), format!("{}\n", keys.public).into_bytes());
    let settings = with_identities(&plain(Compression::Zstd(1)), &[&keys]);
    for (suffix, body) in cases {
        let place = Place::new();
        place.put(&format!("{SEGMENT}{suffix}"), body.clone()).await;
        let found = place.archive(&settings).find(segment_name()).await.unwrap().unwrap();
        let (restored, found) = found.write_to(Vec::new()).await.unwrap();
        assert!(found == content && restored.prove_segment().is_ok(), "{suffix}");
        // Cut off anywhere, it is not what it was, and is not taken for it.
        for cut in [0, 1, body.len() / 2, body.len() - 1] {
            place.put(&format!("{SEGMENT}{suffix}"), body[..cut].to_vec()).await;
            let found = place.archive(&settings).find(segment_name()).await.unwrap().unwrap();
            let read = found.write_to(Vec::new()).await;
            assert!(read.is_err() || read.is_ok_and(|(restored, _)| restored.prove_segment().is_err()), "{suffix} {cut}");
        }
    }
}
