//! Real NATS and Redis servers, from Debian's packages (`scripts/setup`), for tests: each on a free port of the loopback
//! address, with a folder of its own, and ended when it is dropped. Everything here panics when it fails: then so does the test.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time;

/// A server that can be killed and started again on the same port.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    folder: PathBuf,
    program: &'static str,
    arguments: Vec<String>,
    running: Mutex<Option<Child>>,
}

/// A NATS server.
#[derive(Debug)]
pub struct Nats(Server);

/// A Redis server that writes nothing to disk.
#[derive(Debug)]
pub struct Redis(Server);

impl Server {
    async fn start(
        program: &'static str,
        arguments: impl FnOnce(SocketAddr, &str) -> Vec<String>,
    ) -> Self {
        let address = free_address();
        let name = format!("dreamsocket-{}-{}", std::process::id(), address.port());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let arguments = arguments(address, folder.to_str().unwrap());
        let server = Self {
            address,
            folder,
            program,
            arguments,
            running: Mutex::new(None),
        };
        server.run().await;
        server
    }

    async fn run(&self) {
        let child = Command::new(self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            // Debian has servers where only root looks.
            .env(
                "PATH",
                format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!(
                "{} did not start ({error}); scripts/setup installs it",
                self.program
            )
        });
        *self.running.lock().unwrap() = Some(child);
        for _ in 0..500 {
            if TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} does not listen", self.program);
    }

    fn kill(&self) {
        if let Some(mut child) = self.running.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Somebody else may take it before the server does; then the test fails by its start.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Nats {
    /// As it is without arguments.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// With more arguments, where `PORT` stands for its port and `FOLDER` for its folder.
    pub async fn start_with(more: &str) -> Self {
        let arguments = |address: SocketAddr, folder: &str| {
            let arguments = format!("-a 127.0.0.1 -p PORT -P {folder}/pid {more}");
            let arguments = arguments.replace("FOLDER", folder);
            words(&arguments.replace("PORT", &address.port().to_string()))
        };
        Self(Server::start("nats-server", arguments).await)
    }

    /// With JetStream, as presence needs it.
    pub async fn start_with_jetstream() -> Self {
        Self::start_with("-js -sd FOLDER").await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.0.address)
    }

    /// Has a JetStream stream refuse whatever is published to it from now on, for good.
    pub async fn seal_stream(&self, name: &str) {
        self.configure_stream(name, "sealed", true).await;
    }

    /// Sets a field of a JetStream stream's configuration.
    pub async fn configure_stream(
        &self,
        name: &str,
        field: &str,
        value: impl Into<serde_json::Value>,
    ) {
        let client = async_nats::connect(self.url()).await.unwrap();
        let ask = async |what: &str, payload: String| {
            let subject = format!("$JS.API.STREAM.{what}.{name}");
            let answer = client.request(subject, payload.into()).await.unwrap();
            serde_json::from_slice::<serde_json::Value>(&answer.payload).unwrap()
        };
        let mut config = ask("INFO", String::new()).await["config"].take();
        config[field] = value.into();
        let answer = ask("UPDATE", config.to_string()).await;
        assert!(answer["error"].is_null(), "{answer}");
    }

    /// Deletes a JetStream stream with all that is in it.
    pub async fn delete_stream(&self, name: &str) {
        let client = async_nats::connect(self.url()).await.unwrap();
        let subject = format!("$JS.API.STREAM.DELETE.{name}");
        client.request(subject, "".into()).await.unwrap();
    }

    /// Kills it, and starts it again with nothing that it knew.
    pub async fn restart(&self) {
        self.restart_after(Duration::ZERO).await;
    }

    /// The same, with a pause in between.
    pub async fn restart_after(&self, pause: Duration) {
        self.0.kill();
        time::sleep(pause).await;
        self.0.run().await;
    }
}

impl Redis {
    /// As it is without arguments.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// With more arguments, where `PORT` stands for its port and `FOLDER` for its folder.
    pub async fn start_with(more: &str) -> Self {
        let arguments = |address: SocketAddr, folder: &str| {
            let arguments = format!("--bind 127.0.0.1 --port PORT --dir {folder} {more}");
            words(&arguments.replace("PORT", &address.port().to_string()))
        };
        // In memory only, whatever its defaults.
        let in_memory = |address: SocketAddr, folder: &str| {
            let mut arguments: Vec<String> = arguments(address, folder);
            arguments.extend(["--save", "", "--appendonly", "no"].map(str::to_owned));
            arguments
        };
        Self(Server::start("redis-server", in_memory).await)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.0.address)
    }

    /// Sets an option of the running server.
    pub async fn configure(&self, name: &str, value: &str) {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg(name).arg(value);
        command
            .exec_async(&mut self.connection().await)
            .await
            .unwrap();
    }

    /// Deletes all that is in it.
    pub async fn flush(&self) {
        let mut connection = self.connection().await;
        let flushed = redis::cmd("FLUSHALL").exec_async(&mut connection).await;
        flushed.unwrap();
    }

    /// What a command gives.
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        let asked = command.query_async(&mut self.connection().await).await;
        asked.unwrap()
    }

    /// The channels that somebody is subscribed to, by a pattern.
    pub async fn channels(&self, pattern: &str) -> Vec<String> {
        let mut command = redis::cmd("PUBSUB");
        command.arg("CHANNELS").arg(pattern);
        let channels = command.query_async(&mut self.connection().await).await;
        let mut channels: Vec<String> = channels.unwrap();
        channels.sort();
        channels
    }

    async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Kills it, and starts it again with nothing that it knew.
    pub async fn restart(&self) {
        self.restart_after(Duration::ZERO).await;
    }

    /// The same, with a pause in between.
    pub async fn restart_after(&self, pause: Duration) {
        self.0.kill();
        time::sleep(pause).await;
        self.0.run().await;
    }
}
