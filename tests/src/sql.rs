//! Statements from a test, answered as text; works inside and outside of an asynchronous test.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use tokio_postgres::{NoTls, SimpleQueryMessage};

/// One row; a NULL is `None`.
pub type Row = Vec<Option<String>>;

type Order = (String, Sender<Result<Vec<Row>, String>>);

/// One session that stays open, for what one statement cannot do: a transaction, a lock, backup mode.
#[derive(Debug)]
pub struct Session {
    orders: Option<Sender<Order>>,
    worker: Option<JoinHandle<()>>,
}

impl Session {
    /// Opens a session.
    pub fn open(conninfo: &str) -> Result<Self, String> {
        let (orders, inbox) = mpsc::channel();
        let (ready, opened) = mpsc::channel();
        let conninfo = conninfo.to_owned();
        // Its own thread with its own runtime: a test may itself run on a runtime, and must not block that one.
        let worker = std::thread::spawn(move || serve(&conninfo, &ready, &inbox));
        opened.recv().map_err(|_| "the session's thread died".to_owned())??;
        Ok(Self { orders: Some(orders), worker: Some(worker) })
    }

    /// Runs statements and returns the rows of all of them.
    pub fn try_sql(&self, statements: &str) -> Result<Vec<Row>, String> {
        let (answer, answered) = mpsc::channel();
        let orders = self.orders.as_ref().ok_or("the session is closed")?;
        orders.send((statements.to_owned(), answer)).map_err(|_| "the session is closed".to_owned())?;
        answered.recv().map_err(|_| "the session's thread died".to_owned())?
    }

    /// Runs statements that must succeed.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> Vec<Row> {
        self.try_sql(statements).unwrap_or_else(|error| panic!("`{statements}` failed: {error}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(worker) = self.worker.take() {
            let _panicked = worker.join();
        }
    }
}

fn serve(conninfo: &str, ready: &Sender<Result<(), String>>, inbox: &Receiver<Order>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    let opened = runtime.block_on(tokio_postgres::connect(conninfo, NoTls));
    let (client, connection) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let _nobody_waits = ready.send(Err(explain(&error)));
            return;
        }
    };
    runtime.spawn(connection);
    let _nobody_waits = ready.send(Ok(()));
    for (statements, answer) in inbox {
        let result = runtime.block_on(client.simple_query(&statements));
        let _nobody_waits = answer.send(result.map(rows).map_err(|error| explain(&error)));
    }
}

fn rows(messages: Vec<SimpleQueryMessage>) -> Vec<Row> {
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()),
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

fn explain(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            format!("{error}: {cause}")
        },
        |refusal| format!("{}: {} {}", refusal.code().code(), refusal.message(), refusal.detail().unwrap_or_default()),
    )
}
