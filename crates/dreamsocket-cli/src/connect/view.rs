//! [`View`]: what is shown of what happens: for a person at a terminal, for the next program of a pipe, or as JSON.

use std::io::IsTerminal;
use std::time::Duration;

use dreamsocket::Closed;
use dreamsocket::client::{ConnectError, DeflateParams, Received, Socket, TlsInfo};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::input::{self, Line};
use super::output::Chunk;
use crate::args::ConnectArgs;
use crate::escape::{escape, escape_json, to_hex};
use crate::failure::explain;

/// What breaks a line of a message is followed by as much space as its first line has before it.
const INDENT: &str = "\n           ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Terminal,
    Pipe,
    Json,
}

pub(super) struct View {
    mode: Mode,
    /// Whether the standard output, and the standard error, take colours.
    has_colour: (bool, bool),
    /// Whether what is sent is not on the screen already.
    shows_sent: bool,
    writes_binary: bool,
    is_verbose: bool,
    is_quiet: bool,
    url: String,
    /// When the connection was made.
    since: Instant,
}

impl View {
    pub(super) fn new(args: &ConnectArgs) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let mode = if args.json {
            Mode::Json
        } else if is_terminal {
            Mode::Terminal
        } else {
            Mode::Pipe
        };
        Self {
            mode,
            has_colour: (
                is_terminal && !is_plain,
                std::io::stderr().is_terminal() && !is_plain,
            ),
            shows_sent: !input::is_terminal(),
            writes_binary: args.binary,
            is_verbose: args.verbose,
            is_quiet: args.quiet,
            url: args.target.url(),
            since: Instant::now(),
        }
    }

    /// A connection was made, which took this long.
    pub(super) fn opened(&mut self, socket: &Socket, took: Duration) -> Vec<Chunk> {
        self.since = Instant::now();
        let response = socket.response();
        let headers = response.headers().iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str(), value)
        });
        let address = socket.peer_addr().map(|address| address.to_string());
        if self.mode == Mode::Json {
            let mut map = Map::new();
            for (name, value) in headers {
                match map.get_mut(name) {
                    // A header that comes twice means a list.
                    Some(Value::String(earlier)) => earlier.extend([", ", &value]),
                    _ => {
                        map.insert(name.to_owned(), Value::String(value));
                    }
                }
            }
            return self.json(json!({
                "event": "open",
                "url": self.url,
                "address": address,
                "took": took.as_secs_f64(),
                "status": response.status().as_u16(),
                "headers": map,
                "subprotocol": socket.subprotocol(),
                "compression": socket.compression().map(deflate),
                "tls": socket.tls().map(tls_json),
            }));
        }
        let mut chunks = Vec::new();
        let address = address.map(|address| format!(" at {address}"));
        chunks.extend(self.note(&format!(
            "connected to {}{} in {}",
            self.url,
            address.unwrap_or_default(),
            milliseconds(took)
        )));
        if self.is_verbose {
            if let Some(tls) = socket.tls() {
                chunks.extend(self.note(&tls_line(tls)));
            }
            chunks.extend(self.note(&format!("status {}", response.status())));
            for (name, value) in headers {
                chunks.extend(self.note(&format!("{name}: {value}")));
            }
            let compression = socket.compression().map(deflate);
            let compression = compression.as_deref().unwrap_or("none");
            chunks.extend(self.note(&format!("compression: {compression}")));
        }
        chunks
    }

    pub(super) fn message(&self, message: &Received) -> Vec<Chunk> {
        let (kind, text) = match message {
            Received::Text(text) => ("text", text.as_str().to_owned()),
            Received::Binary(bytes) if self.mode == Mode::Pipe && self.writes_binary => {
                return vec![Chunk::Out(bytes.to_vec())];
            }
            Received::Binary(bytes) => ("binary", to_hex(bytes)),
            _ => return Vec::new(),
        };
        match self.mode {
            Mode::Pipe => vec![Chunk::Out((text + "\n").into_bytes())],
            Mode::Terminal => vec![self.line("<", kind, &text)],
            Mode::Json => {
                let name = if kind == "text" { "text" } else { "hex" };
                self.json(json!({ "event": "message", "kind": kind, name: text }))
            }
        }
    }

    pub(super) fn sent(&self, line: &Line) -> Vec<Chunk> {
        let (kind, bytes) = match line {
            Line::Text(text) => ("text", text.as_bytes()),
            Line::Binary(bytes) => ("binary", &**bytes),
        };
        match self.mode {
            Mode::Terminal if self.shows_sent => {
                let text = match line {
                    Line::Text(text) => text.clone(),
                    Line::Binary(bytes) => to_hex(bytes),
                };
                vec![self.line(">", kind, &text)]
            }
            Mode::Json => self.json(json!({ "event": "sent", "kind": kind, "bytes": bytes.len() })),
            _ => Vec::new(),
        }
    }

    pub(super) fn pong(&self, round_trip: Duration) -> Vec<Chunk> {
        if self.mode == Mode::Json {
            return self.json(json!({ "event": "pong", "round_trip": round_trip.as_secs_f64() }));
        }
        self.note(&format!("pong after {}", milliseconds(round_trip)))
    }

    /// A ping came, and was answered.
    pub(super) fn ping(&self, payload: &[u8]) -> Vec<Chunk> {
        if self.mode == Mode::Json {
            return self.json(json!({ "event": "ping", "hex": to_hex(payload) }));
        }
        if !self.is_verbose {
            return Vec::new();
        }
        self.note(&format!("ping, {} bytes", payload.len()))
    }

    pub(super) fn closed(&self, closed: &Closed) -> Vec<Chunk> {
        let code = u16::from(closed.code);
        if self.mode == Mode::Json {
            return self.json(json!({
                "event": "closed",
                "code": code,
                "reason": closed.reason.as_str(),
                "clean": closed.clean,
                "cause": closed.cause.to_string(),
            }));
        }
        let meaning = match code {
            1000 => " (normal)",
            1001 => " (going away)",
            1002 => " (protocol error)",
            1003 => " (unsupported data)",
            1005 => " (no code)",
            1006 => " (lost)",
            1007 => " (invalid data)",
            1008 => " (policy)",
            1009 => " (too big)",
            1011 => " (error)",
            1012 => " (restart)",
            1013 => " (try again later)",
            _ => "",
        };
        let reason = match closed.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        let is_clean = if closed.clean { "" } else { ", not cleanly" };
        self.note(&format!("closed with {code}{meaning}{is_clean}{reason}"))
    }

    pub(super) fn connects_again(&self, delay: Duration) -> Vec<Chunk> {
        if self.mode == Mode::Json {
            return self.json(json!({ "event": "reconnect", "delay": delay.as_secs_f64() }));
        }
        self.note(&format!("connecting again in {} s", delay.as_secs()))
    }

    pub(super) fn failed(&self, error: &ConnectError) -> Vec<Chunk> {
        let line = explain(error);
        if self.mode == Mode::Json {
            return self.json(json!({ "event": "failed", "error": line }));
        }
        self.note(&line)
    }

    /// A fact for whoever looks.
    pub(super) fn note(&self, text: &str) -> Vec<Chunk> {
        if self.is_quiet {
            return Vec::new();
        }
        let text = escape(text).replace('\n', INDENT);
        let line = format!("{:8.3} * {text}", self.since.elapsed().as_secs_f64());
        vec![Chunk::Err(match self.has_colour.1 {
            true => format!("\u{1b}[2m{line}\u{1b}[0m"),
            false => line,
        })]
    }

    /// A message for a person.
    fn line(&self, arrow: &str, kind: &str, text: &str) -> Chunk {
        let time = self.since.elapsed().as_secs_f64();
        let text = escape(text).replace('\n', INDENT);
        let kind = match kind {
            "binary" => "binary ",
            _ => "",
        };
        let line = match (self.has_colour.0, arrow) {
            (false, _) => format!("{time:8.3} {arrow} {kind}{text}\n"),
            (true, "<") => {
                format!("\u{1b}[2m{time:8.3}\u{1b}[0m \u{1b}[32m{arrow}\u{1b}[0m {kind}{text}\n")
            }
            (true, _) => {
                format!("\u{1b}[2m{time:8.3}\u{1b}[0m \u{1b}[34m{arrow}\u{1b}[0m {kind}{text}\n")
            }
        };
        Chunk::Out(line.into_bytes())
    }

    /// A line of JSON, with the seconds since connecting.
    fn json(&self, mut event: Value) -> Vec<Chunk> {
        event["time"] = self.since.elapsed().as_secs_f64().into();
        let line = event.to_string();
        let line = escape_json(&line) + "\n";
        vec![Chunk::Out(line.into_owned().into_bytes())]
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

/// As the parameters stand in `Sec-WebSocket-Extensions`.
fn deflate(params: DeflateParams) -> String {
    let mut text = "permessage-deflate".to_owned();
    if params.server_no_context_takeover {
        text.push_str("; server_no_context_takeover");
    }
    if params.client_no_context_takeover {
        text.push_str("; client_no_context_takeover");
    }
    let (server, client) = (params.server_max_window_bits, params.client_max_window_bits);
    text + &format!("; server_max_window_bits={server}; client_max_window_bits={client}")
}

fn tls_json(tls: &TlsInfo) -> Value {
    json!({
        "version": tls.protocol_version.and_then(|version| version.as_str()),
        "cipher_suite": tls.cipher_suite.and_then(|suite| suite.as_str()),
        "alpn": tls.alpn_protocol.as_deref().map(String::from_utf8_lossy),
        "certificates": tls.peer_certificates.len(),
    })
}

fn tls_line(tls: &TlsInfo) -> String {
    let version = tls.protocol_version.and_then(|version| version.as_str());
    let suite = tls.cipher_suite.and_then(|suite| suite.as_str());
    let alpn = tls.alpn_protocol.as_deref().map(String::from_utf8_lossy);
    format!(
        "{}, {}, ALPN {}, certificates: {}",
        version.unwrap_or("TLS"),
        suite.unwrap_or("unknown suite"),
        alpn.as_deref().unwrap_or("none"),
        tls.peer_certificates.len()
    )
}

#[cfg(test)]
mod tests {
    use dreamsocket::Cause;

    use super::*;

    fn view(mode: Mode, has_colour: bool) -> View {
        View {
            mode,
            has_colour: (has_colour, has_colour),
            shows_sent: true,
            writes_binary: false,
            is_verbose: false,
            is_quiet: false,
            url: "ws://localhost/".to_owned(),
            since: Instant::now(),
        }
    }

    /// What is written, with the time cut off.
    fn text(chunks: &[Chunk]) -> String {
        match chunks {
            [Chunk::Out(bytes)] => String::from_utf8(bytes.clone()).unwrap(),
            [Chunk::Err(line)] => line.clone(),
            _ => panic!("one chunk, not {chunks:?}"),
        }
    }

    #[test]
    fn a_terminal_obeys_nothing_that_a_peer_says() {
        let view = view(Mode::Terminal, false);
        let message = Received::Text("\u{1b}[2Jtwo\nlines".into());
        let shown = text(&view.message(&message));
        assert_eq!(&shown[8..], " < \\u{1b}[2Jtwo\n           lines\n");
        let shown = text(&view.message(&Received::Binary(vec![0, 255].into())));
        assert_eq!(&shown[8..], " < binary 00ff\n");
        let shown = text(&view.sent(&Line::Text("mine".to_owned())));
        assert_eq!(&shown[8..], " > mine\n");
        let closed = Closed::new(1011, "\u{1b}[31mno", true, Cause::Peer);
        let shown = text(&view.closed(&closed));
        assert_eq!(&shown[8..], " * closed with 1011 (error): \\u{1b}[31mno");
    }

    #[test]
    fn colours_are_for_terminals_and_a_pipe_gets_what_came() {
        let message = Received::Text("\u{1b}raw".into());
        let shown = text(&view(Mode::Terminal, true).message(&message));
        assert!(
            shown.ends_with("\u{1b}[32m<\u{1b}[0m \\u{1b}raw\n"),
            "{shown:?}"
        );
        let shown = text(&view(Mode::Pipe, false).message(&message));
        assert_eq!(shown, "\u{1b}raw\n");
        let shown = text(&view(Mode::Json, false).message(&message));
        assert!(shown.contains("\\u001braw"), "{shown}");
        let message = Received::Text("\u{9b}31m".into());
        let shown = text(&view(Mode::Json, false).message(&message));
        assert!(shown.contains("\\u009b31m"), "{shown}");
    }
}
