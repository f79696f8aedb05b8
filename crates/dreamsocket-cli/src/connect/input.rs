//! [`Input`]: the standard input as lines, read by a thread of its own.

use std::io::{BufRead, IsTerminal, Read};
use std::thread;

use tokio::sync::mpsc;

use crate::args::ConnectArgs;
use crate::escape::from_hex;

/// How many lines are read before they are sent.
const LINES: usize = 16;

/// A message to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(String),
    Binary(Vec<u8>),
}

/// What a line means.
#[derive(Debug, Clone, Copy)]
pub(super) enum LineKind {
    Text,
    Binary,
    Hex,
}

impl LineKind {
    pub(super) const fn of(args: &ConnectArgs) -> Self {
        if args.binary {
            Self::Binary
        } else if args.hex {
            Self::Hex
        } else {
            Self::Text
        }
    }
}

pub(super) struct Input {
    lines: mpsc::Receiver<Result<Line, String>>,
    is_at_end: bool,
}

impl Input {
    /// The thread ends with the input, or with the program.
    pub(super) fn start(kind: LineKind, max_line: usize) -> Self {
        let (sender, lines) = mpsc::channel(LINES);
        thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            let mut number = 0_u64;
            loop {
                number += 1;
                let line = match read_line(&mut input, kind, max_line) {
                    Ok(Some(line)) => Ok(line),
                    Ok(None) => return,
                    Err(problem) => Err(format!("line {number} of the input: {problem}")),
                };
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            lines,
            is_at_end: false,
        }
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// The next line, or none at the end. May be dropped and nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, String> {
        let line = self.lines.recv().await.transpose();
        self.is_at_end = matches!(line, Ok(None));
        line
    }

    /// Whether a line was read that nobody has sent.
    pub(super) fn has_more(&mut self) -> bool {
        self.lines.try_recv().is_ok()
    }
}

/// Whether a person types.
pub(super) fn is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Keeps no more than the line may have, and passes over the rest of one that is too long.
fn read_line(
    input: &mut impl BufRead,
    kind: LineKind,
    max_line: usize,
) -> Result<Option<Line>, String> {
    let failed = |error: std::io::Error| format!("it cannot be read: {error}");
    let mut bytes = Vec::new();
    // Room for the line break.
    let limit = u64::try_from(max_line)
        .unwrap_or(u64::MAX)
        .saturating_add(2);
    let mut limited = input.by_ref().take(limit);
    let count = limited.read_until(b'\n', &mut bytes).map_err(failed)?;
    if count == 0 {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        // Of a binary message it may be a part.
        if bytes.last() == Some(&b'\r') && !matches!(kind, LineKind::Binary) {
            bytes.pop();
        }
    } else if limited.limit() == 0 {
        input.skip_until(b'\n').map_err(failed)?;
    }
    if bytes.len() > max_line {
        return Err(format!("it has more than {max_line} bytes (--max-message)"));
    }
    match kind {
        LineKind::Binary => Ok(Some(Line::Binary(bytes))),
        LineKind::Text | LineKind::Hex => {
            let text = String::from_utf8(bytes)
                .map_err(|_| "it is not UTF-8; --binary sends any bytes".to_owned())?;
            if matches!(kind, LineKind::Text) {
                return Ok(Some(Line::Text(text)));
            }
            match from_hex(&text) {
                Some(bytes) => Ok(Some(Line::Binary(bytes))),
                None => Err("it is not hexadecimal (--hex)".to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8], kind: LineKind) -> Vec<Result<Line, String>> {
        std::iter::from_fn(|| read_line(&mut input, kind, 4).transpose()).collect()
    }

    fn text(text: &str) -> Result<Line, String> {
        Ok(Line::Text(text.to_owned()))
    }

    #[test]
    fn a_line_is_a_message_whatever_ends_it() {
        let read = lines(b"one\n\ntwo\r\nfour\r\nend", LineKind::Text);
        let expected = ["one", "", "two", "four", "end"].map(text);
        assert_eq!(read, expected);
        let read = lines(b"a\r\n\xff", LineKind::Binary);
        let expected = [b"a\r".to_vec(), vec![0xff]].map(|bytes| Ok(Line::Binary(bytes)));
        assert_eq!(read, expected);
        let read = lines(b"0aff\n", LineKind::Hex);
        assert_eq!(read, [Ok(Line::Binary(vec![0x0a, 0xff]))]);
    }

    #[test]
    fn a_line_that_is_none_does_not_spoil_the_next() {
        let read = lines(b"much too long\n\xff\nok\nlonge", LineKind::Text);
        assert!(
            read[0].is_err() && read[1].is_err() && read[3].is_err(),
            "{read:?}"
        );
        assert_eq!(read[2], text("ok"));
        assert_eq!(read.len(), 4);
        assert!(lines(b"xy\n", LineKind::Hex)[0].is_err());
    }
}
