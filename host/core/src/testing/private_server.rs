//! Programs of PostgreSQL that exist in name only, and a server that replays as a test says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::postgres::{
    ConnectionError, ConnectionFault, Lsn, PrivateServer, QuerySession, ResultSet, ServerError, ServerOrder, ServerPrograms,
    ShutdownMode, ToolEnd, ToolRun,
};

/// What a server comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FakeReplay {
    /// It pauses there.
    Pauses(Lsn),
    /// It pauses behind whatever position it was told, and wherever else at the very end.
    PausesAtItsTarget,
    /// It opens for writing there.
    Promotes(Lsn),
    /// It ends and says this.
    Ends(String),
    /// It never gets anywhere.
    Hangs,
}

/// How a script ends, when a test says so.
pub type FakeEnd = Result<Vec<ResultSet>, String>;

/// Programs of PostgreSQL, and what was done with them.
#[derive(Clone)]
pub struct FakePrograms {
    state: Arc<Mutex<State>>,
}

/// What a test does when a server starts.
type AtStart = Box<dyn FnOnce(&ServerOrder) + Send>;

struct State {
    replay: FakeReplay,
    scripts: BTreeMap<String, FakeEnd>,
    tools: BTreeMap<&'static str, ToolEnd>,
    ran: Vec<ToolRun>,
    orders: Vec<ServerOrder>,
    running: usize,
    stops: Vec<ShutdownMode>,
    abandoned: Vec<(PathBuf, PathBuf)>,
    reported: BTreeMap<String, String>,
    will_not_stop: bool,
    amcheck_in: Vec<String>,
    at_start: Option<AtStart>,
}

impl Default for FakePrograms {
    fn default() -> Self {
        let state = State {
            replay: FakeReplay::PausesAtItsTarget,
            scripts: BTreeMap::new(),
            tools: BTreeMap::from([("pg_amcheck", ToolEnd::Success), ("pg_checksums", ToolEnd::Success)]),
            ran: Vec::new(),
            orders: Vec::new(),
            running: 0,
            stops: Vec::new(),
            abandoned: Vec::new(),
            reported: BTreeMap::new(),
            will_not_stop: false,
            amcheck_in: vec!["app".to_owned()],
            at_start: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

impl FakePrograms {
    /// Lets the next servers replay so.
    pub fn replay(&self, replay: FakeReplay) {
        self.state().replay = replay;
    }

    /// Lets a script end so.
    pub fn answer(&self, script: &str, end: FakeEnd) {
        self.state().scripts.insert(script.to_owned(), end);
    }

    /// Lets a program end so.
    pub fn end_of(&self, tool: &'static str, end: ToolEnd) {
        self.state().tools.insert(tool, end);
    }

    /// Lets the servers say of a setting what is not so.
    pub fn report_setting(&self, name: &str, value: &str) {
        self.state().reported.insert(name.to_owned(), value.to_owned());
    }

    /// No server ends any more.
    pub fn refuse_to_stop(&self) {
        self.state().will_not_stop = true;
    }

    /// Takes the extension out of every database.
    pub fn without_amcheck(&self) {
        self.state().amcheck_in.clear();
    }

    /// Runs this when the next server starts.
    pub fn at_start(&self, act: impl FnOnce(&ServerOrder) + Send + 'static) {
        self.state().at_start = Some(Box::new(act));
    }

    /// Servers that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.state().running
    }

    /// What was started, in order.
    #[must_use]
    pub fn orders(&self) -> Vec<ServerOrder> {
        self.state().orders.clone()
    }

    /// How servers were stopped, in order.
    #[must_use]
    pub fn stops(&self) -> Vec<ShutdownMode> {
        self.state().stops.clone()
    }

    /// The programs that were run, in order.
    #[must_use]
    pub fn ran(&self) -> Vec<ToolRun> {
        self.state().ran.clone()
    }

    /// Data directories, with their sockets, on which an abandoned server was looked for.
    #[must_use]
    pub fn abandoned(&self) -> Vec<(PathBuf, PathBuf)> {
        self.state().abandoned.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ServerPrograms for FakePrograms {
    async fn find(&self, major: u32) -> Result<PathBuf, ServerError> {
        Ok(PathBuf::from(format!("/programs/{major}")))
    }

    async fn start(&self, order: &ServerOrder) -> Result<Box<dyn PrivateServer>, ServerError> {
        let act = self.state().at_start.take();
        if let Some(act) = act {
            act(order);
        }
        let mut state = self.state();
        state.orders.push(order.clone());
        state.running += 1;
        Ok(Box::new(FakePrivateServer { programs: self.clone(), order: order.clone(), is_running: true }))
    }

    async fn run(&self, tool: &ToolRun) -> Result<ToolEnd, ServerError> {
        let mut state = self.state();
        state.ran.push(tool.clone());
        Ok(state.tools.get(tool.name).cloned().unwrap_or(ToolEnd::Missing))
    }

    async fn stop_abandoned(&self, data_directory: &Path, socket_directory: &Path) -> Result<Option<u32>, ServerError> {
        self.state().abandoned.push((data_directory.to_owned(), socket_directory.to_owned()));
        Ok(None)
    }
}

struct FakePrivateServer {
    programs: FakePrograms,
    order: ServerOrder,
    is_running: bool,
}

#[async_trait]
impl PrivateServer for FakePrivateServer {
    async fn ended(&mut self) -> Option<String> {
        match &self.programs.state().replay {
            FakeReplay::Ends(words) => Some(words.clone()),
            _ => None,
        }
    }

    async fn connect(&self, database: &str) -> Result<Box<dyn QuerySession>, ConnectionError> {
        if self.programs.state().replay == FakeReplay::Hangs {
            return Err(failed("connect", "the database system is starting up"));
        }
        Ok(Box::new(FakeQuerySession { programs: self.programs.clone(), order: self.order.clone(), database: database.to_owned() }))
    }

    async fn stop(&mut self, mode: ShutdownMode) -> Result<(), ServerError> {
        let mut state = self.programs.state();
        state.stops.push(mode);
        if state.will_not_stop {
            return Err(ServerError::WillNotStop { pid: 42, data_directory: self.order.data_directory.clone() });
        }
        if std::mem::take(&mut self.is_running) {
            state.running -= 1;
        }
        Ok(())
    }
}

struct FakeQuerySession {
    programs: FakePrograms,
    order: ServerOrder,
    database: String,
}

#[async_trait]
impl QuerySession for FakeQuerySession {
    async fn query(&mut self, statements: &str) -> Result<Vec<ResultSet>, ConnectionError> {
        let state = self.programs.state();
        let one = |values: &[&str]| vec![vec![values.iter().map(|value| Some((*value).to_owned())).collect()]];
        if let Some(end) = state.scripts.get(statements) {
            return end.clone().map_err(|words| failed("ask", &words));
        }
        Ok(if statements.contains("pg_last_wal_replay_lsn") {
            match &state.replay {
                FakeReplay::Pauses(reached) => one(&["t", &reached.to_string(), "t"]),
                FakeReplay::PausesAtItsTarget => one(&["t", &told(&self.order).to_string(), "t"]),
                FakeReplay::Promotes(reached) => one(&["f", &reached.to_string(), "f"]),
                FakeReplay::Ends(_) | FakeReplay::Hangs => one(&["t", "0/1", "f"]),
            }
        } else if statements.contains("pg_settings") {
            let value = |name: &str, value: &str| state.reported.get(name).cloned().unwrap_or_else(|| value.to_owned());
            let row = |(name, set): &(String, String)| vec![Some(name.clone()), Some(value(name, set))];
            vec![self.order.settings.iter().map(row).collect()]
        } else if statements.contains("data_checksums") {
            one(&["on"])
        } else if statements.contains("pg_database") {
            one(&["app"])
        } else if statements.contains("pg_extension") {
            vec![if state.amcheck_in.contains(&self.database) { vec![vec![Some("1".to_owned())]] } else { Vec::new() }]
        } else {
            Vec::new()
        })
    }
}

/// Behind the position that the copy's own settings tell.
fn told(order: &ServerOrder) -> Lsn {
    let settings = std::fs::read_to_string(order.data_directory.join("postgresql.auto.conf")).unwrap_or_default();
    let target = settings.lines().find_map(|line| line.strip_prefix("recovery_target_lsn = '")?.strip_suffix('\''));
    target.and_then(|text| text.parse::<Lsn>().ok()).map_or(Lsn(u64::MAX), |target| Lsn(target.0 + 0x30))
}

fn failed(operation: &'static str, words: &str) -> ConnectionError {
    let fault = ConnectionFault::Server { code: "XX000".to_owned(), message: words.to_owned(), hint: None };
    ConnectionError { server: "fake".to_owned(), operation, fault }
}
