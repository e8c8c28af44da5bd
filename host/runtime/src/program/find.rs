//! Which file a program is, and whether it can be trusted.
//!
//! What is run may be run as root. So nobody but root and the user of this process may be able to put another file in its place:
//! not in the file itself, not in a directory on the way to it, and not through a symbolic link, of which there are many (`lvcreate`
//! is one to `lvm`). The path is run as the policy has it, since such programs look at the name that they were called by.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// Symbolic links that are followed, as many as the kernel does.
const MAX_LINKS: usize = 40;

/// Why a program is not run.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// None of the paths is there.
    #[error("there is no {0}")]
    NotInstalled(String),
    /// It is something else.
    #[error("`{0}` is no executable file")]
    NoProgram(PathBuf),
    /// Somebody could exchange it.
    #[error(
        "`{path}` could be replaced by others: `{place}` can be written by others than root and this user; take the right away with \
         `chown` and `chmod go-w`"
    )]
    Unsafe {
        /// The program.
        path: PathBuf,
        /// Where they could write.
        place: PathBuf,
    },
    /// It cannot be looked at.
    #[error("`{path}` cannot be looked at: {cause}")]
    Unreadable {
        /// The program.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// The first of these paths that exists, if it can be trusted. One that cannot hides the others: which program runs must not depend
/// on who has tampered with the first.
pub(crate) fn installed(paths: &[PathBuf]) -> Result<&Path, Refusal> {
    for path in paths {
        match path.symlink_metadata().and_then(|_| path.metadata()) {
            Ok(_) => {
                let unreadable = |cause| Refusal::Unreadable { path: path.clone(), cause };
                return trusted(path).map_err(unreadable)?.map(|()| path.as_path());
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(cause) => return Err(Refusal::Unreadable { path: path.clone(), cause }),
        }
    }
    let names: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    Err(Refusal::NotInstalled(names.join(" and no ")))
}

/// Goes the way from the root part by part, through every symbolic link, and looks at each place where something could be exchanged:
/// also at those that hold a link to a directory, which are no part of the path that remains.
fn trusted(path: &Path) -> io::Result<Result<(), Refusal>> {
    let us = rustix::process::geteuid().as_raw();
    let unsafe_by = |place: &Path| Ok(Err(Refusal::Unsafe { path: path.to_owned(), place: place.to_owned() }));
    let no_program = || Ok(Err(Refusal::NoProgram(path.to_owned())));
    let mut here = PathBuf::from("/");
    let mut ahead = parts(path);
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        let directory = here.symlink_metadata()?;
        // Where everybody may write, but remove only what is his own, what is found on the way is as safe as its owner. Beside the
        // program, or a link to it, others could still add a library.
        let is_shared = !ahead.is_empty() && directory.mode() & 0o1000 != 0;
        if !is_owned(&directory, us) || (is_writable(&directory) && !is_shared) {
            return unsafe_by(&here);
        }
        let place = here.join(part);
        let found = place.symlink_metadata()?;
        if !is_owned(&found, us) {
            return unsafe_by(&place);
        }
        if found.is_symlink() {
            links += 1;
            let target = place.read_link()?;
            if links > MAX_LINKS {
                return no_program();
            }
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            ahead.extend(parts(&target));
        } else if found.is_dir() {
            here = place;
        } else if !ahead.is_empty() || !found.is_file() || found.mode() & 0o111 == 0 {
            return no_program();
        } else {
            return if is_writable(&found) { unsafe_by(&place) } else { Ok(Ok(())) };
        }
    }
    no_program()
}

/// What has to be gone through, the first part last.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| part.as_os_str().to_owned()).rev().collect()
}

fn is_owned(found: &Metadata, us: u32) -> bool {
    found.uid() == 0 || found.uid() == us
}

/// By the group or by all; an access control list shows itself in the group's bits.
fn is_writable(found: &Metadata) -> bool {
    found.mode() & 0o022 != 0
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    use super::{Refusal, installed};

    fn put(path: &Path, mode: u32) -> PathBuf {
        fs::write(path, "").unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        path.to_owned()
    }

    fn refusal(path: PathBuf) -> Option<Refusal> {
        installed(&[path]).err()
    }

    #[test]
    fn takes_the_first_path_that_exists() {
        let place = tempfile::tempdir().unwrap();
        let (first, second) = (put(&place.path().join("first"), 0o755), put(&place.path().join("second"), 0o755));
        let missing = place.path().join("missing");
        assert_eq!(installed(&[missing.clone(), first.clone(), second]).unwrap(), first);
        let below_a_file = first.join("x");
        let refusal = installed(&[missing.clone(), below_a_file]).unwrap_err();
        assert!(matches!(&refusal, Refusal::NotInstalled(_)) && refusal.to_string().contains("missing` and no `"), "{refusal}");
    }

    #[test]
    fn refuses_what_others_could_replace() {
        let place = tempfile::tempdir().unwrap();
        for mode in [0o757, 0o775, 0o777] {
            let program = put(&place.path().join(format!("{mode:o}")), mode);
            assert!(matches!(refusal(program), Some(Refusal::Unsafe { .. })), "{mode:o}");
            let directory = place.path().join(format!("{mode:o}.d"));
            fs::create_dir(&directory).unwrap();
            fs::create_dir(directory.join("inner")).unwrap();
            let (here, inner) = (put(&directory.join("program"), 0o755), put(&directory.join("inner/program"), 0o755));
            fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(refusal(here.clone()), Some(Refusal::Unsafe { .. })), "{mode:o}");
            assert!(matches!(refusal(inner.clone()), Some(Refusal::Unsafe { .. })), "{mode:o}");
            fs::set_permissions(&directory, Permissions::from_mode(0o1000 | mode)).unwrap();
            assert!(matches!(refusal(here), Some(Refusal::Unsafe { .. })), "others could add a library beside it");
            assert!(refusal(inner).is_none(), "in a shared directory nobody can replace what is another's");
        }
    }

    #[test]
    fn refuses_a_link_through_a_place_that_others_can_write() {
        let place = tempfile::tempdir().unwrap();
        let open = place.path().join("open");
        fs::create_dir(&open).unwrap();
        let program = put(&place.path().join("program"), 0o755);
        symlink(&program, open.join("second")).unwrap();
        symlink(open.join("second"), place.path().join("first")).unwrap();
        assert!(refusal(place.path().join("first")).is_none());
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let refusal = refusal(place.path().join("first")).unwrap();
        assert!(matches!(&refusal, Refusal::Unsafe { place, .. } if place.ends_with("open")), "{refusal}");
    }

    #[test]
    fn refuses_a_directory_that_others_could_exchange_for_another() {
        let place = tempfile::tempdir().unwrap();
        let (open, safe) = (place.path().join("open"), place.path().join("safe"));
        fs::create_dir(&open).unwrap();
        fs::create_dir(&safe).unwrap();
        put(&safe.join("program"), 0o755);
        symlink("../safe", open.join("bin")).unwrap();
        symlink(open.join("bin/../open/bin"), safe.join("link")).unwrap();
        let ways = [open.join("bin/program"), safe.join("link/program"), open.join("bin/../safe/program")];
        for way in &ways {
            assert!(refusal(way.clone()).is_none(), "{}", way.display());
        }
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        for way in &ways {
            let refusal = refusal(way.clone()).unwrap();
            assert!(matches!(&refusal, Refusal::Unsafe { place, .. } if place.ends_with("open")), "{refusal}");
        }
        // There, nobody can remove or rename a link that is ours.
        fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
        assert!(refusal(ways[0].clone()).is_none());
        assert!(refusal(safe.join("program")).is_none());
        if std::os::unix::fs::lchown(open.join("bin"), Some(65_534), None).is_ok() {
            assert!(matches!(refusal(ways[0].clone()), Some(Refusal::Unsafe { .. })), "it is another's link");
        }
    }

    #[test]
    fn refuses_what_is_no_program() {
        let place = tempfile::tempdir().unwrap();
        symlink("loop", place.path().join("loop")).unwrap();
        symlink("nowhere", place.path().join("dangling")).unwrap();
        fs::create_dir(place.path().join("directory")).unwrap();
        assert!(matches!(refusal(place.path().join("directory")), Some(Refusal::NoProgram(_))));
        assert!(matches!(refusal(put(&place.path().join("plain"), 0o644)), Some(Refusal::NoProgram(_))));
        assert!(matches!(refusal("/dev/null".into()), Some(Refusal::Unsafe { .. } | Refusal::NoProgram(_))));
        assert!(matches!(refusal(place.path().join("dangling")), Some(Refusal::NotInstalled(_))));
        assert!(matches!(refusal(place.path().join("loop")), Some(Refusal::Unreadable { .. })));
        assert!(matches!(refusal("/".into()), Some(Refusal::NoProgram(_))));
    }
}
