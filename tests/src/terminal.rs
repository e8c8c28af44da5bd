//! The binary on a terminal of its own, and what a person sees there.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::children::{bound_command, spawn};
use crate::{Account, Stillframe};

/// Longest silence of a program that a test waits for.
const SILENCE: Duration = Duration::from_mins(1);

/// Ends every test that waits for the wrong thing on a screen that never stands still.
const DEADLINE: Duration = Duration::from_mins(2);

/// A program at work on a terminal; dropped, it is killed.
#[derive(Debug)]
pub struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    output: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
    columns: usize,
}

impl Terminal {
    /// Runs the binary on a terminal of so many columns. The variables are shell: `NO_COLOR=1 TERM=dumb`.
    #[track_caller]
    pub fn run(stillframe: &Stillframe, arguments: &str, columns: usize, variables: &str) -> Self {
        let line = format!("stty cols {columns} && {variables} exec {}", stillframe.command_line(arguments));
        let mut command = bound_command("script", "KILL");
        // It takes its size and its input from nobody; Ctrl-C still reaches whoever is in front.
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]).env("TERM", "xterm-256color");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir("/");
        // As the server's user, whose connection needs no password.
        Account::unprivileged().run_as(&mut command).env("SHELL", "/bin/sh").env_remove("NO_COLOR");
        let mut script = spawn(command);
        let keyboard = script.stdin.take().expect("it is piped");
        let mut stdout = script.stdout.take().expect("it is piped");
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length) = stdout.read(&mut buffer)
                && length > 0
                && sender.send(buffer[..length].to_vec()).is_ok()
            {}
        });
        Self { script, keyboard, output, bytes: Vec::new(), columns }
    }

    /// Waits until the program has written this, escapes and all.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> &mut Self {
        let begun = Instant::now();
        while !self.raw().contains(text) {
            assert!(begun.elapsed() < DEADLINE, "`{text}` did not appear:\n{}", self.raw());
            let more = self.output.recv_timeout(SILENCE);
            self.bytes.extend(more.unwrap_or_else(|error| panic!("`{text}` did not appear ({error}):\n{}", self.raw())));
        }
        self
    }

    /// Presses Ctrl-C.
    #[track_caller]
    pub fn interrupt(&mut self) {
        self.keyboard.write_all(b"\x03").and_then(|()| self.keyboard.flush()).expect("script reads what is typed");
    }

    /// Waits for the end; gives what is on the screen then, and everything that was written.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, Vec<String>, String) {
        while let Ok(bytes) = self.output.recv_timeout(SILENCE) {
            self.bytes.extend(bytes);
        }
        let status = self.script.wait().expect("it is our child");
        (status, screen(&self.raw(), self.columns), self.raw())
    }

    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ended_already = self.script.kill();
        let _status = self.script.wait();
    }
}

/// What a terminal shows after this was written to it: the rows without blanks at their ends, and the one with the cursor last.
fn screen(written: &str, columns: usize) -> Vec<String> {
    let (mut rows, mut column) = (vec![Vec::new()], 0_usize);
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        match character {
            '\r' => column = 0,
            '\n' => rows.push(Vec::new()),
            '\u{1b}' => {
                let escape: String = characters.by_ref().take_while(|character| !character.is_ascii_alphabetic()).collect();
                // The letter is gone: colours have numbers, and the only other one is what clears to the end of the line.
                if escape == "[" {
                    rows.last_mut().expect("there is one").truncate(column);
                }
            }
            character => {
                if column == columns {
                    column = 0;
                    rows.push(Vec::new());
                }
                let row = rows.last_mut().expect("there is one");
                row.resize(row.len().max(column + 1), ' ');
                row[column] = character;
                column += 1;
            }
        }
    }
    rows.into_iter().map(|row| row.into_iter().collect::<String>().trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::screen;

    #[test]
    fn a_screen_shows_what_a_terminal_does() {
        assert_eq!(screen("one\r\ntwo\r\x1b[Kthree\r\n", 80), ["one", "three", ""]);
        assert_eq!(screen("\x1b[32mINFO\x1b[0m x", 80), ["INFO x"]);
        // A line that has wrapped is wiped in its last row only.
        assert_eq!(screen("abcdef\r\x1b[Kg", 4), ["abcd", "g"]);
        assert_eq!(screen("abcd\r\x1b[Ke", 4), ["e"]);
    }
}
