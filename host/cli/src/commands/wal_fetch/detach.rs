//! Leaves a process of this very program behind, which fetches the next segments while the server replays.
//!
//! PostgreSQL waits for `restore_command` to end, so whatever goes on after it must be another process. It is this program and
//! nothing else, with arguments that were checked, and without a shell.

use std::path::Path;
use std::process::{Command, Stdio};

use stillframe_core::flows::PrefetchRequest;

use super::prefetch::lock_file;

/// The first descriptor behind standard input, output and error.
const FIRST: i32 = 3;

/// Starts it and forgets it. What goes wrong costs speed, and nothing else.
pub(super) fn start(config: &Path, request: &PrefetchRequest) {
    if inherits_orphans(&request.destination) {
        return tracing::debug!("nothing is prefetched: the server is process 1, and would restart if the prefetcher were killed");
    }
    // We have what the server had open, files of its data directory among it. Whoever outlives the server must not keep it from being
    // unmounted. Ours may be marked with them: we start nothing after this.
    close_fds::set_fds_cloexec_threadsafe(FIRST, &[]);
    let started = std::env::current_exe().and_then(|program| {
        let destination = std::path::absolute(&request.destination)?;
        Command::new(program)
            .arg("--config")
            .arg(config)
            .arg("wal-prefetch")
            .arg(request.served.to_string())
            .arg(u32::from(request.segment_size).to_string())
            .arg(destination)
            // A working directory in the data directory would keep its file system from being unmounted.
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    });
    if let Err(error) = started {
        tracing::debug!(%error, "nothing is prefetched");
    }
}

/// Whether the server is process 1, as in a container without an init. Then what we leave behind becomes its child, and a child of
/// it that is killed, say for want of memory, counts as a crash: it would end every session and recover anew.
fn inherits_orphans(destination: &Path) -> bool {
    let lock_file = lock_file(destination).and_then(|path| std::fs::read_to_string(path).ok());
    lock_file.is_some_and(|text| text.lines().next().is_some_and(|process_id| process_id.trim() == "1"))
}
