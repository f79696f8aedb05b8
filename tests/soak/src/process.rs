//! The server's process, from the outside.

use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use dreamsocket::BoxError;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::sample::Sample;

/// Makes a hang a failure. Long, since a busy machine is no bug.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this program again, as the server.
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let mut output = BufReader::new(output).lines();
        let address = said(&mut output, "listening on ").await?.parse()?;
        Ok(Self {
            address,
            child,
            input,
            output,
        })
    }

    pub(crate) async fn sample(&mut self) -> Result<Sample, BoxError> {
        self.input.write_all(b"\n").await?;
        Ok(said(&mut self.output, "sample: ").await?.parse()?)
    }

    /// Tells it to end; how it ended, and what it said meanwhile.
    pub(crate) async fn terminate(mut self) -> Result<(ExitStatus, Vec<String>), BoxError> {
        let id = self.child.id().ok_or("the server has ended before")?;
        let mut kill = Command::new("kill");
        if !kill
            .args(["-TERM", &id.to_string()])
            .status()
            .await?
            .success()
        {
            return Err("the server cannot be told to end".into());
        }
        let mut lines = Vec::new();
        while let Some(line) = timeout(PATIENCE, self.output.next_line()).await?? {
            lines.push(line);
        }
        Ok((timeout(PATIENCE, self.child.wait()).await??, lines))
    }
}

/// What comes after this in the next line that begins with it.
async fn said(
    output: &mut Lines<BufReader<ChildStdout>>,
    prefix: &str,
) -> Result<String, BoxError> {
    loop {
        let line = timeout(PATIENCE, output.next_line()).await??;
        let line = line.ok_or_else(|| io::Error::other("the server's process has ended"))?;
        if let Some(said) = line.strip_prefix(prefix) {
            return Ok(said.to_owned());
        }
    }
}
