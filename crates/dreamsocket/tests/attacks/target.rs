//! A server under attack, in a process of its own: an attack with its bystander, and what is asserted of every one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use dreamsocket::rustls::pki_types::{CertificateDer, ServerName};
use dreamsocket::rustls::{ClientConfig, RootCertStore};
use dreamsocket::{Config, Tls};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, watch};
use tokio_rustls::TlsConnector;

use crate::budget::budget;
use crate::peer::{Io, Peer, TEXT, within};
use crate::served::serve;

/// Says to the test's own executable that it is the server; with TLS its value is a certificate and a key.
const ROLE: &str = "DREAMSOCKET_ATTACKED";

/// How many echoes the bystander wants, and how many it has under way at once.
const ECHOES: u32 = 1000;
const AT_ONCE: u32 = 20;

/// An attack on a server with this configuration.
pub(crate) struct Attack {
    config: Config,
    allowance: usize,
    with_tls: bool,
}

impl Attack {
    /// The server may grow by what one connection costs at its worst. The bystander's is counted before.
    pub(crate) fn on(config: Config) -> Self {
        let allowance = budget(&config, 1);
        Self {
            config,
            allowance,
            with_tls: false,
        }
    }

    /// The server may grow by so many bytes.
    pub(crate) fn within_memory(self, allowance: usize) -> Self {
        Self { allowance, ..self }
    }

    pub(crate) fn with_tls(self) -> Self {
        Self {
            with_tls: true,
            ..self
        }
    }

    /// Runs the attack beside a bystander, and holds the server to its memory. `attack` is a closure that the test function
    /// writes out, since the test's name is taken from its type.
    pub(crate) fn run<A: AsyncFnOnce(&Target)>(self, attack: A) {
        if let Some(identity) = std::env::var_os(ROLE) {
            let identity = identity.into_string().unwrap();
            let tls = self
                .with_tls
                .then(|| Tls::from_pem(identity.as_bytes(), identity.as_bytes()).unwrap());
            return serve(self.config, tls);
        }
        let name = std::any::type_name::<A>();
        let (_, name) = name.split_once("::").unwrap();
        let (name, _) = name.split_once("::{{closure}}").unwrap();
        self.run_from(name, attack);
    }

    #[tokio::main(flavor = "current_thread")]
    async fn run_from(self, name: &str, attack: impl AsyncFnOnce(&Target)) {
        let target = Target::start(name, self.with_tls).await;
        let mut bystander = Peer::new(target.connect_safely().await);
        bystander.upgrade("/").await;
        bystander.echo("warm").await;
        let before = target.report().await["resident"];
        let attacked = async {
            attack(&target).await;
            within(target.is_calm.subscribe().wait_for(|is_calm| *is_calm))
                .await
                .unwrap();
        };
        tokio::select! {
            () = attacked => {}
            () = stand_by(&mut bystander, &target.is_calm) => panic!("the bystander was cut off"),
        }
        let report = target.report().await;
        let grown = usize::try_from(report["peak"].saturating_sub(before)).unwrap();
        println!("{name}: {} of {} KiB", grown / 1024, self.allowance / 1024);
        assert!(
            grown <= self.allowance,
            "{grown} bytes more, {} allowed",
            self.allowance
        );
        bystander.echo("at the end").await;
    }
}

/// The bystander: every echo comes, in order. Then it stays, as long as the server lets it.
async fn stand_by(peer: &mut Peer<Box<dyn Io>>, is_calm: &watch::Sender<bool>) {
    for first in (0..ECHOES).step_by(AT_ONCE as usize) {
        let numbers = first..first + AT_ONCE;
        for number in numbers.clone() {
            peer.send(TEXT, number.to_string().as_bytes()).await;
        }
        for number in numbers {
            peer.expect_text(&number.to_string()).await;
        }
    }
    is_calm.send_replace(true);
    peer.answer_pings().await;
}

/// The server that is attacked.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    certificate: Option<CertificateDer<'static>>,
    /// Whether the bystander has had all its echoes.
    is_calm: watch::Sender<bool>,
    process: Mutex<Process>,
}

struct Process {
    /// Ends with this.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Target {
    async fn start(name: &str, with_tls: bool) -> Self {
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = identity.cert.pem() + &identity.signing_key.serialize_pem();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(ROLE, pem)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut process = Process {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
        };
        let address = process.said("listening on ").await.trim().parse().unwrap();
        Self {
            address,
            certificate: with_tls.then(|| identity.cert.der().clone()),
            is_calm: watch::Sender::new(false),
            process: Mutex::new(process),
        }
    }

    /// Whether an attack that lasts may end, since the bystander has had all its echoes.
    pub(crate) fn is_calm(&self) -> bool {
        *self.is_calm.borrow()
    }

    /// A WebSocket.
    pub(crate) async fn open(&self) -> Peer {
        let mut peer = self.connect().await;
        peer.upgrade("/").await;
        peer
    }

    /// A connection as the system makes it.
    pub(crate) async fn connect(&self) -> Peer {
        Peer::new(within(TcpStream::connect(self.address)).await.unwrap())
    }

    /// A connection as an honest client makes it: with TLS if that is what the server speaks.
    async fn connect_safely(&self) -> Box<dyn Io> {
        let io = within(TcpStream::connect(self.address)).await.unwrap();
        let Some(certificate) = &self.certificate else {
            return Box::new(io);
        };
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(dreamsocket::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, io);
        Box::new(within(connecting).await.unwrap())
    }

    /// What the server has counted.
    pub(crate) async fn report(&self) -> BTreeMap<String, u64> {
        let mut process = self.process.lock().await;
        process.input.write_all(b"\n").await.unwrap();
        let report = process.said("report:").await;
        let entries = report.split_terminator(';');
        entries
            .map(|entry| {
                let (name, count) = entry.split_once('=').unwrap();
                (name.to_owned(), count.parse().unwrap())
            })
            .collect()
    }

    /// Waits until connections have ended, been refused or failed as often as is said here, and in no other way.
    pub(crate) async fn expect(&self, expected: &[(&str, u64)]) {
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        let mut seen = BTreeMap::new();
        for _ in 0..300 {
            seen = self.report().await;
            for other in ["opened", "resident", "peak"] {
                seen.remove(other);
            }
            if seen == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("counted {seen:?}, not {expected:?}");
    }
}

impl Process {
    /// What comes after this in the next line that has it.
    async fn said(&mut self, prefix: &str) -> String {
        loop {
            let line = within(self.output.next_line()).await.unwrap();
            let line = line.expect("the server's process has ended");
            if let Some((_, said)) = line.split_once(prefix) {
                return said.to_owned();
            }
        }
    }
}
