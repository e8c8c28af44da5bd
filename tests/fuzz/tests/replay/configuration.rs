//! Configuration files, given to the program itself: it is a program and no library, and so nothing else can read one.

use std::fs;

use stillframe_tests::{Account, ScratchDirectory, Stillframe};

use super::corpus::directory;
use super::mutation::Mutations;

/// Changes of each file: each of them starts a process.
const CHANGES: usize = 100;

/// What the program ends with: the configuration is right, or it is wrong.
const CODES: [Option<i32>; 2] = [Some(0), Some(3)];

#[test]
fn no_configuration_makes_the_program_panic_or_mislead_a_terminal() {
    let scratch = ScratchDirectory::create();
    let path = scratch.join("stillframe.toml");
    let show = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        Stillframe::new(path.clone()).run(["config", "show"])
    };
    Account::unprivileged().write(&path, "");
    for entry in fs::read_dir(directory("configurations")).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        let unchanged = show(&text);
        assert!(unchanged.is_success(), "{unchanged}");
        let all = [text.as_slice()];
        let mut mutations = Mutations::new(text.len(), &all);
        for _ in 0..CHANGES {
            let changed = mutations.of(&text);
            let finished = show(&changed);
            let lines = || finished.stdout.chars().chain(finished.stderr.chars());
            let is_harmless = !lines().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\t'));
            let is_told = CODES.contains(&finished.code()) && !finished.stderr.contains("panicked");
            assert!(is_harmless && is_told, "{finished}\nwith\n{}", String::from_utf8_lossy(&changed));
        }
    }
}
