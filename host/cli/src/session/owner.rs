//! The owner of a session: enters backup mode, holds it, and ends it as it is asked, or when it must.
//!
//! Every end is recorded before anybody is told of it. Only a session that was asked to end, answered by the server in good order
//! and kept its sentinel becomes a backup; everything else leaves backup mode, the intent removed, and the outcome for those who ask
//! later. After a failed publication the owner ends: another `session end` goes on with what it kept.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use stillframe_core::catalog::OutsideCopy;
use stillframe_core::clock::{Clock, SystemClock};
use stillframe_core::error::{Classify, chain};
use stillframe_core::flows::{
    HeldSession, PushError, Server, SessionEnd, SessionError, SessionRequest, StoppedSession, begin_session, forget_session,
};
use stillframe_core::paths::{KernelFiles, LocalPaths};
use stillframe_core::session_directory::{SessionDirectory, SessionRecord, SessionState, read_id, write_private};
use tokio::sync::{mpsc, watch};

use super::listener::{Client, listen};
use super::order::{Begun, Order};
use super::protocol::{Message, Request, Stopped, Told};
use super::{directory, home, settle_killed};
use crate::common::Common;
use crate::config::{SessionPlace, host_name};
use crate::exit::Failure;
use crate::wiring::{World, lease_request, termination};

/// Begins the session that the order describes, says so through `announce`, and holds it to its end.
pub async fn own(common: &Common, order: Order, announce: impl FnOnce(&Begun) -> Result<(), Failure>) -> Result<ExitCode, Failure> {
    let ended = watch_for_the_end();
    let world = World::open(common).await?;
    let directory = directory(&world)?;
    if let Err(error) = directory.forget_old(SystemClock.now()) {
        tracing::warn!("old sessions stay recorded: {}", chain(&error));
    }
    if let Some(path) = &order.id_file {
        refuse_in_use(&directory, path)?;
    }
    settle_killed(&world, &directory).await;
    let request = request(&world, &order)?;
    let (timeout, now) = (request.timeout.map(|timeout| timeout.as_secs()), SystemClock.now());
    let record = SessionRecord::starting(order.id.clone(), request.name.clone(), home(&world), &request.hostname, timeout, now);
    // Held to the end of this process, however it ends.
    let _lock = directory.create(&record)?;
    let clients = listen(&directory.socket(&order.id))?;
    let mut owner = Owner { world, directory, record, clients, ended };
    let result = owner.live(&request, &order, announce).await;
    // Whoever asks from now on finds the record.
    let _gone = std::fs::remove_file(owner.directory.socket(&order.id));
    result
}

/// Turns true at the signal to end.
fn watch_for_the_end() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    let told = termination();
    tokio::spawn(async move {
        told.await;
        sender.send_replace(true);
    });
    receiver
}

/// Two sessions with one file would be two sessions of which one nobody can end.
fn refuse_in_use(directory: &SessionDirectory, path: &Path) -> Result<(), Failure> {
    let Some(id) = read_id(path)? else { return Ok(()) };
    let lives = match directory.read(&id)? {
        Some(record) => !record.state.is_over() && directory.is_held(&id)?,
        None => false,
    };
    if lives { Err(SessionError::IdInUse(path.to_owned()).into()) } else { Ok(()) }
}

fn request(world: &World, order: &Order) -> Result<SessionRequest, Failure> {
    let (name, token) = world.new_identity()?;
    let timeout = match order.timeout_secs {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => world.config.session.timeout,
    };
    Ok(SessionRequest {
        name,
        token,
        permanence: order.permanence(),
        user_data: order.user_data.clone(),
        checkpoint: world.config.checkpoint,
        hostname: host_name(),
        lease: lease_request("session begin"),
        timeout,
        step_deadline: world.config.deadlines.cut,
    })
}

/// A process that holds a session.
struct Owner {
    world: World,
    directory: SessionDirectory,
    record: SessionRecord,
    clients: mpsc::Receiver<Client>,
    ended: watch::Receiver<bool>,
}

/// What ends a session in good order.
enum Asked {
    Client(Client),
    Terminated,
}

impl Owner {
    async fn live(
        &mut self,
        request: &SessionRequest,
        order: &Order,
        announce: impl FnOnce(&Begun) -> Result<(), Failure>,
    ) -> Result<ExitCode, Failure> {
        let held = match self.begin(request).await {
            Ok(held) => held,
            Err(failure) => {
                self.end(SessionState::Failed, Some(failure.chain().join(": ")));
                return Err(failure);
            }
        };
        // Whoever began it must be able to end it: what nobody can be told of is given up.
        if let Err(failure) = self.tell_of(&held, order, announce) {
            self.give_up(held).await;
            self.end(SessionState::Failed, Some(failure.chain().join(": ")));
            return Err(failure);
        }
        self.hold(held).await
    }

    async fn begin(&self, request: &SessionRequest) -> Result<HeldSession, Failure> {
        let world = &self.world;
        let locator = LocalPaths { pgdata: world.config.pgdata()?.to_owned(), kernel: KernelFiles::default() };
        let mut connection = world.connect().await?;
        let primary = world.primary_of(&mut *connection, SessionPlace::Server).await?;
        let server = Server { connection, primary, locator: &locator };
        Ok(begin_session(&world.ports(), server, request, end_of(&self.ended)).await?)
    }

    /// Records that backup mode is held, and says so.
    fn tell_of(
        &mut self,
        held: &HeldSession,
        order: &Order,
        announce: impl FnOnce(&Begun) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.record = self.record.clone().running(held.start_lsn(), SystemClock.now());
        self.directory.write(&self.record)?;
        if let Some(path) = &order.id_file {
            write_private(path, format!("{}\n", self.record.id).as_bytes())?;
        }
        announce(&Begun {
            session_id: self.record.id.clone(),
            backup_name: self.record.backup_name.to_string(),
            start_lsn: held.start_lsn(),
            timeout_secs: self.record.timeout_secs,
        })
    }

    async fn hold(&mut self, mut held: HeldSession) -> Result<ExitCode, Failure> {
        let ended = self.ended.clone();
        let clients = &mut self.clients;
        let asked = async {
            tokio::select! {
                client = clients.recv() => client.map_or(Asked::Terminated, Asked::Client),
                () = end_of(&ended) => Asked::Terminated,
            }
        };
        match held.hold(&self.world.ports(), asked).await {
            Ok(Asked::Client(client)) if matches!(client.request, Request::End { .. }) => self.finish(held, client).await,
            Ok(Asked::Client(mut client)) => {
                self.give_up(held).await;
                self.end(SessionState::Aborted, None);
                client.tell(&Message::Aborted).await;
                Ok(ExitCode::SUCCESS)
            }
            Ok(Asked::Terminated) => {
                self.give_up(held).await;
                self.void(SessionState::Aborted, Some("its process was told to end".to_owned()))
            }
            Err(SessionEnd::TimedOut) => {
                self.give_up(held).await;
                self.void(SessionState::TimedOut, None)
            }
            Err(SessionEnd::Lost(error)) => {
                drop(held);
                self.forget().await;
                self.void(SessionState::Lost, Some(chain(&error)))
            }
        }
    }

    /// Leaves backup mode and publishes.
    async fn finish(&mut self, held: HeldSession, mut client: Client) -> Result<ExitCode, Failure> {
        let mut stopped = match held.stop(&self.world.ports()).await {
            Ok(stopped) => stopped,
            Err(error) => {
                let state = if matches!(error, PushError::Connection(_)) { SessionState::Lost } else { SessionState::Failed };
                let result = self.void(state, Some(chain(&error)));
                if let Err(failure) = &result {
                    client.tell(&Message::Failed(Told::from(failure))).await;
                }
                return result;
            }
        };
        if let Request::End { snapshot_ids } = &client.request {
            stopped.name_copy(OutsideCopy { snapshot_ids: snapshot_ids.clone() });
        }
        // Before anybody has the label: should this process die now, the next `end` tells the same one.
        self.keep(&stopped);
        let told = Message::Stopped(Box::new(Stopped::of(stopped.sentinel())));
        client.tell(&told).await;
        let mut waiting = vec![client];
        let published = self.publish(&mut stopped, &told, &mut waiting).await;
        let (result, last) = match published {
            Ok(()) => {
                self.end(SessionState::Published, None);
                (Ok(ExitCode::SUCCESS), Message::Published)
            }
            Err(cause) => {
                self.end(SessionState::Stopped, Some(chain(&cause)));
                let name = self.record.backup_name.clone();
                let failure = Failure::from(SessionError::NotPublished { name, cause: Box::new(cause) });
                let told = Told::from(&failure);
                (Err(failure), Message::Failed(told))
            }
        };
        for client in &mut waiting {
            client.tell(&last).await;
        }
        result
    }

    /// Publishes, and lets everybody who asks meanwhile wait for the same outcome.
    async fn publish(&mut self, stopped: &mut StoppedSession, told: &Message, waiting: &mut Vec<Client>) -> Result<(), PushError> {
        let (world, id) = (&self.world, self.record.id.clone());
        let mut publishing = std::pin::pin!(publish(world, stopped));
        loop {
            tokio::select! {
                biased;
                published = &mut publishing => return published,
                () = end_of(&self.ended) => return Err(PushError::Interrupted),
                Some(mut client) = self.clients.recv() => {
                    if matches!(client.request, Request::Abort) {
                        let failure = Failure::from(SessionError::Publishing(id.clone()));
                        client.tell(&Message::Failed(Told::from(&failure))).await;
                    } else {
                        client.tell(told).await;
                        waiting.push(client);
                    }
                }
            }
        }
    }

    /// Keeps what another process needs to publish it. Without room for it the session goes on: its label leaves with the answer, and
    /// the sentinel will hold it.
    fn keep(&mut self, stopped: &StoppedSession) {
        let rendered = match stopped.render(&self.world.ports()) {
            Ok(rendered) => rendered,
            Err(error) => return tracing::error!("the label is not kept: {}", chain(&error)),
        };
        match self.directory.keep_sentinel(&self.record.id, &rendered) {
            Ok(()) => self.end(SessionState::Stopped, None),
            Err(error) => tracing::error!("the label is not kept: {}", chain(&error)),
        }
    }

    async fn give_up(&self, held: HeldSession) {
        if let Err(error) = held.give_up(&self.world.ports()).await {
            tracing::warn!("backup mode has ended, and the intent stays until it expires: {}", chain(&error));
        }
    }

    async fn forget(&self) {
        if let Err(error) = forget_session(&self.world.ports(), &self.record.backup_name).await {
            tracing::warn!("the intent stays until it expires: {}", chain(&error));
        }
    }

    /// Records the end of a session that became nothing.
    fn void(&mut self, state: SessionState, reason: Option<String>) -> Result<ExitCode, Failure> {
        self.end(state, reason);
        Err(SessionError::void(&self.record).into())
    }

    /// A record that cannot be written says of a process that is gone what is true: it held backup mode, and does not any more.
    fn end(&mut self, state: SessionState, reason: Option<String>) {
        self.record = self.record.clone().ended(state, reason, SystemClock.now());
        if let Err(error) = self.directory.write(&self.record) {
            tracing::error!(state = state.as_str(), hint = error.hint(), "the outcome is not recorded: {}", chain(&error));
        }
    }
}

/// Publishes a session that was stopped, by this process or by one that is dead.
pub async fn publish(world: &World, stopped: &mut StoppedSession) -> Result<(), PushError> {
    let primary = if stopped.sentinel().from_standby { connect_to_primary(world).await } else { None };
    stopped.publish(&world.ports(), primary, world.config.deadlines.archive).await.map(drop)
}

/// Without it, the WAL may come into the archive all the same.
async fn connect_to_primary(world: &World) -> Option<Box<dyn stillframe_core::postgres::Connection>> {
    world.connect_to_primary().await.unwrap_or_else(|failure| {
        tracing::warn!("the primary does not end its segment: {}", failure.chain().join(": "));
        None
    })
}

/// Resolves at the signal to end.
async fn end_of(ended: &watch::Receiver<bool>) {
    // Its sender lives as long as the process.
    if ended.clone().wait_for(|ended| *ended).await.is_err() {
        std::future::pending::<()>().await;
    }
}
