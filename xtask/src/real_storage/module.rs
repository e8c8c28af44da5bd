//! The kernel module of OpenZFS, compiled from the distribution's source for the distribution's kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::run::{captured, line};

/// The modules of ZFS, by their directories in the source.
const MODULES: [&str; 9] = [
    "spl/spl.ko",
    "icp/icp.ko",
    "avl/zavl.ko",
    "nvpair/znvpair.ko",
    "zcommon/zcommon.ko",
    "lua/zlua.ko",
    "zstd/zzstd.ko",
    "unicode/zunicode.ko",
    "zfs/zfs.ko",
];

/// Compiles the source below a directory for the kernel of this name, and puts the modules into another; their debugging symbols
/// are a hundred times as large as they.
pub(super) fn compile(unpacked: &Path, kernel: &str, into: &Path) -> Result<(), Failure> {
    let source = source(unpacked)?;
    let headers = Path::new("/usr/src").join(format!("linux-headers-{kernel}"));
    let common = headers.with_file_name(format!("linux-headers-{}", kernel.replace("-amd64", "-common")));
    quietly(
        Command::new("./configure")
            .args(["--prefix=/usr", "--with-config=kernel"])
            .arg(format!("--with-linux={}", common.display()))
            .arg(format!("--with-linux-obj={}", headers.display()))
            .current_dir(&source),
    )?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    quietly(Command::new("make").arg(format!("-j{jobs}")).current_dir(&source))?;
    fs::create_dir_all(into).map_err(Failure::io(format!("create `{}`", into.display())))?;
    for module in MODULES {
        captured(
            Command::new("strip")
                .args(["--strip-debug", "-o"])
                .arg(into.join(file_name(module)))
                .arg(source.join("module").join(module)),
        )?;
    }
    Ok(())
}

fn source(unpacked: &Path) -> Result<PathBuf, Failure> {
    let parent = unpacked.join("usr/src");
    let mut entries = fs::read_dir(&parent).map_err(Failure::io(format!("list `{}`", parent.display())))?;
    let found = entries.find_map(|entry| Some(entry.ok()?.path()).filter(|path| path.join("configure").is_file()));
    found.ok_or_else(|| Failure::new(format!("there is no source in `{}`", parent.display())))
}

fn file_name(module: &str) -> &str {
    module.rsplit('/').next().unwrap_or(module)
}

/// Thousands of lines that nobody wants to read, but for the last of a failure.
fn quietly(command: &mut Command) -> Result<(), Failure> {
    let name = line(command);
    captured(command).map(drop).map_err(|failure| {
        let text = failure.to_string();
        let last: Vec<&str> = text.lines().rev().take(20).collect();
        Failure::new(format!("`{name}`:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n")))
    })
}
