//! [`Hub`]: what connections have in common. Their bounds, their cap, and their end.
//!
//! Knows the connections by their handles and never touches a socket. [`Server`](crate::Server) owns one; elsewhere
//! [`Hub::layer`] puts it where upgrades find it.

mod addresses;
#[cfg(feature = "inspector")]
mod closes;
mod counts;
#[cfg(feature = "inspector")]
mod farewell;
mod layer;
mod listing;
mod signal;

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::hash::BuildHasherDefault;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use dreamsocket_protocol::{CloseCode, Role, Text};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub(crate) use self::addresses::Address;
use self::addresses::{Addresses, TooMuch};
#[cfg(feature = "inspector")]
pub(crate) use self::closes::BAR;
use self::counts::Counters;
pub use self::counts::{Fault, HubCounts};
pub use self::layer::{HubLayer, HubService};
pub use self::listing::ConnectionInfo;
pub(crate) use self::listing::{Details, cut};
use self::signal::SignalWatch;
use crate::config::{Config, later};
use crate::connection::{ById, Connection, ConnectionId};
use crate::message::{Cause, Closed};
use crate::meter;
use crate::outbox::CloseRequest;
use crate::session::Outcome;

/// The bounds, the cap and the registry of all WebSockets that are served together; a cheap clone.
///
/// Under [`Server`](crate::Server) there is one already. Under axum's own server:
///
/// ```no_run
/// # async fn serve(app: axum::Router, listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// use dreamsocket::{Config, Hub};
///
/// let hub = Hub::new(Config::default());
/// let server = axum::serve(listener, app.layer(hub.layer())).with_graceful_shutdown(hub.drain_on_signal());
/// let report = hub.run(server).await?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<Config>,
    registry: Mutex<Registry>,
    counters: Counters,
    /// When the drain started. Set under the registry's lock.
    draining: OnceLock<Instant>,
    /// Told when it has; servers and `drained` wait for it. They are woken in the order in which they came, where a `watch`
    /// wakes them in a random one.
    drain_started: Notify,
    /// How many WebSockets there are. Changed only under the registry's lock; who waits is told of zero only.
    count: watch::Sender<usize>,
    signals: SignalWatch,
    is_measured: bool,
    /// Whether connections that are let in remember what serves only who looks.
    keeps_details: AtomicBool,
    /// How they ended lately, once somebody wants to know.
    #[cfg(feature = "inspector")]
    closes: OnceLock<Mutex<closes::Closes>>,
    /// Whether a drain is over, for those who watch it.
    #[cfg(feature = "inspector")]
    farewell: watch::Sender<bool>,
}

#[derive(Default)]
struct Registry {
    connections: HashMap<ConnectionId, Connection, BuildHasherDefault<ById>>,
    addresses: Addresses,
    report: DrainReport,
}

/// How a drain ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// WebSockets whose handlers all came to their end.
    pub clean: usize,
    /// WebSockets of which a handler was dropped because its time was up, or which were still there when the drain had
    /// to end.
    pub cut: usize,
}

/// How far a drain is.
#[cfg(feature = "inspector")]
#[derive(Debug)]
pub(crate) struct DrainProgress {
    pub(crate) since: Instant,
    pub(crate) ended: DrainReport,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} WebSockets ended cleanly, {} were cut",
            self.clean, self.cut
        )
    }
}

impl Hub {
    /// A hub with these bounds.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_measuring(config, true)
    }

    /// A hub whose connections are in no metrics, being none of the application's.
    #[cfg(feature = "inspector")]
    pub(crate) fn unmeasured(config: Config) -> Self {
        Self::with_measuring(config, false)
    }

    fn with_measuring(config: Config, is_measured: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                is_measured,
                config: Arc::new(config),
                registry: Mutex::default(),
                counters: Counters::default(),
                draining: OnceLock::new(),
                drain_started: Notify::new(),
                count: watch::Sender::new(0),
                signals: SignalWatch::default(),
                keeps_details: AtomicBool::new(false),
                #[cfg(feature = "inspector")]
                closes: OnceLock::new(),
                #[cfg(feature = "inspector")]
                farewell: watch::Sender::new(false),
            }),
        }
    }

    /// Whether its connections are in the metrics.
    pub(crate) fn is_measured(&self) -> bool {
        self.inner.is_measured
    }

    /// The bounds.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn shared_config(&self) -> &Arc<Config> {
        &self.inner.config
    }

    /// How many WebSockets there are now.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.inner.count.borrow()
    }

    /// What was counted so far: WebSockets opened and how they ended, refusals, and connections that a
    /// [`Server`](crate::Server) gave up. Looks at every WebSocket, so ask for it some times a minute, not for each message.
    #[must_use]
    pub fn counts(&self) -> HubCounts {
        let registry = self.inner.lock();
        let open = registry.connections.values();
        let pauses = open.map(|connection| connection.shared.pauses()).sum();
        self.inner.counters.snapshot(pauses)
    }

    pub(crate) fn note_refused(&self, status: http::StatusCode) {
        self.inner.counters.note_refused(status);
    }

    pub(crate) fn note_accept_pause(&self) {
        self.inner.counters.note_accept_pause();
        meter::note_accept_pause();
    }

    pub(crate) fn note_fault(&self, fault: Fault) {
        self.inner.counters.note_fault(fault);
        meter::note_fault(fault);
    }

    /// Whether a drain has started.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.draining.get().is_some()
    }

    /// A tower layer that puts this hub into the extensions of each request.
    #[must_use]
    pub fn layer(&self) -> HubLayer {
        HubLayer::new(self.clone())
    }

    /// Starts the end: upgrades get 503 from here on, and every WebSocket is closed with 1001, at once or spread over
    /// [`Config::drain_spread`]. Handlers that run may finish within [`Config::drain_time`]. Returns at once;
    /// [`drained`](Self::drained) waits. Starting it again changes nothing.
    pub fn drain(&self) {
        let now = Instant::now();
        let connections: Vec<Connection> = {
            let registry = self.inner.lock();
            // Under the lock, so that a connection is either in the list or finds that the drain has started.
            if self.inner.draining.set(now).is_err() {
                return;
            }
            registry.connections.values().cloned().collect()
        };
        self.inner.drain_started.notify_waiters();
        let count = connections.len();
        tracing::info!(count, "draining");
        // Without the lock: closing wakes tasks, and what a waker does is not ours.
        for (index, connection) in connections.iter().enumerate() {
            self.inner.close(connection, now, Some((index, count)));
        }
    }

    /// Waits until a drain has started and all WebSockets have ended, at most until the drain time and the time for
    /// `on_close` are up. Pages of an inspector are told within that time, and waited for a second at most; after a drain that had
    /// to be cut they are not waited for.
    pub async fn drained(&self) -> DrainReport {
        let deadline = self.end(self.draining().await);
        let mut count = self.inner.count.subscribe();
        // An error can't come: the sender is in `self`.
        let _ = tokio::time::timeout_at(deadline, count.wait_for(|count| *count == 0)).await;
        #[cfg(feature = "inspector")]
        self.see_off(deadline).await;
        self.report()
    }

    /// Waits until a drain has started; at what time it did.
    pub(crate) async fn draining(&self) -> Instant {
        loop {
            let mut started = pin!(self.inner.drain_started.notified());
            // In line before the look, so that no start falls between the two.
            started.as_mut().enable();
            if let Some(since) = self.inner.draining.get() {
                return *since;
            }
            started.await;
        }
    }

    /// When the handlers of a drain that started at `since` are dropped.
    pub(crate) fn cut_at(&self, since: Instant) -> Instant {
        later(since, self.inner.config.drain_time)
    }

    /// When a drain that started at `since` is over, whatever still runs.
    pub(crate) fn end(&self, since: Instant) -> Instant {
        later(self.cut_at(since), self.inner.config.close_time)
    }

    /// Since when a drain is under way, and how those ended that are gone.
    #[cfg(feature = "inspector")]
    pub(crate) fn drain_progress(&self) -> Option<DrainProgress> {
        let since = *self.inner.draining.get()?;
        let ended = self.inner.lock().report;
        Some(DrainProgress { since, ended })
    }

    fn report(&self) -> DrainReport {
        let registry = self.inner.lock();
        DrainReport {
            cut: registry.report.cut + self.connections(),
            ..registry.report
        }
    }

    /// Resolves when a drain has started; from the first poll on, SIGTERM and SIGINT (Ctrl-C elsewhere than on Unix) start
    /// one, and under [`run`](Self::run) a second signal ends it at once.
    ///
    /// The future may outlive the hub's other handles, so that it can be passed to `with_graceful_shutdown`. It may be
    /// dropped, too: signals are listened to as long as there is a handle of the hub.
    ///
    /// # Panics
    ///
    /// When polled outside a tokio runtime with its I/O enabled.
    pub fn drain_on_signal(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let hub = self.clone();
        async move {
            if let Err(error) = hub.listen_to_signals() {
                tracing::error!(%error, "cannot listen to signals: only `Hub::drain` starts a drain");
            }
            hub.draining().await;
        }
    }

    /// From here on signals start a drain.
    pub(crate) fn listen_to_signals(&self) -> io::Result<()> {
        let hub = Arc::downgrade(&self.inner);
        self.inner.signals.listen(move || {
            if let Some(inner) = hub.upgrade() {
                Self { inner }.drain();
            }
        })
    }

    /// Runs a server until it and all WebSockets are done, or until the drain time and the time for `on_close` are up
    /// after a drain has started, whichever is first. A server that is not done by then is dropped.
    ///
    /// A server that ends by itself starts the drain. After [`drain_on_signal`](Self::drain_on_signal) a second signal
    /// returns at once.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn run(
        &self,
        server: impl IntoFuture<Output = io::Result<()>>,
    ) -> io::Result<DrainReport> {
        let mut impatience = pin!(async {
            self.inner.signals.second().await;
            tracing::warn!("a second signal: ending at once");
        });
        let overdue = async {
            let since = self.draining().await;
            tokio::time::sleep_until(self.end(since)).await;
        };
        let served = tokio::select! {
            biased;
            result = server.into_future() => result,
            () = &mut impatience => return Ok(self.report()),
            () = overdue => Ok(()),
        };
        self.drain();
        let report = tokio::select! {
            biased;
            report = self.drained() => report,
            () = &mut impatience => self.report(),
        };
        served.map(|()| report)
    }

    /// Lets one more TCP connection of this address in, if so many are counted: then with its place.
    pub(crate) fn admit_socket(
        &self,
        address: Option<IpAddr>,
    ) -> Result<Option<SocketPlace>, TooMuch> {
        let (Some(limit), Some(address)) = (self.inner.config.max_sockets_per_address, address)
        else {
            return Ok(None);
        };
        let address = Address::from(address);
        let opened = self.inner.lock().addresses.open_socket(limit, address);
        opened.inspect_err(|_| self.note_fault(Fault::Crowded))?;
        Ok(Some(SocketPlace {
            hub: self.clone(),
            address,
        }))
    }

    /// Lets one more WebSocket in.
    pub(crate) fn admit(self) -> Result<Admission, NotAdmitted> {
        let registry = self.inner.lock();
        self.check_room()?;
        Ok(self.clone().let_in(registry, None))
    }

    /// Counts a valid handshake of this client. To be asked before anything else may refuse it.
    pub(crate) fn take_handshake(&self, client: IpAddr) -> Result<(), Unwelcome> {
        let Some(rate) = self.inner.config.handshakes_per_address else {
            return Ok(());
        };
        let mut registry = self.inner.lock();
        let address = Address::from(client);
        Ok(registry.addresses.take_handshake(rate, address)?)
    }

    /// Lets one more WebSocket of this client in.
    pub(crate) fn admit_from(self, client: IpAddr) -> Result<Admission, Unwelcome> {
        let mut registry = self.inner.lock();
        self.check_room()?;
        let limit = self.inner.config.max_connections_per_address;
        let address = limit.map(|limit| (limit, Address::from(client)));
        if let Some((limit, address)) = address {
            registry.addresses.open_connection(limit, address)?;
        }
        let address = address.map(|(_, address)| address);
        Ok(self.clone().let_in(registry, address))
    }

    fn check_room(&self) -> Result<(), NotAdmitted> {
        if self.is_draining() {
            return Err(NotAdmitted::Draining);
        }
        let limit = self.inner.config.max_connections;
        if self.connections() >= limit {
            return Err(NotAdmitted::Full { limit });
        }
        Ok(())
    }

    fn let_in(self, registry: MutexGuard<'_, Registry>, address: Option<Address>) -> Admission {
        // Nobody waits for more of them.
        self.inner.count.send_if_modified(|count| {
            *count += 1;
            false
        });
        drop(registry);
        Admission {
            hub: Some(self),
            address: address.map(Box::new),
            id: None,
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Registry> {
        // Nothing foreign runs under the lock, so a poisoned one is still whole.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes one connection for a drain that started at `since`; `place` is its place among all, for spreading.
    fn close(&self, connection: &Connection, since: Instant, place: Option<(usize, usize)>) {
        let spread = self.config.drain_spread.min(self.config.drain_time);
        let at = match place {
            Some((index, count)) if !spread.is_zero() => Some(later(
                since,
                spread.mul_f64(index as f64 / count.max(1) as f64),
            )),
            _ => None,
        };
        connection
            .shared
            .outbox
            .cut_at(later(since, self.config.drain_time));
        connection.shared.outbox.request_close(CloseRequest {
            code: CloseCode::GOING_AWAY,
            reason: Text::from_static(match connection.shared.facts.role {
                Role::Server => "the server is shutting down",
                Role::Client => "the client is shutting down",
            }),
            cause: Cause::Drained,
            at,
        });
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("connections", &self.connections())
            .field("is_draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}

/// Why a WebSocket is not let in, as the line that a 503 carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("the server is shutting down")]
    Draining,
    #[error("the server holds as many WebSockets as it may ({limit}, `Config::max_connections`)")]
    Full { limit: usize },
}

/// Why a WebSocket of a client is not let in, as the line that a 503 or 429 carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwelcome {
    #[error(transparent)]
    Hub(#[from] NotAdmitted),
    #[error(transparent)]
    Address(#[from] TooMuch),
}

/// A TCP connection's place among those of its address, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct SocketPlace {
    hub: Hub,
    address: Address,
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        self.hub.inner.lock().addresses.close_socket(self.address);
    }
}

/// A place among a hub's WebSockets, given back when it is dropped.
pub(crate) struct Admission {
    /// `None` for a connection without a hub.
    hub: Option<Hub>,
    /// If they are counted. Boxed, since they seldom are.
    address: Option<Box<Address>>,
    id: Option<ConnectionId>,
}

impl Admission {
    /// A place without a hub.
    pub(crate) const fn free() -> Self {
        Self {
            hub: None,
            address: None,
            id: None,
        }
    }

    /// Whether its connection is in the metrics.
    pub(crate) fn is_measured(&self) -> bool {
        self.hub.as_ref().is_none_or(Hub::is_measured)
    }

    /// Makes the connection known to the hub. A drain that has started meanwhile holds for it, too.
    pub(crate) fn attach(&mut self, connection: &Connection) {
        let Some(hub) = &self.hub else { return };
        hub.inner.counters.note_opened();
        self.id = Some(connection.id());
        let since = {
            let mut registry = hub.inner.lock();
            registry
                .connections
                .insert(connection.id(), connection.clone());
            hub.inner.draining.get().copied()
        };
        if let Some(since) = since {
            hub.inner.close(connection, since, None);
        }
    }

    /// The session has ended.
    pub(crate) fn ended(mut self, outcome: Outcome, closed: &Closed) {
        if let Some(hub) = &self.hub {
            hub.inner.counters.note_closed(closed.cause);
            #[cfg(feature = "inspector")]
            hub.note_close(closed.code);
        }
        self.leave(Some(outcome));
    }

    fn leave(&mut self, outcome: Option<Outcome>) {
        let Some(hub) = self.hub.take() else { return };
        let id = self.id.take();
        let mut registry = hub.inner.lock();
        if let Some(address) = self.address.take() {
            registry.addresses.close_connection(*address);
        }
        let removed = id.and_then(|id| registry.connections.remove(&id));
        if hub.is_draining() {
            match outcome {
                Some(Outcome::Whole) => registry.report.clean += 1,
                Some(Outcome::Cut) => registry.report.cut += 1,
                None => {}
            }
        }
        if let Some(connection) = &removed {
            hub.inner
                .counters
                .add_read_pauses(connection.shared.pauses());
        }
        // Under the lock, so that no report counts this one twice; who waits is woken without it, since what a waker does is
        // not ours.
        let mut is_last = false;
        hub.inner.count.send_if_modified(|count| {
            *count -= 1;
            is_last = *count == 0;
            false
        });
        drop(registry);
        hub.inner.count.send_if_modified(|_| is_last);
        drop(removed);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.leave(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::{Context, Wake, Waker};
    use std::time::Duration;

    use super::*;

    /// What an executor may do that polls where it is woken.
    struct Looks(Hub);

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            let _ = self.0.counts();
        }
    }

    #[tokio::test]
    async fn who_waits_for_the_end_of_a_drain_is_woken_without_the_lock() {
        let hub = Hub::new(Config::default());
        let admission = hub.clone().admit().unwrap();
        hub.drain();
        let mut drained = pin!(hub.drained());
        let waker = Waker::from(Arc::new(Looks(hub.clone())));
        let mut context = Context::from_waker(&waker);
        assert!(drained.as_mut().poll(&mut context).is_pending());
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || {
            drop(admission);
            sender.send(()).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(drained.as_mut().poll(&mut context).is_ready());
    }
}
