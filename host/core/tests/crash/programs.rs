//! The programs of PostgreSQL as one run sees them; the servers that it starts outlive it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use stillframe_core::postgres::{
    ConnectionError, ConnectionFault, PrivateServer, QuerySession, ResultSet, ServerError, ServerOrder, ServerPrograms,
    ShutdownMode, ToolEnd, ToolRun,
};
use stillframe_core::testing::{Effect, FakePrograms, Fuse, When};

use crate::world::World;

/// The servers that run: the directory of the data, and that of the socket.
pub(crate) type Servers = Arc<Mutex<BTreeMap<PathBuf, PathBuf>>>;

pub(crate) struct FusedPrograms {
    fuse: Arc<Fuse>,
    inner: FakePrograms,
    servers: Servers,
}

impl FusedPrograms {
    pub(crate) fn new(world: &World, fuse: &Arc<Fuse>) -> Self {
        Self { fuse: fuse.clone(), inner: world.programs.clone(), servers: world.servers.clone() }
    }
}

fn refused(_: When) -> ServerError {
    ServerError::Process { operation: "run", program: "fake".into(), source: std::io::Error::other("injected fault") }
}

fn lost(_: When) -> ConnectionError {
    let fault = ConnectionFault::Lost("injected fault".to_owned());
    ConnectionError { server: "fake".to_owned(), operation: "do what was asked", fault }
}

#[async_trait]
impl ServerPrograms for FusedPrograms {
    async fn find(&self, major: u32) -> Result<PathBuf, ServerError> {
        self.fuse.pass("programs find".to_owned(), Effect::Look, self.inner.find(major), refused).await
    }

    async fn start(&self, order: &ServerOrder) -> Result<Box<dyn PrivateServer>, ServerError> {
        let start = async {
            let inner = self.inner.start(order).await?;
            self.servers.lock().unwrap().insert(order.data_directory.clone(), order.socket_directory.clone());
            let (fuse, servers) = (self.fuse.clone(), self.servers.clone());
            Ok(Box::new(FusedServer { fuse, inner, servers, data: order.data_directory.clone() }) as Box<dyn PrivateServer>)
        };
        // A start that is an error has started nothing: there is no answer that could be lost on its way.
        let fault = |when| {
            self.servers.lock().unwrap().remove(&order.data_directory);
            refused(when)
        };
        self.fuse.pass("programs start".to_owned(), Effect::Change, start, fault).await
    }

    async fn run(&self, tool: &ToolRun) -> Result<ToolEnd, ServerError> {
        self.fuse.pass(format!("programs {}", tool.name), Effect::Look, self.inner.run(tool), refused).await
    }

    async fn stop_abandoned(&self, data: &Path, socket: &Path) -> Result<Option<u32>, ServerError> {
        let stop = async {
            let mut servers = self.servers.lock().unwrap();
            let is_his = servers.get(data).is_some_and(|known| known == socket);
            Ok((is_his && servers.remove(data).is_some()).then_some(42))
        };
        self.fuse.pass("programs stop_abandoned".to_owned(), Effect::Change, stop, refused).await
    }
}

struct FusedServer {
    fuse: Arc<Fuse>,
    inner: Box<dyn PrivateServer>,
    servers: Servers,
    data: PathBuf,
}

#[async_trait]
impl PrivateServer for FusedServer {
    async fn ended(&mut self) -> Option<String> {
        self.inner.ended().await
    }

    async fn connect(&self, database: &str) -> Result<Box<dyn QuerySession>, ConnectionError> {
        let connect = async {
            let inner = self.inner.connect(database).await?;
            Ok(Box::new(FusedSession { fuse: self.fuse.clone(), inner }) as Box<dyn QuerySession>)
        };
        self.fuse.pass("copy connect".to_owned(), Effect::Look, connect, lost).await
    }

    async fn stop(&mut self, mode: ShutdownMode) -> Result<(), ServerError> {
        let stop = async {
            self.inner.stop(mode).await?;
            self.servers.lock().unwrap().remove(&self.data);
            Ok(())
        };
        self.fuse.pass("copy stop".to_owned(), Effect::Change, stop, refused).await
    }
}

struct FusedSession {
    fuse: Arc<Fuse>,
    inner: Box<dyn QuerySession>,
}

#[async_trait]
impl QuerySession for FusedSession {
    async fn query(&mut self, statements: &str) -> Result<Vec<ResultSet>, ConnectionError> {
        self.fuse.pass("copy query".to_owned(), Effect::Look, self.inner.query(statements), lost).await
    }
}
