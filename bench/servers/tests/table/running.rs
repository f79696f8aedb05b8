//! The table, and a server that runs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "some fields are for the runner")]
pub(crate) struct Server {
    pub(crate) name: String,
    command: String,
    version: String,
    #[serde(default)]
    pub(crate) deflate: bool,
    #[serde(default)]
    pub(crate) tls: bool,
    #[serde(default)]
    pub(crate) raw: bool,
    #[serde(default)]
    write_per_message: bool,
    #[serde(default)]
    rust: bool,
}

pub(crate) fn servers() -> Vec<Server> {
    #[derive(Deserialize)]
    struct Table {
        server: Vec<Server>,
    }
    let table: Table = toml::from_str(include_str!("../../servers.toml")).unwrap();
    table.server
}

/// The servers of WebSockets that `is_wanted`.
pub(crate) fn web_sockets_with(is_wanted: fn(&Server) -> bool) -> Vec<Server> {
    let servers = servers().into_iter();
    servers
        .filter(|server| !server.raw && is_wanted(server))
        .collect()
}

impl Server {
    /// The command, with a free port of this machine.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut words = self.command.split(' ');
        let program = words.next().unwrap();
        let program = match program.strip_prefix("target/release/") {
            Some(name) => built().join(name),
            None if program.contains('/') => bench.join(program),
            None => program.into(),
        };
        let mut command = Command::new(program);
        command
            .current_dir(bench)
            .args(words)
            .args(["--listen", "127.0.0.1:0"])
            .args(args);
        command
    }

    /// Starts it and waits until it says that it listens.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        // Shown if the test fails.
        println!("{} {args:?}", self.name);
        let mut command = self.command(args);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").map(str::trim_end);
        let address = address.map(str::to_owned);
        let running = Running {
            child,
            address: address.unwrap_or_default(),
        };
        assert!(!running.address.is_empty(), "{} said {line:?}", self.name);
        running
    }
}

/// Where this build's programs are, which is not `release` if the tests are built without it.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

pub(crate) struct Running {
    child: Child,
    pub(crate) address: String,
}

impl Running {
    /// Ends it with SIGTERM.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
