//! A machine of the page's own, in namespaces: what the page writes into `/etc`, `/var` and `/srv` nobody else sees, and it is gone
//! with the test. The paths, users and programs are those that the page names, and PostgreSQL is a cluster as Debian makes it.
//!
//! What is not as on a reader's machine stands in [`World::STAND_INS`], and is printed with every page.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::reader::{Reader, check_shells};
use super::shell::run;
use super::{Page, Shell};
use crate::children::{bound_command, spawn};
use crate::ec2::cover_dev;
use crate::{Account, ObjectStoreServer, ScratchDirectory, binary_path, places};

/// Tells the second run of the test that it is on the machine.
const VARIABLE: &str = "STILLFRAME_OWN_MACHINE";
/// The page that every other begins with.
const QUICK_START: &str = "quick-start.md";
/// What pages write into, on top of what the real machine has there.
const COVERED: [&str; 5] = ["etc", "var", "usr/local", "root", "opt"];
/// What is empty on a new machine.
const EMPTY: [&str; 5] = ["run", "srv", "etc/postgresql", "var/lib/postgresql", "var/log/postgresql"];

/// Size of the disk below `/srv`; a file with holes.
const DISK_BYTES: u64 = 4 << 30;

/// Runs a test on a machine of its own; the name is that of the calling test, and must be right: this is checked.
#[track_caller]
pub fn with_own_machine(test: &str, body: impl FnOnce()) {
    if std::env::var_os(VARIABLE).is_some() {
        body();
        return;
    }
    assert!(rustix::process::geteuid().is_root(), "only root can make a machine of its own: run this test as root");
    let scratch = ScratchDirectory::create();
    let mut command = bound_command("unshare", "KILL");
    command.args(["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    // A shell is the first process, since it buries what its children leave.
    command.args(["bash", "-c", "\"$@\"; exit $?", "machine"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    // Other scratch directories are not to be judged from there: their processes cannot be seen.
    command.env(VARIABLE, "1").env("TMPDIR", scratch.path());
    let said = scratch.join("said");
    let output = fs::File::create(&said).expect("the scratch directory is ours");
    command.stderr(output.try_clone().expect("a file can be shared")).stdout(output);
    let status = spawn(command).wait().expect("it is our child");
    let said = fs::read(&said).map(|said| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default();
    // No test of that name would be a success as well.
    assert!(status.success() && said.contains("1 passed"), "`{test}` on a machine of its own: {status}\n{said}");
    println!("{said}");
}

/// A machine, and somebody at its terminal.
#[derive(Debug)]
pub struct World {
    /// Follows the pages.
    pub reader: Reader,
    // Ends before its files are gone.
    _bucket: Option<ObjectStoreServer>,
    scratch: ScratchDirectory,
}

impl World {
    /// What is not as on a reader's machine.
    pub const STAND_INS: [(&str, &str); 9] = [
        ("target/release/stillframe", "the binary under test, which is the unoptimised build"),
        (
            "~/.cache/stillframe/providers",
            "compiled providers, kept between the tests; an unoptimised build takes seconds for each",
        ),
        ("postgresql.conf", "`fsync = off`, no port, shared memory in files: nothing is to survive, and nothing to be left"),
        ("the host", "is called db1, and its file systems are in memory"),
        ("target/wasm32-wasip2/release/copies.wasm", "in the world `author`, tests/guests/copies as the workspace builds it"),
        ("/srv", "in the world `btrfs`, a loop device with btrfs"),
        (
            "S3",
            "in the world `bucket`, moto with a bucket `backups`, whose address and keys are in the environment, as an instance's are",
        ),
        ("systemd", "a page's unit is started by the test: its `RuntimeDirectory`, `User` and `ExecStart`"),
        ("the database", "has one table, `orders`, of 1,000 rows"),
    ];

    /// Makes the machine that a page wants; only within [`with_own_machine`].
    #[track_caller]
    pub fn open(name: &str) -> Self {
        assert!(std::env::var_os(VARIABLE).is_some(), "everybody would see these mounts");
        let scratch = ScratchDirectory::create();
        cover(&scratch);
        install_programs();
        let bucket = (name == "bucket").then(ObjectStoreServer::moto);
        let variables = bucket.as_ref().map(cloud).unwrap_or_default();
        create_cluster(&variables);
        let mut reader = shells(&scratch, &variables);
        check_shells(&mut reader);
        let world = Self { reader, _bucket: bucket, scratch };
        match name {
            "machine" => world,
            "bucket" => world.begun_as("archive"),
            "btrfs" => world.begun_as("archive").with_btrfs(),
            "author" => {
                let built = Path::new("/root/target/wasm32-wasip2/release");
                fs::create_dir_all(built).expect("it is covered");
                fs::copy(example_component(), built.join("copies.wasm")).expect("it is built");
                world.begun_as("archive")
            }
            begun => world.begun_as(begun),
        }
    }

    /// A disk of its own below `/srv`.
    fn with_btrfs(self) -> Self {
        cover_dev(&self.scratch);
        let image = self.scratch.join("srv.img");
        fs::File::create(&image).and_then(|file| file.set_len(DISK_BYTES)).expect("the scratch directory is ours");
        run(Command::new("mkfs.btrfs").arg("--quiet").arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg("/srv"));
        self
    }

    /// Other pages begin where the quick start has come to.
    #[track_caller]
    fn begun_as(mut self, name: &str) -> Self {
        let page = Page::open(QUICK_START).unwrap_or_else(|error| panic!("{error}"));
        self.reader.follow_until(&page, name).unwrap_or_else(|error| panic!("{error}"));
        self.reader.turn_the_page();
        self
    }
}

/// Overlays, so that what the machine has is there and what is written is not.
fn cover(scratch: &ScratchDirectory) {
    run(Command::new("mount").args(["--make-rprivate", "/"]));
    let cache = places::compiled_cache();
    let layers = scratch.join("layers");
    fs::create_dir(&layers).expect("the scratch directory is ours");
    // The scratch directory itself stays where it is, whatever is covered.
    for directory in COVERED {
        let place = |kind: &str| layers.join(format!("{}-{kind}", directory.replace('/', "-")));
        let (upper, work) = (place("upper"), place("work"));
        fs::create_dir(&upper).and_then(|()| fs::create_dir(&work)).expect("the layers are new");
        let options = format!("lowerdir=/{directory},upperdir={},workdir={}", upper.display(), work.display());
        run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(format!("/{directory}")));
    }
    for directory in EMPTY {
        let path = PathBuf::from("/").join(directory);
        fs::create_dir_all(&path).expect("it is covered");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "none"]).arg(&path));
    }
    let account = Account::unprivileged();
    for directory in ["/etc/postgresql", "/var/lib/postgresql", "/run/postgresql"] {
        account.create_directory(Path::new(directory));
        account.own(Path::new(directory));
    }
    // As Debian's package makes it: a new cluster's owner makes the log.
    run(Command::new("chown").args(["root:postgres", "/var/log/postgresql"]));
    crate::set_mode(Path::new("/var/log/postgresql"), 0o1775);
    let kept = Path::new("/var/lib/postgresql/.cache/stillframe/providers");
    account.create_directory(kept);
    run(Command::new("mount").arg("--bind").arg(cache).arg(kept));
    run(Command::new("hostname").arg("db1"));
    fs::write("/etc/hosts", "127.0.0.1 localhost db1\n").expect("it is covered");
}

/// Where a reader who has built it finds the binary, and where a later page expects it.
fn install_programs() {
    let built = Path::new("/root/target/release");
    fs::create_dir_all(built).expect("it is covered");
    symlink(binary_path(), built.join("stillframe")).expect("it is covered");
}

/// The component of the author's guide: one that is built already, or else built now.
fn example_component() -> PathBuf {
    let file = "stillframe_guest_copies.wasm";
    if let Some(built) = std::env::var_os("STILLFRAME_COMPONENTS") {
        return Path::new(&built).join(file);
    }
    // A target directory of its own: the build of this test may hold the lock of the other one.
    let guests = places::target_directory().join("guests");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--profile", "plugin", "--target", "wasm32-wasip2", "-p", "stillframe-guest-copies"]);
    run(command.arg("--target-dir").arg(&guests).current_dir(env!("CARGO_MANIFEST_DIR")));
    guests.join("wasm32-wasip2/plugin").join(file)
}

/// The bucket `backups`, and what an instance of the cloud is given without anybody's doing.
fn cloud(server: &ObjectStoreServer) -> Vec<(String, String)> {
    server.make_bucket_named("backups");
    let own = server.environment().into_iter().filter(|(name, _)| name.starts_with("AWS_"));
    let variables = own.chain([("AWS_ENDPOINT_URL_S3", server.endpoint().to_owned())]);
    variables.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn create_cluster(variables: &[(String, String)]) {
    let defaults = "fsync = off\nlisten_addresses = ''\ndynamic_shared_memory_type = mmap\n";
    fs::create_dir_all("/etc/postgresql-common/createcluster.d").expect("it is covered");
    fs::write("/etc/postgresql-common/createcluster.d/book.conf", defaults).expect("it is covered");
    run(Command::new("pg_createcluster").args(["15", "main", "--", "--no-sync"]));
    let environment: Vec<String> = variables.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
    fs::write("/etc/postgresql/15/main/environment", environment.concat()).expect("it is covered");
    run(Command::new("pg_ctlcluster").args(["15", "main", "start"]));
    let table = "CREATE TABLE orders (id int PRIMARY KEY, placed_at timestamptz NOT NULL DEFAULT now());
        INSERT INTO orders SELECT generate_series(1, 1000)";
    run(Command::new("runuser").args(["-u", "postgres", "--", "psql", "-X", "-c", table]).current_dir("/"));
}

fn shells(scratch: &ScratchDirectory, variables: &[(String, String)]) -> Reader {
    let root_only = scratch.join("root");
    let shared = scratch.join("shared");
    let checked = scratch.join("checked");
    for directory in [&root_only, &shared, &checked] {
        fs::create_dir(directory).expect("the scratch directory is ours");
        crate::set_mode(directory, 0o755);
    }
    let path = |path: &str, user: &str| {
        [("PATH", path), ("LANG", "C.UTF-8"), ("USER", user), ("LOGNAME", user)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .chain(variables.iter().cloned())
            .collect::<Vec<_>>()
    };
    let root = path("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "root");
    let postgres = path("/usr/local/bin:/usr/bin:/bin", "postgres");
    let shells = BTreeMap::from([
        ('#', Shell::open(None, Path::new("/root"), &root, &root_only)),
        ('$', Shell::open(Some(Account::unprivileged()), Path::new("/var/lib/postgresql"), &postgres, &shared)),
    ]);
    Reader::new(shells, &checked)
}
