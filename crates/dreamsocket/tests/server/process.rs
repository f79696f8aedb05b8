//! A server in a process of its own, since a signal is for a whole process. A test starts itself again, by this variable.

use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::client::within;

const ROLE: &str = "DREAMSOCKET_TEST_SERVER";

/// A server in a process of its own.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) input: ChildStdin,
    pub(crate) output: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts the test of this name, `signals::one` say, which is to serve when it [`is_child`].
    pub(crate) fn start(test: &str) -> Self {
        Self::spawn(Command::new(std::env::current_exe().unwrap()), test)
    }

    /// The same with a limit of open files.
    pub(crate) fn start_with_files(limit: u32, test: &str) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap());
        Self::spawn(command, test)
    }

    fn spawn(mut command: Command, test: &str) -> Self {
        let mut child = command
            .args([test, "--exact", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "no address");
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.trim().parse().unwrap();
            }
        };
        Self {
            child,
            input,
            output,
            address,
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for an end with exit code 0, and for what it says then.
    pub(crate) async fn expect_end(self, report: &str) {
        let said = within(self.ended()).await;
        assert!(said.contains(report), "{said}");
    }

    /// What it says until its end, which is to be one with exit code 0.
    pub(crate) async fn ended(mut self) -> String {
        let waiting = tokio::task::spawn_blocking(move || {
            let mut said = String::new();
            self.output.read_to_string(&mut said).unwrap();
            (self.child.wait().unwrap(), said)
        });
        let (status, said) = waiting.await.unwrap();
        assert!(status.success(), "{status}: {said}");
        said
    }
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(ROLE).is_some()
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn in_parent(test: impl Future<Output = ()>) {
    test.await;
}
