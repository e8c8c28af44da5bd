//! Follows a page block by block, as somebody would who trusts it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use toml::{Table, Value};

use super::Shell;
use super::page::{Block, Page};
use super::transcript::{Bindings, Step, steps};

/// The configuration that pages speak of.
pub(super) const CONFIG: &str = "/etc/stillframe/stillframe.toml";
/// How long a block that says `until` is repeated.
const UNTIL: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What was done with a page.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Commands that were typed.
    pub commands: usize,
    /// Of these, how many printed exactly what the page shows.
    pub compared: usize,
    /// Blocks of other languages that were written, parsed or executed.
    pub others: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commands, compared, others } = self;
        write!(formatter, "{commands} commands typed, {compared} outputs compared, {others} other blocks")
    }
}

/// Somebody with a shell for each prompt.
#[derive(Debug)]
pub struct Reader {
    shells: BTreeMap<char, Shell>,
    scratch: PathBuf,
    bindings: Bindings,
    report: Report,
}

impl Reader {
    /// With the shells of the prompts `$` and `#`, and a directory for what is only looked at.
    pub fn new(shells: BTreeMap<char, Shell>, scratch: &Path) -> Self {
        Self { shells, scratch: scratch.to_owned(), bindings: Bindings::default(), report: Report::default() }
    }

    /// Forgets what examples stood for, and what was counted: another page has its own.
    pub fn turn_the_page(&mut self) {
        self.bindings = Bindings::default();
        self.report = Report::default();
    }

    /// Follows a page to its end.
    pub fn follow(&mut self, page: &Page) -> Result<Report, String> {
        self.follow_blocks(page, &page.blocks)
    }

    /// Follows a page up to the place where other pages begin.
    pub fn follow_until(&mut self, page: &Page, beginning: &str) -> Result<Report, String> {
        let end = page.beginnings.get(beginning).ok_or_else(|| format!("{}: nothing begins as `{beginning}`", page.name))?;
        self.follow_blocks(page, &page.blocks[..*end])
    }

    fn follow_blocks(&mut self, page: &Page, blocks: &[Block]) -> Result<Report, String> {
        for block in blocks.iter().filter(|block| block.not_run.is_none()) {
            self.block(block).map_err(|error| format!("docs/{}:{}: {error}", page.name, block.line))?;
        }
        Ok(self.report.clone())
    }

    fn block(&mut self, block: &Block) -> Result<(), String> {
        if block.language == "console" {
            let steps = steps(&block.text);
            let last = steps.len();
            return steps.iter().enumerate().try_for_each(|(index, step)| {
                let word = |key: &str| (index + 1 == last).then(|| block.words.get(key)).flatten();
                let code = word("exit").map_or(Ok(0), |code| code.parse().map_err(|_| format!("`{code}` is no exit code")))?;
                self.step(step, code, word("until").is_some())
            });
        }
        self.report.others += 1;
        let text = self.bindings.apply(&block.text);
        if let Some(source) = block.words.get("source") {
            return is_part_of(source, &block.text);
        }
        if let Some(file) = block.words.get("file") {
            write(Path::new(file), &text)?;
            return if file == CONFIG { self.show_config(Path::new(CONFIG)) } else { Ok(()) };
        }
        match block.language.as_str() {
            "toml" => self.toml(&text, &block.words),
            "sql" => self.sql(&text),
            "json" => serde_json::from_str::<serde_json::Value>(&text).map(drop).map_err(|error| error.to_string()),
            "ini" if block.words.contains_key("unit") => self.unit(&text),
            "ini" => self.settings(&text),
            "text" if block.words.contains_key("sudoers") => self.sudoers(&text),
            _ => Ok(()),
        }
    }

    fn step(&mut self, step: &Step, code: i32, until: bool) -> Result<(), String> {
        let command = self.bindings.apply(&step.command);
        let shell = self.shells.get_mut(&step.prompt).ok_or_else(|| format!("nobody has the prompt `{}`", step.prompt))?;
        let deadline = Instant::now() + UNTIL;
        loop {
            let (ended, printed) = shell.run(&command)?;
            println!("{} {command}\n{printed}", step.prompt);
            let lines: Vec<String> = printed.lines().map(str::to_owned).collect();
            let fits = step.shown.is_empty() || self.bindings.compare(&step.shown, &lines);
            if ended == code && fits {
                break;
            }
            if !until || Instant::now() > deadline {
                let shown = self.bindings.apply(&step.shown.join("\n"));
                return Err(format!(
                    "`{command}` ended with {ended}, not {code}, or printed other than is shown:\n{printed}\nshown was:\n{shown}"
                ));
            }
            thread::sleep(POLL_INTERVAL);
        }
        self.report.commands += 1;
        self.report.compared += usize::from(!step.shown.is_empty());
        Ok(())
    }

    /// A part of the configuration, put into that of the machine: for good, or only to be looked at.
    fn toml(&mut self, text: &str, words: &BTreeMap<String, String>) -> Result<(), String> {
        let part: Table = text.parse().map_err(|error| format!("{error}"))?;
        let mut whole: Table =
            fs::read_to_string(CONFIG).unwrap_or_default().parse().map_err(|error| format!("{CONFIG}: {error}"))?;
        let providers: Vec<String> =
            part.get("provider").and_then(Value::as_table).map(|all| all.keys().cloned().collect()).unwrap_or_default();
        if words.contains_key("instead") {
            whole.extend(part);
        } else {
            merge(&mut whole, part);
        }
        let path = if words.contains_key("add") { PathBuf::from(CONFIG) } else { self.scratch.join("part.toml") };
        write(&path, &whole.to_string())?;
        self.show_config(&path)?;
        providers.iter().try_for_each(|name| self.inspect(&path, name, &whole))
    }

    fn show_config(&mut self, path: &Path) -> Result<(), String> {
        self.succeed('$', &format!("stillframe --config '{}' config show", path.display()))
    }

    /// A component of somebody else lies on no machine of ours; its section has been parsed.
    fn inspect(&mut self, path: &Path, name: &str, config: &Table) -> Result<(), String> {
        let component = config["provider"].get(name).and_then(|section| section.get("component")?.as_str());
        if component.is_some_and(|component| !Path::new(component).exists()) {
            return Ok(());
        }
        self.succeed('$', &format!("stillframe --config '{}' provider inspect {name}", path.display()))
    }

    fn sql(&mut self, text: &str) -> Result<(), String> {
        let file = self.scratch.join("block.sql");
        write(&file, text)?;
        self.succeed('$', &format!("psql -X -q -v ON_ERROR_STOP=1 -f '{}'", file.display()))
    }

    /// Settings of a server: one that the server does not know is an error.
    fn settings(&mut self, text: &str) -> Result<(), String> {
        let pairs = text.lines().filter_map(|line| line.split('#').next()?.split_once('='));
        for (name, value) in pairs.map(|(name, value)| (name.trim(), value.trim())) {
            let bare = value.trim_matches('\'').replace('\'', "'\\''");
            let postgres = "$(ls -d /usr/lib/postgresql/*/bin | tail -1)/postgres -D \"$(psql -XAtc 'SHOW data_directory')\"";
            let config = "-c config_file=\"$(psql -XAtc 'SHOW config_file')\"";
            self.succeed('$', &format!("{postgres} {config} -c {name}='{bare}' -C {name}"))?;
        }
        Ok(())
    }

    /// Starts a service as systemd would: its directory below `/run`, its user, its command; waits for the socket that ends the command.
    fn unit(&mut self, text: &str) -> Result<(), String> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let of = |key: &str| value(key).ok_or_else(|| format!("the unit has no `{key}`"));
        let (user, directory, command) = (of("User")?, of("RuntimeDirectory")?, of("ExecStart")?);
        let mode = of("RuntimeDirectoryMode")?;
        self.succeed('#', &format!("install --directory --owner {user} --mode {mode} /run/{directory}"))?;
        let socket = command.split(' ').next_back().unwrap_or_default();
        let wait = format!("for turn in $(seq 600); do [ -S {socket} ] && break; sleep 0.1; done; [ -S {socket} ]");
        self.succeed('$', &format!("{command} & {wait}"))
    }

    fn sudoers(&mut self, text: &str) -> Result<(), String> {
        let file = self.scratch.join("sudoers");
        write(&file, text)?;
        self.succeed('#', &format!("visudo --check --strict --file '{}'", file.display()))
    }

    fn succeed(&mut self, prompt: char, command: &str) -> Result<(), String> {
        let shell = self.shells.get_mut(&prompt).ok_or_else(|| format!("nobody has the prompt `{prompt}`"))?;
        let (code, printed) = shell.run(command)?;
        if code == 0 { Ok(()) } else { Err(format!("`{command}` ended with {code}:\n{printed}")) }
    }
}

fn merge(whole: &mut Table, part: Table) {
    for (key, value) in part {
        match (whole.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                whole.insert(key, value);
            }
        }
    }
}

/// Whether a file of the repository has these very lines.
fn is_part_of(source: &str, text: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(source);
    let whole = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    // A block may leave something out, with a line that says so.
    let parts = text.split("// …\n").map(str::trim).filter(|part| !part.is_empty());
    let missing = parts.into_iter().find(|part| !whole.contains(part));
    missing.map_or(Ok(()), |part| Err(format!("`{source}` has not got these lines:\n{part}")))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let directory = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(path, text));
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    crate::set_mode(path, if text.contains("SECRET") { 0o600 } else { 0o644 });
    Ok(())
}

/// Makes sure that each prompt is whose it says.
pub(super) fn check_shells(reader: &mut Reader) {
    for (prompt, user) in [('$', "postgres"), ('#', "root")] {
        let shell = reader.shells.get_mut(&prompt).expect("both prompts have a shell");
        let (code, printed) = shell.run("id --user --name").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((code, printed.trim()), (0, user), "the prompt `{prompt}` is of {user}");
    }
}
