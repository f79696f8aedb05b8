//! A server in a process of its own, so that what is counted is the server's alone.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::served::serve;

/// Says to the test's own executable that it is the server.
const ROLE: &str = "DREAMSOCKET_BUDGETED";

/// What a server has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    /// WebSockets that there are.
    pub(crate) connections: usize,
    /// Bytes that are allocated now.
    pub(crate) live: usize,
    /// How often memory was allocated so far, or allocated anew in another size.
    pub(crate) allocations: usize,
}

pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Runs a test against a server that counts. `test` is a closure that the test function writes out, since the test's
    /// name is taken from its type.
    pub(crate) fn run<F: FnOnce(&mut Self)>(test: F) {
        if std::env::var_os(ROLE).is_some() {
            return serve();
        }
        let name = std::any::type_name::<F>();
        let (_, name) = name.split_once("::").unwrap();
        let (name, _) = name.split_once("::{{closure}}").unwrap();
        test(&mut Self::start(name));
    }

    fn start(name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = said(&mut output, "listening on ").trim().parse().unwrap();
        Self {
            address,
            child,
            input,
            output,
        }
    }

    /// What is counted once there are so many WebSockets and all of them are at rest.
    pub(crate) fn at_rest(&mut self, connections: usize) -> Report {
        let mut before = None;
        for _ in 0..300 {
            let report = self.report();
            // A look allocates nothing, so nothing has happened between two that are the same.
            if report.connections == connections && before == Some(report) {
                return report;
            }
            if before.replace(report) == Some(report) {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        panic!("not at rest with {connections} connections: {before:?}");
    }

    fn report(&mut self) -> Report {
        self.input.write_all(b"\n").unwrap();
        let report = said(&mut self.output, "report: ");
        let mut numbers = report
            .split_whitespace()
            .map(|number| number.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        Report {
            connections: next(),
            live: next(),
            allocations: next(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What comes after this in the next line that has it.
fn said(output: &mut Lines<BufReader<ChildStdout>>, prefix: &str) -> String {
    loop {
        let line = output.next().expect("the server's process has ended");
        if let Some((_, said)) = line.unwrap().split_once(prefix) {
            return said.to_owned();
        }
    }
}
