//! Runs the command.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// What a run has left behind.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, out: &str) {
        let told = (self.code, &*self.out);
        assert_eq!(told, (Some(code), out), "{}", self.err);
    }

    /// The lines of the output as JSON.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dreamsocket"));
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it with this input, to its end.
pub(crate) async fn run(arguments: &[&str], input: &[u8]) -> Done {
    let mut child = command(arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read everything.
    tokio::spawn(async move { stdin.write_all(&input).await });
    finish(child).await
}

pub(crate) async fn finish(child: Child) -> Done {
    let output = within(child.wait_with_output()).await.unwrap();
    Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What Ctrl-C does.
#[cfg(unix)]
pub(crate) async fn interrupt(child: &Child) {
    let id = child.id().unwrap().to_string();
    let kill = Command::new("kill").args(["-INT", &id]).status();
    assert!(within(kill).await.unwrap().success());
}

/// Makes a hang a failure. Long, since a busy machine is no bug.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(output) => output,
        Err(_) => panic!("still waiting after a minute"),
    }
}
