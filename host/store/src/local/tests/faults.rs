//! A disk that is full or forbidden, and writers that die.
//!
//! What needs another process starts this test binary again with the name of the same test and a variable that names the store; the
//! test then plays the other part.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::{Key, PutOutcome, Store as _, list};
use tempfile::TempDir;

use crate::LocalStore;

const STORE_OF_THE_CHILD: &str = "STILLFRAME_TEST_STORE";

const BODY_BYTES: usize = 6 << 20;

/// Kills that must have hit the middle of a write before the claim counts as tested.
const KILLS_IN_THE_MIDDLE: usize = 5;

#[tokio::test]
async fn a_killed_writer_leaves_no_visible_part() {
    if let Some(root) = store_of_the_child() {
        return write_until_killed(&root).await;
    }
    let directory = TempDir::new().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    let replaced = Key::parse("killed/replaced").unwrap();
    store.put(&replaced, vec![0; BODY_BYTES].into()).await.unwrap();

    let mut round = 0;
    while temporary_files(directory.path()) < KILLS_IN_THE_MIDDLE {
        round += 1;
        assert!(round < 200, "no kill hit a write");
        kill_a_writer(directory.path(), "a_killed_writer_leaves_no_visible_part", round % 3);
        for entry in list(&store, "").await.unwrap() {
            assert_eq!(entry.size_bytes, BODY_BYTES as u64, "{}", entry.key);
            let body = store.get(&entry.key).await.unwrap().unwrap();
            assert!(body.len() == BODY_BYTES && body.iter().all(|byte| *byte == body[0]), "{} is a part", entry.key);
        }
        let next = Key::parse(&format!("next/{round}")).unwrap();
        assert_eq!(store.put_if_absent(&next, vec![9; BODY_BYTES].into()).await.unwrap(), PutOutcome::Created);
        store.delete(&next).await.unwrap();
    }
}

/// The child: writes objects, and says so before each write.
async fn write_until_killed(root: &Path) {
    let store = LocalStore::open(root).unwrap();
    for number in 0_u64.. {
        let body = Bytes::from(vec![number.to_le_bytes()[0]; BODY_BYTES]);
        writeln!(std::io::stdout(), "\nwriting {number}").unwrap();
        store.put(&Key::parse("killed/replaced").unwrap(), body.clone()).await.unwrap();
        let created = Key::parse(&format!("killed/created-{}", number % 2)).unwrap();
        store.delete(&created).await.unwrap();
        assert_eq!(store.put_if_absent(&created, body).await.unwrap(), PutOutcome::Created);
    }
}

fn kill_a_writer(root: &Path, test: &str, after_writes: usize) {
    let left_before = temporary_files(root);
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("local::tests::faults::{test}")])
        .env(STORE_OF_THE_CHILD, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let seen = lines.filter(|line| line.starts_with("writing ")).take(after_writes + 1).count();
    // Its file shows that it is in the middle; the next write will do when this one was too quick to be seen.
    let began = Instant::now();
    while temporary_files(root) <= left_before {
        assert!(began.elapsed() < Duration::from_mins(1), "no temporary file appeared");
        yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(seen, after_writes + 1, "the writer ended by itself");
}

/// The file size limit stops a write in the middle wherever the tests run, as a full disk does.
#[tokio::test]
async fn a_write_that_fails_in_the_middle_leaves_nothing() {
    if let Some(root) = store_of_the_child() {
        let store = LocalStore::open(&root).unwrap();
        let (old, new) = (Key::parse("a/old").unwrap(), Key::parse("a/new").unwrap());
        for outcome in [store.put(&old, vec![1; BODY_BYTES].into()).await, store.put(&new, vec![1; BODY_BYTES].into()).await] {
            assert_eq!(outcome.unwrap_err().class, ErrorClass::Transient);
        }
        assert!(store.put_if_absent(&new, vec![1; BODY_BYTES].into()).await.is_err());
        return;
    }
    let directory = TempDir::new().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    let old = Key::parse("a/old").unwrap();
    store.put(&old, Bytes::from_static(b"old")).await.unwrap();
    // 1 MiB; the signal is ignored so that the write fails instead of killing its process.
    let child = again("a_write_that_fails_in_the_middle_leaves_nothing", directory.path());
    succeed(Command::new("env").args(["--ignore-signal=XFSZ", "prlimit", "--fsize=1048576:1048576"]), &child, directory.path());

    assert_eq!(store.get(&old).await.unwrap().as_deref(), Some(b"old".as_slice()));
    assert_eq!(fs::read_dir(directory.path().join("a")).unwrap().count(), 1, "a part or a temporary file stayed");
}

/// A real full disk and a real unmount: the child has a file system of 2 MiB in a mount namespace of its own.
#[tokio::test]
async fn a_full_disk_is_transient_and_an_unmounted_one_no_absence() {
    let (old, new) = (Key::parse("a/old").unwrap(), Key::parse("a/new").unwrap());
    if let Some(root) = store_of_the_child() {
        let store = LocalStore::create(&root).unwrap();
        store.put(&old, vec![1; 1 << 20].into()).await.unwrap();
        for outcome in [store.put(&old, vec![2; BODY_BYTES].into()).await, store.put(&new, vec![2; BODY_BYTES].into()).await] {
            let error = outcome.unwrap_err();
            assert_eq!(error.class, ErrorClass::Transient);
            assert!(error.advice.unwrap().starts_with("free space"));
        }
        assert!(store.put_if_absent(&new, vec![2; BODY_BYTES].into()).await.is_err());
        assert_eq!(store.get(&old).await.unwrap(), Some(vec![1; 1 << 20].into()));
        assert_eq!(store.get(&new).await.unwrap(), None);
        // Everything that the failed writes took is free again.
        assert_eq!(store.put_if_absent(&new, vec![3; 768 << 10].into()).await.unwrap(), PutOutcome::Created);

        assert!(Command::new("umount").arg(&root).status().unwrap().success());
        assert_eq!(store.get(&old).await.unwrap_err().class, ErrorClass::Config);
        assert_eq!(list(&store, "").await.unwrap_err().class, ErrorClass::Config);
        return;
    }
    let directory = TempDir::new().unwrap();
    let child = again("a_full_disk_is_transient_and_an_unmounted_one_no_absence", directory.path());
    let mut namespace = Command::new("unshare");
    namespace.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        namespace.arg("--map-root-user");
    }
    let script = format!("mount -t tmpfs -o size=2m tmpfs \"${STORE_OF_THE_CHILD}\" && exec \"$@\"");
    succeed(namespace.args(["sh", "-c", &script, "sh"]), &child, directory.path());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "the file system was mounted for everybody");
}

/// Root reads and writes everything, so the child runs without its capabilities.
#[tokio::test]
async fn a_forbidden_directory_is_an_error_and_no_absence() {
    let object = Key::parse("a/object").unwrap();
    if let Some(root) = store_of_the_child() {
        let store = LocalStore::open(&root).unwrap();
        set_mode(&root.join("a"), 0o000);
        for class in [
            store.get(&object).await.unwrap_err().class,
            store.head(&object).await.unwrap_err().class,
            store.delete(&object).await.unwrap_err().class,
            list(&store, "").await.unwrap_err().class,
        ] {
            assert_eq!(class, ErrorClass::Config);
        }
        set_mode(&root.join("a"), 0o500);
        let error = store.put(&object, Bytes::new()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Config);
        assert!(error.advice.unwrap().contains("right to read and write"));
        assert_eq!(store.head(&object).await.unwrap(), Some(1));
        set_mode(&root, 0o000);
        assert_eq!(store.get(&object).await.unwrap_err().class, ErrorClass::Config);
        set_mode(&root, 0o700);
        set_mode(&root.join("a"), 0o700);
        return;
    }
    let directory = TempDir::new().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    store.put(&object, Bytes::from_static(b"x")).await.unwrap();
    let child = again("a_forbidden_directory_is_an_error_and_no_absence", directory.path());
    if rustix::process::geteuid().is_root() {
        succeed(Command::new("setpriv").args(["--bounding-set=-all", "--inh-caps=-all"]), &child, directory.path());
    } else {
        succeed(&mut Command::new("env"), &child, directory.path());
    }
    assert_eq!(store.get(&object).await.unwrap().as_deref(), Some(b"x".as_slice()));
}

fn store_of_the_child() -> Option<PathBuf> {
    env::var_os(STORE_OF_THE_CHILD).map(PathBuf::from)
}

/// The command line that plays the other part of a test.
fn again(test: &str, root: &Path) -> Vec<String> {
    let program = env::current_exe().unwrap().to_str().unwrap().to_owned();
    assert!(root.is_absolute());
    vec![program, "--exact".to_owned(), format!("local::tests::faults::{test}")]
}

fn succeed(wrapper: &mut Command, arguments: &[String], root: &Path) {
    let output = wrapper.args(arguments).env(STORE_OF_THE_CHILD, root).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn temporary_files(root: &Path) -> usize {
    let names = fs::read_dir(root.join("killed")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with(".temporary-")).count()
}
