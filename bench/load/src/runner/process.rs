//! Starting and stopping: a server on one core, the load generator on another, each ended by its own id.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::Places;
use super::rows::Configuration;
use super::servers::Server;
use crate::meter::Meter;
use crate::spec::{Report, Spec};

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// Until a server says that it listens; callgrind makes it slow.
const START: Duration = Duration::from_secs(30);
/// Until a server that was told to end is killed.
const STOP: Duration = Duration::from_secs(2);
/// What a server ends with when it does not know a flag.
const UNSUPPORTED: i32 = 2;
/// Below the ports that connections get by themselves.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

/// A certificate that is made for the run.
#[derive(Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    pub fn make(folder: &Path) -> Result<Self> {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        let files = Self {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        };
        fs::write(&files.certificate, made.cert.pem())?;
        fs::write(&files.key, made.signing_key.serialize_pem())?;
        Ok(files)
    }
}

/// What became of a start.
#[derive(Debug)]
pub enum Started {
    Ready(Running),
    /// The server cannot do this.
    Unsupported,
}

/// A server that listens. It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    address: SocketAddr,
    errors: PathBuf,
}

impl Running {
    pub fn start(
        places: &Places,
        server: &Server,
        configuration: Configuration,
        certificate: &Certificate,
    ) -> Result<Started> {
        let mut arguments = Vec::new();
        // For raw TCP, compressed messages are bytes like any others.
        if configuration.deflate && !server.raw {
            arguments.push("--deflate".into());
        }
        if configuration.tls {
            arguments.push("--tls-cert".into());
            arguments.push(certificate.certificate.clone().into_os_string());
            arguments.push("--tls-key".into());
            arguments.push(certificate.key.clone().into_os_string());
        }
        let mut command = pinned(SERVER_CORE);
        command.args(server.command.split_whitespace());
        Self::start_command(places, &server.name, command, &arguments)
    }

    /// `command` without its flags, which is how a server under callgrind is started, too.
    pub fn start_command(
        places: &Places,
        name: &str,
        mut command: Command,
        arguments: &[std::ffi::OsString],
    ) -> Result<Started> {
        let address = free_address()?;
        let errors = places.scratch.join(format!("{name}.stderr"));
        command
            .current_dir(&places.bench)
            .arg("--listen")
            .arg(address.to_string())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?);
        let child = command
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let mut running = Self {
            child,
            address,
            errors,
        };
        let ready = running.wait_until_ready();
        if let Some(status) = running.child.try_wait()? {
            if status.code() == Some(UNSUPPORTED) {
                return Ok(Started::Unsupported);
            }
            bail!("{name} ended with {status}{}", running.last_words());
        }
        ready.with_context(|| format!("{name} does not say that it listens"))?;
        Ok(Started::Ready(running))
    }

    /// Reads what the server prints, in a thread of its own that also takes what comes later.
    fn wait_until_ready(&mut self) -> Result<()> {
        let stdout = self.child.stdout.take().context("stdout is a pipe")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.starts_with("listening on ") {
                    // Nobody waits any more once it came too late.
                    let _ = sender.send(());
                }
            }
        });
        let answer = receiver.recv_timeout(START);
        if answer.is_err() {
            // It has closed its output, and so is about to end.
            std::thread::sleep(Duration::from_millis(100));
        }
        answer.map_err(Into::into)
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says whether the server comes to rest in that time, so that it does not disturb the next.
    #[must_use]
    pub fn settle(&self, at_most: Duration) -> bool {
        matches!(Meter::new(self.pid()).settle(at_most), Ok(true))
    }

    /// The last line of what it said to stderr, for a failure's reason.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.errors).unwrap_or_default();
        match text.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("; it said: {}", line.chars().take(200).collect::<String>()),
            None => String::new(),
        }
    }

    /// Ends it and waits for that; all it said to stderr.
    pub fn stop(&mut self) -> Result<String> {
        if self.child.try_wait()?.is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, Signal::TERM)?;
            let end = Instant::now() + STOP;
            while self.child.try_wait()?.is_none() {
                if Instant::now() > end {
                    self.child.kill()?;
                    self.child.wait()?;
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(fs::read_to_string(&self.errors)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.stop();
    }
}

/// A command that runs on one core, if there are two.
fn pinned(core: usize) -> Command {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Command::new("env");
    }
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string());
    command
}

/// A port that nobody has, and that no connection gets by itself.
fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..PORTS {
        let port = FIRST_PORT + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free")
}

/// Makes one measurement, with a load generator of its own.
pub fn load(places: &Places, spec: &Spec, estimate: f64) -> Result<Report> {
    let mut child = pinned(LOAD_CORE)
        .arg(&places.load)
        .arg(serde_json::to_string(spec)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting the load generator")?;
    // A server may be ten times slower than ours, and there is patience for silence besides.
    let end = Instant::now() + Duration::from_secs_f64(estimate * 10.0 + 30.0);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!("the measurement did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let (mut output, mut errors) = (String::new(), String::new());
    if let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) {
        stdout.read_to_string(&mut output)?;
        stderr.read_to_string(&mut errors)?;
    }
    if !status.success() {
        bail!("{}", errors.trim());
    }
    serde_json::from_str(&output).context("the load generator said something else")
}
