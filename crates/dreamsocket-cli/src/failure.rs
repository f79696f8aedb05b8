//! [`Failure`]: why there is nothing to go on with, and the exit code that says so.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::{fmt, io};

use dreamsocket::client::ConnectError;

use crate::escape::escape;

/// The connection ended badly, or messages may be lost.
const ENDED_BADLY: u8 = 1;
const USAGE: u8 = 2;
const NO_CONNECTION: u8 = 3;
const NO_WEBSOCKET: u8 = 4;

/// Lines of a refusal's body that are shown at most.
const BODY_LINES: usize = 20;

/// Characters of each of them at most.
const BODY_COLUMNS: usize = 400;

#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense, or a file of it cannot be used.
    Usage(String),
    Connect(Box<ConnectError>),
    /// The connection ended badly, or something is lost.
    Ended(String),
    /// The standard output cannot be written.
    Output(io::Error),
}

impl Failure {
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => USAGE,
            Self::Connect(error) => code_of(error),
            Self::Ended(_) | Self::Output(_) => ENDED_BADLY,
        })
    }

    /// Tells it, even where little else is told.
    pub(crate) fn tell(&self) {
        let _ = writeln!(io::stderr(), "dreamsocket: {self}");
    }
}

/// Writes to the standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    written(output.write_all(bytes).and_then(|()| output.flush()))
}

/// What came of writing to the standard output. A reader that has seen enough is no failure.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Box::new(error))
    }
}

fn code_of(error: &ConnectError) -> u8 {
    match error {
        ConnectError::InvalidUrl(_)
        | ConnectError::Credentials
        | ConnectError::Fragment
        | ConnectError::InvalidRequest(_)
        | ConnectError::InvalidHeader
        | ConnectError::ReservedHeader { .. } => USAGE,
        ConnectError::Refused(_)
        | ConnectError::InvalidResponse(_)
        | ConnectError::HeadTooLarge { .. }
        | ConnectError::Http(_) => NO_WEBSOCKET,
        _ => NO_CONNECTION,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(line) | Self::Ended(line) => f.write_str(line),
            Self::Output(error) => write!(f, "the standard output cannot be written: {error}"),
            Self::Connect(error) => {
                f.write_str(&explain(error))?;
                if let ConnectError::Refused(refusal) = &**error {
                    if let Some(location) = refusal.location() {
                        write!(f, "\nit redirects to {}", escape(location))?;
                    }
                    let body = String::from_utf8_lossy(&refusal.body);
                    for line in body.lines().take(BODY_LINES) {
                        let line: String = line.chars().take(BODY_COLUMNS).collect();
                        write!(f, "\n  {}", escape(&line))?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// An error and what led to it, in one line.
pub(crate) fn explain(error: &ConnectError) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some errors say their source's line themselves.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    escape(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_error_moves_the_cursor() {
        let source = io::Error::other("\u{1b}[2Jgone");
        let line = Failure::from(ConnectError::Connect(source)).to_string();
        assert!(line.ends_with(": \\u{1b}[2Jgone"), "{line}");
    }
}
