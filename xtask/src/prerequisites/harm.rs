//! What an installation would take from the machine: packages that it removes, and newer versions that it replaces by older ones.
//!
//! A machine may have a tool from another source, newer than the distribution's. To get one more package is no reason to take it away.

use std::process::Command;

use crate::failure::Failure;
use crate::run::{captured, works};

/// A package that would not stay as it is.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Removed(String),
    Replaced { package: String, from: String, to: String },
}

/// Refuses an installation that would remove something, or put an older version in its place. Changes nothing.
pub(super) fn refuse_harm(apt_get: &mut Command, packages: &[&str]) -> Result<(), Failure> {
    let simulation =
        captured(apt_get.args(["--simulate", "--no-install-recommends", "--allow-downgrades", "install"]).args(packages))?;
    let is_older = |from: &str, to: &str| works(Command::new("dpkg").args(["--compare-versions", to, "lt", from]));
    let harm: Vec<String> = changes(&simulation)
        .into_iter()
        .filter_map(|change| match change {
            Change::Removed(package) => Some(format!("remove {package}")),
            Change::Replaced { package, from, to } => {
                is_older(&from, &to).then(|| format!("put {package} {to} in place of {from}"))
            }
        })
        .collect();
    if harm.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "to install {} would {}: not done\nhint: install it yourself from where the newer packages come from, or say that this is fine by \
         installing it with `apt-get install --no-install-recommends {}`",
        packages.join(", "),
        harm.join(", "),
        packages.join(" ")
    )))
}

/// Reads what `apt-get --simulate` prints: `Remv NAME [OLD]` and `Inst NAME [OLD] (NEW ...)`; a new package has no `[OLD]`.
fn changes(simulation: &str) -> Vec<Change> {
    let change = |line: &str| {
        let mut words = line.split(' ');
        match (words.next()?, words.next()?, words.next()) {
            ("Remv", package, _) => Some(Change::Removed(package.to_owned())),
            ("Inst", package, Some(old)) => {
                let from = old.strip_prefix('[')?.strip_suffix(']')?;
                let to = words.next()?.strip_prefix('(')?;
                Some(Change::Replaced { package: package.to_owned(), from: from.to_owned(), to: to.to_owned() })
            }
            _ => None,
        }
    };
    simulation.lines().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_and_what_is_replaced_is_read_from_a_simulation() {
        let simulation = "NOTE: This is only a simulation!\nReading package lists...\n\
            Remv qemu-utils [1:10.0.2+ds-1~bpo12+1]\n\
            Inst libc6 [2.36-9] (2.36-9+deb12u10 Debian:12.11/stable [amd64])\n\
            Inst seabios (1.16.2-1 Debian:12.11/stable [all])\n\
            Conf seabios (1.16.2-1 Debian:12.11/stable [all])\n";
        let replaced =
            Change::Replaced { package: "libc6".to_owned(), from: "2.36-9".to_owned(), to: "2.36-9+deb12u10".to_owned() };
        assert_eq!(changes(simulation), [Change::Removed("qemu-utils".to_owned()), replaced]);
    }
}
