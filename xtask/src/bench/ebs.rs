//! A whole EBS backup beside Barman's, on the same imitation of EC2 and S3: moto, whose snapshots are complete at once.
//!
//! So what is measured is everything but the storage: the program's start, its requests, backup mode, and the wait for WAL.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::figure::{Comparison, Figure, Target, measure};
use super::stage::{Codec, Stage, quiet};
use crate::failure::Failure;
use crate::prerequisites::python;
use crate::run::{captured, line, quoted};

/// Barman needs no compiler for the driver of this name.
const PACKAGES: [&str; 4] = ["moto[server]==5.2.5", "boto3", "psycopg2-binary", "python-dateutil"];
const PEER: &str = "barman==3.19.1";

const REGION: &str = "us-east-1";

/// Longest wait until moto listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the bucket, and an instance with a volume at the device that is the first argument; prints the instance.
const SET_UP: &str = "
import boto3, sys
ec2, s3 = boto3.client('ec2'), boto3.client('s3')
s3.create_bucket(Bucket='barman')
image = ec2.describe_images(Owners=['amazon'])['Images'][0]['ImageId']
name = lambda kind, name: [{'ResourceType': kind, 'Tags': [{'Key': 'Name', 'Value': name}]}]
made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=name('instance', 'pg1'))['Instances'][0]
zone = made['Placement']['AvailabilityZone']
volume = ec2.create_volume(AvailabilityZone=zone, Size=8, TagSpecifications=name('volume', 'disk1'))['VolumeId']
ec2.attach_volume(InstanceId=made['InstanceId'], VolumeId=volume, Device=sys.argv[1])
print(made['InstanceId'])
";

/// The imitation; it ends with this value.
struct Moto {
    process: Child,
    endpoint: String,
}

impl Moto {
    fn start(stage: &Stage<'_>, environment: &Path) -> Result<Self, Failure> {
        let port = free_port()?;
        let mut command = stage.program(&environment.join("bin/moto_server").display().to_string());
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().map_err(Failure::io(format!("run `{}`", line(&command))))?;
        let moto = Self { process, endpoint: format!("http://127.0.0.1:{port}") };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if began.elapsed() > PATIENCE {
                return Err(Failure::new("moto does not listen"));
            }
            sleep(Duration::from_millis(100));
        }
        Ok(moto)
    }

    /// Adds what leads a program to it.
    fn reach<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let keys = [("AWS_ACCESS_KEY_ID", "bench"), ("AWS_SECRET_ACCESS_KEY", "bench"), ("AWS_DEFAULT_REGION", REGION)];
        command.envs(keys).env("AWS_ENDPOINT_URL", &self.endpoint)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Measures the backup of one volume.
pub(super) fn measure_ebs(stage: &Stage<'_>, runs: usize) -> Result<Figure, Failure> {
    let environment = environment(stage)?;
    let moto = Moto::start(stage, &environment)?;
    let python = environment.join("bin/python").display().to_string();
    let instance = captured(moto.reach(stage.program(&python).args(["-c", SET_UP, &disk(stage.home)?])))?.trim().to_owned();
    let data = stage.home.join("ebs");
    let server = stage.server(&data)?;
    let config = stage.home.join("ebs.toml").display().to_string();
    let archive = format!("{} --config {} wal-push %p", quoted(&stage.binary.display().to_string()), quoted(&config));
    server.initialise(&format!("archive_mode = on\narchive_command = '{}'\n", archive.replace('\'', "''")))?;
    server.start()?;
    let cluster = stage.cluster("ebs", &data)?;
    let text = std::fs::read_to_string(&config).map_err(Failure::io("read the configuration"))?;
    let text = text.replace("[store]", &format!("conninfo = \"{}\"\n\n[store]", server.conninfo()));
    let provider =
        format!("\n[provider.ebs]\nregion = \"{REGION}\"\nendpoint = \"{}\"\ninstance_id = \"{instance}\"\n", moto.endpoint);
    let runtime = format!("\n[runtime]\ncache = \"{}\"\n", stage.home.join("compiled").display());
    stage.write("ebs.toml", &format!("{text}{provider}{runtime}"))?;
    let barman = environment.join("bin/barman-cloud-backup").display().to_string();
    let (home, port) = (stage.home.display().to_string(), server.port.to_string());
    let figure = measure(
        Comparison::new("snapshot-push, EBS on moto", "barman-cloud-backup --snapshot-instance", Target::Ratio(1.0)),
        runs,
        || server.query("SELECT pg_switch_wal()").map(|_| ()),
        || quiet(moto.reach(&mut stage.stillframe(&cluster, Codec::Zstd, &["snapshot-push", "--provider", "ebs"]))),
        || {
            let mut command = stage.program(&barman);
            command.args(["--immediate-checkpoint", "--aws-region", REGION, "--endpoint-url", &moto.endpoint]);
            command.args(["--host", &home, "--port", &port, "--user", "postgres"]);
            command.args(["--snapshot-instance", "pg1", "--snapshot-disk", "disk1", "s3://barman", "main"]);
            quiet(moto.reach(&mut command))
        },
    );
    server.stop()?;
    figure
}

/// An environment of Python with moto and Barman in it.
fn environment(stage: &Stage<'_>) -> Result<PathBuf, Failure> {
    let environment = stage.home.join("python");
    captured(stage.program(python()).args(["-m", "venv"]).arg(&environment))?;
    let pip = || {
        let mut pip = stage.program(&environment.join("bin/pip").display().to_string());
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        pip
    };
    captured(pip().args(PACKAGES))?;
    captured(pip().args(["--no-deps", PEER]))?;
    Ok(environment)
}

/// The disk below a directory.
fn disk(directory: &Path) -> Result<String, Failure> {
    let source = captured(Command::new("findmnt").args(["--noheadings", "--output", "SOURCE", "--target"]).arg(directory))?;
    let mut lsblk = Command::new("lsblk");
    let below =
        captured(lsblk.args(["--noheadings", "--list", "--inverse", "--paths", "--output", "NAME,TYPE"]).arg(source.trim()))?;
    let disk = below.lines().rev().find_map(|line| line.trim().strip_suffix("disk"));
    disk.map(|disk| disk.trim().to_owned()).ok_or_else(|| Failure::new(format!("`{}` lies on no disk", directory.display())))
}

/// A port that nobody uses now.
fn free_port() -> Result<u16, Failure> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(listener.map_err(Failure::io("find a free port"))?.port())
}
