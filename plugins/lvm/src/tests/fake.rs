//! An LVM in memory: groups, volumes, snapshots, pools and mounts, answering the programs as lvm2 2.03 and util-linux do.
//!
//! Only the arguments that a test has seen succeed on the real programs are known; all others are `denied`, as by a policy.

use std::collections::BTreeSet;

use serde_json::json;
use stillframe_sdk::command::{CommandError, ExitStatus, Invocation, Output};
use stillframe_sdk::mount::FakeMounts;

const EXTENT: u64 = 4 << 20;

#[derive(Debug, Default)]
pub(crate) struct FakeLvm {
    pub(crate) groups: Vec<FakeGroup>,
    pub(crate) volumes: Vec<FakeVolume>,
    pub(crate) mounts: FakeMounts,
    /// Programs that fail once: a text within program and arguments, and what happens.
    pub(crate) failures: Vec<(String, Failure)>,
    /// Everything that was ever run.
    pub(crate) seen: BTreeSet<String>,
    made: u32,
}

#[derive(Debug)]
pub(crate) struct FakeGroup {
    pub(crate) name: String,
    pub(crate) free_bytes: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct FakeVolume {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) kind: FakeKind,
    pub(crate) size_bytes: u64,
    pub(crate) pool: String,
    pub(crate) origin: String,
    pub(crate) minor: Option<u32>,
    pub(crate) open: bool,
    pub(crate) invalid: bool,
    pub(crate) data_percent: String,
    pub(crate) metadata_percent: String,
    pub(crate) health: String,
    pub(crate) tags: Vec<String>,
    /// What its file system holds.
    pub(crate) content: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FakeKind {
    #[default]
    Linear,
    Thin,
    Pool,
    ClassicSnapshot,
}

/// How a program fails.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// It writes this and exits with this code, and nothing happens.
    Says(i32, &'static str),
    /// `lvcreate` has written the volume and its tags into the metadata, and is ended by the deadline.
    HalfMade,
    /// The snapshot runs full while `dd` copies it, and `dd` does not notice.
    Overflows,
    /// The policy denies it.
    Denied,
}

impl FakeLvm {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add_group(&mut self, name: &str, free_bytes: u64) {
        self.groups.push(FakeGroup { name: name.to_owned(), free_bytes });
    }

    pub(crate) fn add_pool(&mut self, group: &str, name: &str) {
        let (data_percent, metadata_percent) = ("10.74".to_owned(), "11.52".to_owned());
        self.add(FakeVolume { kind: FakeKind::Pool, data_percent, metadata_percent, ..volume(group, name, 50 << 30, "") });
    }

    pub(crate) fn add_thin(&mut self, group: &str, name: &str, pool: &str, size_bytes: u64, content: &str) {
        let pool = pool.to_owned();
        self.add(FakeVolume { kind: FakeKind::Thin, pool, ..volume(group, name, size_bytes, content) });
    }

    pub(crate) fn add_linear(&mut self, group: &str, name: &str, size_bytes: u64, content: &str) {
        self.add(volume(group, name, size_bytes, content));
    }

    /// Adds a volume, with a device and a UUID of its own. The device's number is the count of those before.
    pub(crate) fn add(&mut self, mut volume: FakeVolume) {
        volume.minor = Some(self.made);
        volume.uuid = format!("uuid-{}", self.made);
        self.made += 1;
        self.volumes.push(volume);
    }

    pub(crate) fn fail(&mut self, containing: &str, failure: Failure) {
        self.failures.push((containing.to_owned(), failure));
    }

    pub(crate) fn find(&self, id: &str) -> Option<&FakeVolume> {
        self.volumes.iter().find(|volume| format!("{}/{}", volume.group, volume.name) == id)
    }

    pub(crate) fn find_mut(&mut self, id: &str) -> &mut FakeVolume {
        self.volumes.iter_mut().find(|volume| format!("{}/{}", volume.group, volume.name) == id).unwrap()
    }

    /// What is mounted at this point.
    pub(crate) fn content_at(&self, point: &str) -> Option<String> {
        let source = &self.mounts.mounts.iter().rev().find(|mounted| mounted.point == point)?.source;
        let device = |volume: &&FakeVolume| {
            stillframe_sdk::mount::same_device(source, &format!("/dev/{}/{}", volume.group, volume.name)) && volume.minor.is_some()
        };
        self.volumes.iter().find(device).map(|volume| volume.content.clone())
    }

    pub(crate) fn answer(&mut self, invocation: &Invocation) -> Result<Output, CommandError> {
        let line = format!("{} {}", invocation.program, invocation.args.join(" "));
        self.seen.insert(line.clone());
        let args: Vec<&str> = invocation.args.iter().map(String::as_str).collect();
        let failure = self.failures.iter().position(|(containing, _)| line.contains(containing.as_str()));
        match failure.map(|index| self.failures.remove(index).1) {
            Some(Failure::Says(code, text)) => return Ok(ended(code, "", text)),
            Some(Failure::Denied) => return Err(CommandError::Denied(line)),
            Some(Failure::HalfMade) => {
                self.half_make(&args);
                return Err(CommandError::TimedOut);
            }
            Some(Failure::Overflows) => {
                let answer = self.run(&invocation.program, &args, &line)?;
                let from = args[0].trim_start_matches("if=/dev/").to_owned();
                self.find_mut(&from).invalid = true;
                return Ok(answer);
            }
            None => {}
        }
        if let Some(answer) = self.mounts.answer(invocation).filter(|_| args != ["--version"]) {
            return answer;
        }
        self.run(&invocation.program, &args, &line)
    }

    fn run(&mut self, program: &str, args: &[&str], line: &str) -> Result<Output, CommandError> {
        let denied = || Err(CommandError::Denied(format!("no rule allows `{line}`")));
        Ok(match (program, args) {
            (_, ["--version"]) => ended(0, "1.0", ""),
            ("lvs", ["--reportformat=json", "--units=b", "--nosuffix", "--binary", _, groups @ ..]) => {
                self.report("lv", groups, |lvm, group| lvm.volumes.iter().filter(|lv| lv.group == group).map(|lv| lvm.row(lv)).collect())
            }
            ("lvs", ["--reportformat=json", "--units=b", "--nosuffix", _, groups @ ..]) => self.report("lv", groups, |lvm, group| {
                let row = |lv: &FakeVolume| {
                    let monitor = if lv.kind == FakeKind::Pool { "not monitored" } else { "" };
                    json!({"vg_name": lv.group, "lv_name": lv.name, "seg_monitor": monitor})
                };
                lvm.volumes.iter().filter(|lv| lv.group == group).map(row).collect()
            }),
            ("vgs", ["--reportformat=json", "--units=b", "--nosuffix", _, groups @ ..]) => self.report("vg", groups, |lvm, group| {
                let found = lvm.groups.iter().filter(|found| found.name == group);
                found
                    .map(|group| json!({"vg_name": group.name, "vg_free": group.free_bytes.to_string(), "vg_extent_size": EXTENT.to_string()}))
                    .collect()
            }),
            ("lvcreate", args) => self.create(args),
            ("lvchange", ["--activate=y", "--ignoreactivationskip", id]) => {
                self.made += 1;
                self.find_mut(id).minor = Some(self.made);
                ended(0, "", "")
            }
            ("lvchange", [tag, id]) => {
                let tag = tag.strip_prefix("--addtag=").unwrap().to_owned();
                match self.find(id) {
                    Some(_) => self.find_mut(id).tags.push(tag),
                    None => return Ok(ended(5, "", &format!("  Failed to find logical volume \"{id}\""))),
                }
                ended(0, "", "")
            }
            ("lvremove", ["--yes", select, id]) => self.remove(select.strip_prefix("--select=lv_uuid=").unwrap(), id),
            ("dd", [from, to, skip, seek, "count=1024", "bs=4M", "iflag=direct,fullblock", "oflag=direct", "conv=nocreat,notrunc,fsync", "status=none"])
                if skip.strip_prefix("skip=") == seek.strip_prefix("seek=") =>
            {
                self.copy(from.strip_prefix("if=/dev/").unwrap(), to.strip_prefix("of=/dev/").unwrap(), skip)
            }
            _ => return denied(),
        })
    }

    fn report(&self, part: &str, groups: &[&str], rows: impl Fn(&Self, &str) -> Vec<serde_json::Value>) -> Output {
        if let Some(missing) = groups.iter().find(|name| !self.groups.iter().any(|group| group.name == **name)) {
            let text = format!("  Volume group \"{missing}\" not found\n  Cannot process volume group {missing}\n");
            return ended(5, "{ \"report\": [] }", &text);
        }
        let reports: Vec<_> = groups.iter().map(|group| json!({ part: rows(self, group) })).collect();
        ended(0, &json!({ "report": reports }).to_string(), "")
    }

    fn row(&self, volume: &FakeVolume) -> serde_json::Value {
        let origin = self.volumes.iter().find(|lv| lv.group == volume.group && lv.name == volume.origin);
        let classic = volume.kind == FakeKind::ClassicSnapshot;
        let (layout, role) = match volume.kind {
            FakeKind::Linear => ("linear", "public"),
            FakeKind::Thin if volume.origin.is_empty() => ("thin,sparse", "public"),
            FakeKind::Thin => ("thin,sparse", "public,snapshot,thinsnapshot"),
            FakeKind::Pool => ("thin,pool", "private"),
            FakeKind::ClassicSnapshot => ("linear", "public,snapshot,thicksnapshot"),
        };
        let device = format!("/dev/{}/{}", volume.group, volume.name);
        let open = volume.open || self.mounts.has_device(&device);
        let number = |active: bool, value: bool| if active { u32::from(value).to_string() } else { "-1".to_owned() };
        json!({
            "vg_name": volume.group, "lv_name": volume.name, "lv_uuid": volume.uuid, "lv_layout": layout, "lv_role": role,
            "lv_size": volume.size_bytes.to_string(), "origin": volume.origin,
            "origin_uuid": origin.map_or("", |origin| &origin.uuid),
            "origin_size": if classic { origin.map_or(String::new(), |origin| origin.size_bytes.to_string()) } else { String::new() },
            "pool_lv": volume.pool,
            // Of a classic snapshot that is not active, LVM knows neither.
            "data_percent": match (classic && volume.minor.is_none(), volume.invalid) {
                (true, _) => "",
                (_, true) => "100.00",
                _ => &volume.data_percent,
            },
            "metadata_percent": volume.metadata_percent,
            "lv_kernel_minor": volume.minor.map_or("-1".to_owned(), |minor| minor.to_string()),
            "lv_active": if volume.minor.is_some() { "active" } else { "" },
            "lv_device_open": number(volume.minor.is_some(), open),
            "lv_snapshot_invalid": number(classic && volume.minor.is_some(), volume.invalid),
            "lv_health_status": volume.health, "lv_tags": volume.tags.join(","),
        })
    }

    fn create(&mut self, args: &[&str]) -> Output {
        let (volume, fixed) = self.described(args);
        let fail = |text: String| ended(5, "", &text);
        let Some(mut volume) = volume else { return fail("  Snapshot origin LV x not found in Volume group y.".to_owned()) };
        if self.find(&format!("{}/{}", volume.group, volume.name)).is_some() {
            return fail(format!("  Logical Volume \"{}\" already exists in volume group \"{}\"", volume.name, volume.group));
        }
        let origin = self.find(&format!("{}/{}", volume.group, volume.origin));
        match fixed.as_str() {
            "--snapshot --setactivationskip=y --activate=n --permission=r"
            | "--snapshot --setactivationskip=y --ignoreactivationskip --activate=y --permission=rw" => {
                let origin = origin.unwrap();
                assert_eq!(origin.kind, FakeKind::Thin, "`lvcreate -s` of it without a size");
                volume = FakeVolume { kind: FakeKind::Thin, size_bytes: origin.size_bytes, pool: origin.pool.clone(), ..volume };
            }
            "--yes --snapshot --permission=r" => {
                let origin = origin.unwrap();
                assert_ne!(origin.kind, FakeKind::ClassicSnapshot, "LVM takes no snapshot of a classic one");
                volume = FakeVolume { kind: FakeKind::ClassicSnapshot, data_percent: "0.03".to_owned(), ..volume };
            }
            "--yes --type=linear --setactivationskip=y --ignoreactivationskip --activate=y --zero=n --wipesignatures=n" => {}
            other => panic!("these options were not tried on the real program: {other}"),
        }
        if volume.kind != FakeKind::Thin {
            let group = self.groups.iter_mut().find(|group| group.name == volume.group).unwrap();
            let bytes = volume.size_bytes.div_ceil(EXTENT) * EXTENT;
            let Some(free) = group.free_bytes.checked_sub(bytes) else {
                return fail(format!("  Volume group \"{}\" has insufficient free space (1 extents): 2 required.", volume.group));
            };
            group.free_bytes = free;
        }
        let inactive = fixed.contains("--activate=n");
        self.add(volume);
        if inactive {
            self.volumes.last_mut().unwrap().minor = None;
        }
        ended(0, "", "  WARNING: Sum of all thin volume sizes exceeds the size of thin pool.")
    }

    /// What the arguments describe, and the options without a value of their own.
    fn described(&self, args: &[&str]) -> (Option<FakeVolume>, String) {
        let mut made = FakeVolume::default();
        let mut fixed = Vec::new();
        for arg in &args[..args.len() - 1] {
            if let Some(name) = arg.strip_prefix("--name=") {
                name.clone_into(&mut made.name);
            } else if let Some(tag) = arg.strip_prefix("--addtag=") {
                made.tags.push(tag.to_owned());
            } else if let Some(size) = arg.strip_prefix("--size=") {
                made.size_bytes = size.strip_suffix('b').unwrap().parse().unwrap();
            } else {
                fixed.push(*arg);
            }
        }
        match args[args.len() - 1].split_once('/') {
            Some((group, origin)) => {
                group.clone_into(&mut made.group);
                origin.clone_into(&mut made.origin);
            }
            None => args[args.len() - 1].clone_into(&mut made.group),
        }
        let origin = self.find(&format!("{}/{}", made.group, made.origin));
        made.content = origin.map_or("what was on the disk".to_owned(), |origin| origin.content.clone());
        (if made.origin.is_empty() || origin.is_some() { Some(made) } else { None }, fixed.join(" "))
    }

    /// What LVM writes first: a plain volume with the tags.
    fn half_make(&mut self, args: &[&str]) {
        let (volume, _) = self.described(args);
        let content = "what was on the disk".to_owned();
        self.add(FakeVolume { origin: String::new(), kind: FakeKind::Linear, content, ..volume.unwrap() });
    }

    fn remove(&mut self, uuid: &str, id: &str) -> Output {
        let Some(volume) = self.find(id) else { return ended(5, "", &format!("  Failed to find logical volume \"{id}\"")) };
        if volume.uuid != uuid {
            return ended(0, "", "");
        }
        if self.mounts.has_device(&format!("/dev/{id}")) {
            return ended(5, "", &format!("  Logical volume {id} contains a filesystem in use."));
        }
        if volume.open {
            return ended(5, "", &format!("  Logical volume {id} in use."));
        }
        self.volumes.retain(|volume| volume.uuid != uuid);
        ended(0, "", "")
    }

    fn copy(&mut self, from: &str, to: &str, skip: &str) -> Output {
        let source = self.find(from).unwrap().clone();
        assert!(source.minor.is_some(), "`{from}` has no device");
        if source.invalid {
            return ended(1, "", &format!("dd: error reading '/dev/{from}': Input/output error"));
        }
        let origin_bytes = self.find(&format!("{}/{}", source.group, source.origin)).unwrap().size_bytes;
        let target = self.find_mut(to);
        assert_eq!(target.size_bytes, origin_bytes);
        // The content is there with the last piece, and only when those before were copied.
        let piece: u64 = skip.strip_prefix("skip=").unwrap().parse().unwrap();
        let done = format!("{piece} blocks");
        assert!(piece == 0 || target.content == done, "`{}` was left out", target.content);
        let next = piece + 1024;
        target.content = if next * (4 << 20) >= origin_bytes { source.content } else { format!("{next} blocks") };
        ended(0, "", "")
    }
}

fn volume(group: &str, name: &str, size_bytes: u64, content: &str) -> FakeVolume {
    let (group, name, content) = (group.to_owned(), name.to_owned(), content.to_owned());
    FakeVolume { group, name, size_bytes, content, ..FakeVolume::default() }
}

pub(crate) fn ended(code: i32, stdout: &str, stderr: &str) -> Output {
    Output { status: ExitStatus::Code(code), stdout: stdout.to_owned(), stderr: stderr.to_owned(), truncated: false }
}
