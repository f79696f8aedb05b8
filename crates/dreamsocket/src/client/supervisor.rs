//! One client from its first connection to its last: runs the loop on each, and connects again as the policy says.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dreamsocket_protocol::{CloseCode, CloseFrame, InvalidClose, Role, Text};
use http::Response;
use hyper::upgrade::Upgraded;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::dial::Dial;
use super::error::ConnectError;
use super::reconnect::{Backoff, Ending, Reconnect};
use crate::config::{Config, later};
use crate::connection::{Connection, Facts, span};
use crate::handler::{Handlers, OnClose, OnInit, OnMessage};
use crate::hub::{Admission, Hub, NotAdmitted};
use crate::message::{Cause, Closed};
use crate::outbox::CloseRequest;
use crate::random::fraction;
use crate::session::{self, Session};
use crate::transport::{Transport, downcast};

/// A client whose first handshake has succeeded: reaches its connection, stops it, waits for its end.
///
/// A handle: cheap to clone, and dropping it ends nothing, since the connection belongs to its handlers. Without a
/// handle a client still ends by its handlers, its peer or its hub.
#[derive(Clone)]
pub struct Connected {
    response: Arc<Response<()>>,
    status: watch::Receiver<Status>,
    stop: Arc<watch::Sender<Option<Stop>>>,
}

struct Status {
    /// The present connection, or the last one.
    connection: Connection,
    ended: Option<Ended>,
}

#[derive(Clone)]
struct Stop {
    code: CloseCode,
    reason: Text,
}

impl Connected {
    /// The status and the headers of the first handshake's response.
    #[must_use]
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// The present connection; while there is none, the last one, which is closed.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.status.borrow().connection.clone()
    }

    /// Closes the connection with 1000, as [`Connection::close`] does, and ends reconnecting. Returns at once; see
    /// [`ended`](Self::ended).
    pub fn stop(&self) {
        self.request_stop(CloseCode::NORMAL, Text::default());
    }

    /// [`stop`](Self::stop) with a code and a reason.
    ///
    /// # Errors
    ///
    /// As [`Connection::close`]; then nothing is stopped.
    pub fn stop_with(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<Text>,
    ) -> Result<(), InvalidClose> {
        let (code, reason) = (code.into(), reason.into());
        CloseFrame::new(code, &reason)?;
        self.request_stop(code, reason);
        Ok(())
    }

    fn request_stop(&self, code: CloseCode, reason: Text) {
        let stop = Stop { code, reason };
        // Before the connection is looked up: the supervisor publishes a connection before it looks here.
        self.stop.send_if_modified(|stopped| {
            let is_first = stopped.is_none();
            stopped.get_or_insert_with(|| stop.clone());
            is_first
        });
        stop.close(&self.connection());
    }

    /// Waits until the last connection has ended, `on_close` included, and no other will come; tells how and why.
    pub async fn ended(&self) -> Ended {
        let mut status = self.status.clone();
        // An error means that the runtime has dropped the task.
        if let Ok(status) = status.wait_for(|status| status.ended.is_some()).await
            && let Some(ended) = &status.ended
        {
            return ended.clone();
        }
        Ended {
            closed: Closed::new(CloseCode::ABNORMAL, "", false, Cause::Lost),
            reconnects: self.connection().reconnects(),
            reason: EndReason::Stopped,
            error: None,
        }
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected")
            .field("status", &self.response.status())
            .field("connection", &self.connection())
            .finish_non_exhaustive()
    }
}

impl Stop {
    fn close(&self, connection: &Connection) {
        connection.shared.outbox.request_close(CloseRequest {
            code: self.code,
            reason: self.reason.clone(),
            cause: Cause::Stopped,
            at: None,
        });
    }
}

/// How a client ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Ended {
    /// How the last connection ended.
    pub closed: Closed,
    /// How many connections there were after the first.
    pub reconnects: u32,
    /// Why no other connection comes.
    pub reason: EndReason,
    /// How the last attempt failed, if one failed after the last connection.
    pub error: Option<Arc<ConnectError>>,
}

/// Why a client does not connect again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Reconnecting is off, or the connection's end is none to reconnect after.
    Final,
    /// [`Connected::stop`] was called, or the hub drains.
    Stopped,
    /// As many attempts as allowed are used up ([`Reconnect::with_max_attempts`]).
    Exhausted,
    /// An attempt failed in a way that is not retried.
    Failed,
    /// The application's rule panicked ([`Reconnect::with_rule`]).
    Panicked,
}

/// A connection that is open, before its handlers run.
pub(super) struct Fresh {
    upgraded: Upgraded,
    response: Response<()>,
    connection: Unopened,
    admission: Admission,
}

/// A connection that has no session yet. It has ended if it never gets one, so that nobody who has a handle waits for it: a
/// runtime may be dropped before it has polled the task.
struct Unopened {
    connection: Connection,
    is_taken: bool,
}

impl Unopened {
    const fn new(connection: Connection) -> Self {
        Self {
            connection,
            is_taken: false,
        }
    }

    /// For the session, which ends it from here on.
    fn take(mut self) -> Connection {
        self.is_taken = true;
        self.connection.clone()
    }
}

impl Drop for Unopened {
    fn drop(&mut self) {
        if !self.is_taken {
            let unsent = self.connection.shared.outbox.end();
            session::let_go("the drop of a payload", unsent);
        }
    }
}

pub(super) struct Supervisor<L> {
    dialer: L,
    config: Arc<Config>,
    hub: Option<Hub>,
    reconnect: Option<Reconnect>,
    backoff: Backoff,
    /// How many connections there were.
    connections: u32,
    stop: Arc<watch::Sender<Option<Stop>>>,
}

/// Why there is no other connection.
struct GivenUp {
    reason: EndReason,
    error: Option<ConnectError>,
}

impl<L: Dial> Supervisor<L> {
    pub(super) fn new(
        dialer: L,
        config: Arc<Config>,
        hub: Option<Hub>,
        reconnect: Option<Reconnect>,
    ) -> Self {
        Self {
            dialer,
            config,
            hub,
            reconnect,
            backoff: Backoff::default(),
            connections: 0,
            stop: Arc::new(watch::Sender::new(None)),
        }
    }

    /// The first connection, retried only if the policy says so.
    pub(super) async fn connect_first(&mut self) -> Result<Fresh, ConnectError> {
        let error = match self.attempt().await {
            Ok(fresh) => return Ok(fresh),
            Err(error) => error,
        };
        let policy = self.reconnect.clone();
        match policy.filter(Reconnect::is_first_retried) {
            None => Err(error),
            Some(policy) => self
                .connect_again(&policy, None, Some(error))
                .await
                .map_err(|given_up| given_up.error.unwrap_or(ConnectError::Draining)),
        }
    }

    /// The handle, and what runs all connections.
    pub(super) fn start<D, S, C, FI, FM, FC, M>(
        mut self,
        first: Fresh,
        dependencies: D,
        handlers: Handlers<FI, FM, FC>,
    ) -> (Connected, impl Future<Output = ()> + Send + 'static)
    where
        D: Send + Sync + 'static,
        S: Send + 'static,
        C: Send + 'static,
        FI: for<'a> OnInit<'a, D, S, C>,
        FM: for<'a> OnMessage<'a, D, S, C>,
        FC: for<'a> OnClose<'a, D, S, M>,
        M: 'static,
    {
        let (status, receiver) = watch::channel(Status {
            connection: first.connection.connection.clone(),
            ended: None,
        });
        let connected = Connected {
            response: Arc::new(first.response.clone()),
            status: receiver,
            stop: Arc::clone(&self.stop),
        };
        let running = async move {
            let mut fresh = first;
            let ended = loop {
                let since = Instant::now();
                self.connections = self.connections.saturating_add(1);
                let (closed, ended_at) = self.run_one(fresh, &dependencies, &handlers).await;
                match Box::pin(self.next(&closed, ended_at.saturating_duration_since(since))).await
                {
                    Ok(next) => {
                        let connection = &next.connection.connection;
                        status.send_modify(|status| status.connection = connection.clone());
                        // It may have come while nobody knew of this connection.
                        if let Some(stop) = &*self.stop.borrow() {
                            stop.close(connection);
                        }
                        fresh = next;
                    }
                    Err(GivenUp { reason, error }) => {
                        break Ended {
                            closed,
                            reconnects: self.connections.saturating_sub(1),
                            reason,
                            error: error.map(Arc::new),
                        };
                    }
                }
            };
            session::let_go("the drop of the dependencies", dependencies);
            status.send_modify(|status| status.ended = Some(ended));
        };
        (connected, running)
    }

    async fn run_one<D, S, C, FI, FM, FC, M>(
        &self,
        fresh: Fresh,
        dependencies: &D,
        handlers: &Handlers<FI, FM, FC>,
    ) -> (Closed, Instant)
    where
        D: Send + Sync + 'static,
        S: Send + 'static,
        C: Send + 'static,
        FI: for<'a> OnInit<'a, D, S, C>,
        FM: for<'a> OnMessage<'a, D, S, C>,
        FC: for<'a> OnClose<'a, D, S, M>,
        M: 'static,
    {
        let Fresh {
            upgraded,
            connection,
            admission,
            ..
        } = fresh;
        let connection = connection.take();
        let path = self.dialer.uri().path();
        let span = span::open(Role::Client, Some(path), connection.subprotocol());
        span::identify(&span, &connection);
        let (outcome, closed, ended_at) = match downcast(upgraded, http::Version::HTTP_11) {
            Transport::Tcp(io, early) => {
                let session = Session::open(io, &early, Role::Client, connection);
                // It keeps hyper's buffer alive.
                drop(early);
                let run = session::run(session, dependencies, handlers);
                run.instrument(span).await
            }
            #[cfg(feature = "simulation")]
            Transport::Simulated(io, early) => {
                let session = Session::open(io, &early, Role::Client, connection);
                let run = session::run(session, dependencies, handlers);
                run.instrument(span).await
            }
            Transport::Other(io) => {
                let session = Session::open(io, &[], Role::Client, connection);
                let run = session::run(session, dependencies, handlers);
                run.instrument(span).await
            }
        };
        admission.ended(outcome, &closed);
        (closed, ended_at)
    }

    /// The connection after one that has ended.
    async fn next(&mut self, closed: &Closed, lasted: Duration) -> Result<Fresh, GivenUp> {
        if self.is_stopped() {
            return Err(GivenUp::from(EndReason::Stopped));
        }
        let Some(policy) = self.reconnect.clone() else {
            return Err(GivenUp::from(EndReason::Final));
        };
        self.backoff.note_connection(&policy, lasted);
        self.connect_again(&policy, Some(closed), None).await
    }

    /// Waits and tries until there is a connection or a reason to give up. Begins with what ended last.
    async fn connect_again(
        &mut self,
        policy: &Reconnect,
        closed: Option<&Closed>,
        mut error: Option<ConnectError>,
    ) -> Result<Fresh, GivenUp> {
        loop {
            let ending = match (&error, closed) {
                (Some(error), _) => Ending::Failed(error),
                (None, Some(closed)) => Ending::Closed(closed),
                (None, None) => return Err(GivenUp::from(EndReason::Final)),
            };
            if self.is_stopped() {
                return Err(GivenUp::from(EndReason::Stopped));
            }
            // The rule is code of the application's.
            let reason = match session::guard(|| policy.wants(ending)) {
                Ok(true) => None,
                Ok(false) if error.is_some() => Some(EndReason::Failed),
                Ok(false) => Some(EndReason::Final),
                Err(payload) => {
                    session::log_panic("the rule for reconnecting", payload);
                    Some(EndReason::Panicked)
                }
            };
            if let Some(reason) = reason {
                return Err(GivenUp { reason, error });
            }
            let asked = error.as_ref().and_then(ConnectError::retry_after);
            let Some(delay) = self.backoff.next_delay(policy, asked, fraction()) else {
                let reason = EndReason::Exhausted;
                return Err(GivenUp { reason, error });
            };
            match &error {
                None => tracing::debug!(?delay, "the connection ended, connecting again"),
                Some(error) => {
                    // As an error, not as text: subscribers show its sources, too.
                    let error: &dyn std::error::Error = error;
                    tracing::info!(?delay, error, "connecting failed, trying again");
                }
            }
            let attempt = async {
                tokio::time::sleep_until(later(Instant::now(), delay)).await;
                self.attempt().await
            };
            let attempted = tokio::select! {
                biased;
                () = self.stopped() => return Err(GivenUp::from(EndReason::Stopped)),
                attempted = attempt => attempted,
            };
            match attempted {
                Ok(fresh) => return Ok(fresh),
                Err(failed) => error = Some(failed),
            }
        }
    }

    /// One attempt, which a drain of the hub ends.
    async fn attempt(&self) -> Result<Fresh, ConnectError> {
        let mut admission = match &self.hub {
            None => Admission::free(),
            Some(hub) => hub.clone().admit().map_err(|refused| match refused {
                NotAdmitted::Draining => ConnectError::Draining,
                NotAdmitted::Full { limit } => ConnectError::HubFull { limit },
            })?,
        };
        let dialed = tokio::select! {
            biased;
            () = drained(self.hub.as_ref()) => return Err(ConnectError::Draining),
            dialed = self.dialer.dial() => dialed?,
        };
        let connection = Connection::new(Facts {
            peer_addr: dialed.peer_addr.into(),
            subprotocol: dialed.opened.subprotocol.map(Box::new),
            deflate: dialed.opened.deflate,
            role: Role::Client,
            reconnects: self.connections,
            details: admission.details(None, None),
            ..Facts::of(Arc::clone(&self.config))
        });
        admission.attach(&connection);
        Ok(Fresh {
            upgraded: dialed.opened.upgraded,
            response: dialed.opened.response,
            connection: Unopened::new(connection),
            admission,
        })
    }

    fn is_stopped(&self) -> bool {
        self.stop.borrow().is_some() || self.hub.as_ref().is_some_and(Hub::is_draining)
    }

    async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            biased;
            // An error can't come: the sender is in `self`.
            _ = stop.wait_for(Option::is_some) => {}
            () = drained(self.hub.as_ref()) => {}
        }
    }
}

impl From<EndReason> for GivenUp {
    fn from(reason: EndReason) -> Self {
        Self {
            reason,
            error: None,
        }
    }
}

/// Resolves when a drain of the hub has started; never without one.
async fn drained(hub: Option<&Hub>) {
    match hub {
        Some(hub) => {
            hub.draining().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
