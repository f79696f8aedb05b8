//! The server in its own process: an echo, rooms in which everybody hears everybody, and a feed. It answers each line of its
//! standard input with a [`Sample`], and ends with a drain at SIGTERM.

mod echo;
mod feed;
mod room;

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use dreamsocket::{
    BoxError, Broadcaster, Compression, Config, Hub, Prepared, Presence, Server, Topic,
};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;

use crate::ALLOCATOR;
use crate::sample::Sample;
use crate::served::room::Event;

/// What a socket holds for a peer that does not read. The system's own takes megabytes, so that nobody would ever be slow.
const SEND_BUFFER: u32 = 32 * 1024;

/// What all handlers share.
#[derive(Clone)]
struct App {
    counts: Arc<Counts>,
    rooms: Broadcaster<Event>,
    people: Presence<String, ()>,
    feed: Topic<Prepared>,
}

#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl App {
    fn note_begun(&self) {
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn note_ended(&self) {
        self.counts.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Shorter times and smaller bounds than the default ones, so that each of them is come to within a minute.
fn config() -> Config {
    Config::default()
        .with_compression(Compression::shared())
        .with_max_message(64 * 1024)
        .with_outbox(64 * 1024)
        .with_heartbeat(Some(Duration::from_secs(5)))
        .with_head_timeout(Duration::from_secs(5))
        .with_send_timeout(Duration::from_secs(5))
        .with_stall_timeout(Duration::from_secs(10))
        .with_close_time(Duration::from_secs(2))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::print_stdout,
    reason = "tells the address, and what there is to say at the end"
)]
pub(crate) async fn serve() -> Result<(), BoxError> {
    let app = App {
        counts: Arc::default(),
        rooms: Broadcaster::new(),
        people: Presence::new(),
        feed: Broadcaster::new().topic("feed"),
    };
    tokio::spawn(feed::publish(app.feed.clone()));
    let hub = Hub::new(config());
    let router = Router::new()
        .route("/echo", any(echo::echo))
        .route("/room", any(room::room))
        .route("/feed", any(feed::feed))
        .with_state(app.clone());
    let server = Server::new(router)
        .with_hub(hub.clone())
        .listen_on(listen()?)?;
    println!("listening on {}", server.local_addr());
    answer(Handle::current(), hub.clone(), Arc::clone(&app.counts));
    let report = server.run().await?;
    println!("{report}");
    println!("{:?}", hub.counts());
    Ok(())
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Accepted connections have it from the listener.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(1024)
}

/// Answers each line of the standard input, in a thread of its own. The process ends with its input.
#[expect(clippy::print_stdout, reason = "the answers")]
fn answer(runtime: Handle, hub: Hub, counts: Arc<Counts>) {
    std::thread::spawn(move || {
        for _ in io::stdin().lock().lines() {
            match sample(&runtime, &hub, &counts) {
                Ok(sample) => println!("sample: {sample}"),
                Err(error) => eprintln!("soak: no sample: {error}"),
            }
        }
        std::process::exit(1);
    });
}

fn sample(runtime: &Handle, hub: &Hub, counts: &Counts) -> io::Result<Sample> {
    let stats = ALLOCATOR.stats();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(Sample {
        resident: resident()?,
        heap: number(
            stats
                .bytes_allocated
                .saturating_sub(stats.bytes_deallocated),
        ),
        // One of them is the folder that is being read.
        files: number(std::fs::read_dir("/proc/self/fd")?.count()) - 1,
        tasks: number(runtime.metrics().num_alive_tasks()),
        connections: number(hub.connections()),
        opened: hub.counts().opened(),
        begun: counts.begun.load(Ordering::Relaxed),
        ended: counts.ended.load(Ordering::Relaxed),
    })
}

/// Resident memory of this process.
fn resident() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("/proc/self/status has no VmRSS"))
}
