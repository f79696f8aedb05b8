//! Getting a connection open: TCP, TLS if there is any, and the handshake of RFC 6455 §4, never blocking.

use std::io::{self, ErrorKind, Read as _, Write as _};

use anyhow::{Context as _, Result, bail, ensure};
use mio::{Registry, Token};

use super::Stream;
use crate::spec::Spec;

/// The key of RFC 6455 §1.3, and what a server makes of it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a connection is for: a path, or the first bytes with a raw server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Echo,
    Publisher,
    Subscriber { handled: bool },
    Member { room: u8 },
    Topic,
}

impl Role {
    fn path(self) -> String {
        match self {
            Self::Echo => "/echo".to_owned(),
            Self::Publisher => "/pub".to_owned(),
            Self::Subscriber { handled: false } => "/sub".to_owned(),
            Self::Subscriber { handled: true } => "/sub-handled".to_owned(),
            Self::Member { room } => format!("/chat/{room}"),
            Self::Topic => "/topic".to_owned(),
        }
    }

    fn raw(self) -> Vec<u8> {
        match self {
            Self::Echo => vec![b'e'],
            Self::Publisher => vec![b'p'],
            Self::Subscriber { .. } | Self::Topic => vec![b's'],
            Self::Member { room } => vec![b'c', room],
        }
    }
}

/// A connection on its way.
#[derive(Debug)]
pub struct Opening {
    stream: Stream,
    request: Vec<u8>,
    written: usize,
    /// What came of the answer; `None` if none is awaited.
    answer: Option<Vec<u8>>,
    compressed: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Waiting,
    Open,
}

impl Opening {
    pub(super) fn new(stream: Stream, role: Role, spec: &Spec) -> Self {
        let (request, answer) = if spec.raw {
            (role.raw(), None)
        } else {
            (request(role, spec), Some(Vec::new()))
        };
        Self {
            stream,
            request,
            written: 0,
            answer,
            compressed: spec.deflate,
        }
    }

    /// Says nothing once it is connected: a bare accept for the server.
    #[must_use]
    pub fn without_request(mut self) -> Self {
        self.request.clear();
        self.answer = None;
        self
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream.register(registry, token)
    }

    /// Does what can be done now.
    pub fn advance(&mut self, buffer: &mut [u8]) -> Result<Step> {
        if let Some(error) = self.stream.tcp().take_error()? {
            return Err(error).context("connecting");
        }
        if self.request.is_empty() {
            let connected = self.stream.tcp().peer_addr().is_ok();
            return Ok(if connected { Step::Open } else { Step::Waiting });
        }
        while self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if is_early(&error) => return Ok(Step::Waiting),
                Err(error) => return Err(error).context("sending the request"),
            }
        }
        let Some(answer) = &mut self.answer else {
            return Ok(Step::Open);
        };
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("closed after {:?}", String::from_utf8_lossy(answer)),
                Ok(length) => answer.extend(&buffer[..length]),
                Err(error) if is_early(&error) => return Ok(Step::Waiting),
                Err(error) => return Err(error).context("reading the answer"),
            }
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                ensure!(end + 4 == answer.len(), "something came before its time");
                check_answer(&String::from_utf8_lossy(answer), self.compressed)?;
                return Ok(Step::Open);
            }
        }
    }

    #[must_use]
    pub fn into_stream(self) -> Stream {
        self.stream
    }
}

fn is_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    )
}

fn request(role: Role, spec: &Spec) -> Vec<u8> {
    let extension = if spec.deflate {
        "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; \
         server_no_context_takeover\r\n"
    } else {
        ""
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extension}\r\n",
        path = role.path(),
        address = spec.address,
    )
    .into_bytes()
}

/// RFC 6455 §4.2.2, and RFC 7692 §7 when compression was asked for.
fn check_answer(answer: &str, compressed: bool) -> Result<()> {
    let status = answer.lines().next().unwrap_or_default();
    ensure!(status.starts_with("HTTP/1.1 101"), "answered {status:?}");
    let value = |name: &str| {
        answer.split("\r\n").skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    ensure!(
        value("Sec-WebSocket-Accept") == Some(ACCEPT),
        "the wrong key came back"
    );
    let extensions = value("Sec-WebSocket-Extensions").unwrap_or_default();
    ensure!(
        extensions.starts_with("permessage-deflate") == compressed,
        "the extensions are {extensions:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_checked() {
        let plain = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: {ACCEPT}\r\n\r\n"
        );
        let deflate = plain.replace(
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n",
        );
        assert!(check_answer(&plain, false).is_ok());
        assert!(check_answer(&plain, true).is_err());
        assert!(check_answer(&deflate, true).is_ok());
        assert!(check_answer(&deflate, false).is_err());
        assert!(check_answer(&plain.replace("101", "400"), false).is_err());
        assert!(check_answer(&plain.replace("s3p", "s4p"), false).is_err());
    }
}
