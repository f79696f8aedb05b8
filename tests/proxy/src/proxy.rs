//! [`Proxy`]: accepts, connects on, and carries out what the plan says and what it is told.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::dice::Dice;
use crate::plan::{End, Flow, Plan, Way};
use crate::pump::Pump;
use crate::shaper::Shaper;

/// The receive buffer in front of a line with a rate. The system's own takes megabytes, which the sender would be rid of at once.
const SMALL_BUFFER: u32 = 16 * 1024;

/// How long both sides of a connection that is cut have for their own ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A proxy in front of one server, on a free port of this machine. Dropping it ends its connections.
///
/// Each proxy has one [`Plan`] for all its connections; start one for each client that is to fare differently.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
    accepting: JoinHandle<()>,
}

/// What the connections of a proxy share.
#[derive(Debug)]
struct Line {
    server: SocketAddr,
    plan: Plan,
    held: watch::Sender<bool>,
    is_refusing: AtomicBool,
    /// The end that all connections were told last.
    told: watch::Sender<Option<End>>,
    open: AtomicUsize,
    passed_up: AtomicU64,
    passed_down: AtomicU64,
}

impl Proxy {
    /// Starts it. What the plan leaves to chance is drawn from the seed, for each connection anew.
    ///
    /// # Errors
    ///
    /// There is no port to listen on.
    pub async fn start(server: SocketAddr, plan: Plan, seed: u64) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if plan.up.rate.is_some() {
            // Accepted connections have it from the listener.
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
        }
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(1024)?;
        let address = listener.local_addr()?;
        let line = Arc::new(Line {
            server,
            plan,
            held: watch::Sender::new(false),
            is_refusing: AtomicBool::new(false),
            told: watch::Sender::new(None),
            open: AtomicUsize::new(0),
            passed_up: AtomicU64::new(0),
            passed_down: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(Arc::clone(&line).accept(listener, Dice::new(seed)));
        Ok(Self {
            address,
            line,
            accepting,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections that there are, also those that were swallowed before.
    pub fn end_all(&self, end: End) {
        self.line.told.send_replace(Some(end));
    }

    /// From now on nothing goes through, on any connection: a network that has failed for a while. What is sent waits, ends
    /// included.
    pub fn hold(&self) {
        self.line.held.send_replace(true);
    }

    /// What was held goes on, and nothing of it is lost.
    pub fn release(&self) {
        self.line.held.send_replace(false);
    }

    /// Whether new connections are reset as they come. Those that there are stay.
    pub fn refuse(&self, is_refusing: bool) {
        self.line.is_refusing.store(is_refusing, Ordering::Relaxed);
    }

    /// How many connections there are, with those that were swallowed.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.line.open.load(Ordering::Relaxed)
    }

    /// How many bytes went through so far.
    #[must_use]
    pub fn passed(&self, way: Way) -> u64 {
        self.line.counter(way).load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections' tasks belong to this one.
        self.accepting.abort();
    }
}

impl Line {
    async fn accept(self: Arc<Self>, listener: TcpListener, mut dice: Dice) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((client, _)) if self.is_refusing.load(Ordering::Relaxed) => reset(&client),
                    Ok((client, _)) => {
                        let told = self.told.subscribe();
                        let line = Arc::clone(&self);
                        connections.spawn(line.carry(client, told, dice.seed()));
                    }
                    // No files are left, say; somebody may give one back.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// One connection, from its beginning to its end.
    async fn carry(
        self: Arc<Self>,
        mut client: TcpStream,
        mut told: watch::Receiver<Option<End>>,
        seed: u64,
    ) {
        let _open = Open::new(&self.open);
        let Ok(mut server) = self.connect().await else {
            return reset(&client);
        };
        for socket in [&client, &server] {
            // Pieces are pieces. Whoever is gone already is found to be when it is written to.
            let _ = socket.set_nodelay(true);
        }
        let mut dice = Dice::new(seed);
        let result = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let mut pump = |way, flow: &Flow, from, to| Pump {
                from,
                to,
                shaper: Shaper::new(flow.clone(), Dice::new(dice.seed()), Instant::now()),
                held: self.held.subscribe(),
                passed: self.counter(way),
                end: self
                    .plan
                    .end
                    .and_then(|(of, after, end)| (of == way).then_some((after, end))),
            };
            let up = pump(Way::Up, &self.plan.up, from_client, to_server);
            let down = pump(Way::Down, &self.plan.down, from_server, to_client);
            tokio::select! {
                biased;
                end = next_end(&mut told) => Err(end),
                result = async { tokio::try_join!(up.run(), down.run()) } => result,
            }
        };
        let Err(mut end) = result else { return };
        while end == End::BlackHole {
            end = next_end(&mut told).await;
        }
        match end {
            End::Cut => cut(client, server).await,
            End::Reset | End::BlackHole => {
                reset(&client);
                reset(&server);
            }
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = match self.server {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if self.plan.down.rate.is_some() {
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
        }
        socket.connect(self.server).await
    }

    const fn counter(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::Up => &self.passed_up,
            Way::Down => &self.passed_down,
        }
    }
}

/// The next end that the connection is told.
async fn next_end(told: &mut watch::Receiver<Option<End>>) -> End {
    loop {
        if told.changed().await.is_err() {
            // The proxy is gone, and this task is about to be.
            std::future::pending::<()>().await;
        }
        if let Some(end) = *told.borrow_and_update() {
            return end;
        }
    }
}

/// Makes the end of the socket, which is its drop, a reset.
fn reset(socket: &TcpStream) {
    // It may have ended by itself.
    let _ = socket.set_zero_linger();
}

/// Ends both sides with a FIN. What they send until they have seen it is read and dropped: a socket that is closed with
/// something unread ends with a reset.
async fn cut(client: TcpStream, server: TcpStream) {
    let end = async |mut socket: TcpStream| {
        // Whoever is gone needs no FIN.
        let _ = socket.shutdown().await;
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    };
    let both = async { tokio::join!(end(client), end(server)) };
    let _ = tokio::time::timeout(LAST_WORDS, both).await;
}

/// Counts a connection as open.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(open: &'a AtomicUsize) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
