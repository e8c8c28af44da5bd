//! Whether the holder of a lease still runs, where that can be known: on the same machine, among the same processes.
//!
//! Elsewhere a process number says nothing. A dead holder need not be waited for: nothing that it could still do is not done yet.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Names the processes among which a process number means one process: those of one boot, in one name space.
#[must_use]
pub fn process_space() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let name_space = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), name_space.display()))
}

/// Whether there is certainly no such process among ours; one that has ended and was not waited for is none.
pub(in crate::catalog) fn is_gone(process_id: u32) -> bool {
    let Some(pid) = i32::try_from(process_id).ok().and_then(Pid::from_raw) else { return false };
    match test_kill_process(pid) {
        Err(Errno::SRCH) => true,
        Err(_) => false,
        Ok(()) => has_ended(process_id),
    }
}

/// Whether a process of this number runs the same program as this one: another that got the number later hardly does.
pub(in crate::catalog) fn is_one_of_us(process_id: u32) -> bool {
    let program = |process: &str| std::fs::read(format!("/proc/{process}/comm")).ok();
    !is_gone(process_id) && program("self").is_some_and(|own| program(&process_id.to_string()) == Some(own))
}

/// Its state follows its name, which stands in parentheses and may itself hold any character.
fn has_ended(process_id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::{is_gone, is_one_of_us, process_space};

    #[test]
    fn a_process_that_runs_is_not_gone_and_one_that_has_ended_is() {
        assert!(!is_gone(std::process::id()));
        assert!(!is_gone(1), "a process of somebody else");
        assert!(is_one_of_us(std::process::id()) && !is_one_of_us(1));
        let mut child = std::process::Command::new("true").stdout(std::process::Stdio::piped()).spawn().unwrap();
        let id = child.id();
        // Its end closes the pipe; it is not waited for yet.
        std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut Vec::new()).unwrap();
        while !is_gone(id) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(is_gone(id));
        assert!(process_space().is_some());
    }
}
