//! [`Input`]: the standard input as lines, read by a thread of its own.

use std::io::{self, BufRead, IsTerminal, Read};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::BYTES;
use crate::args::ConnectArgs;
use crate::escape::from_hex;

/// How many lines are read before they are sent, and of how many bytes ([`BYTES`]), beside the one that is read.
const LINES: usize = 16;

/// How long a line that is on its way to us may take.
const NEXT: Duration = Duration::from_millis(200);

/// A message to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(String),
    Binary(Vec<u8>),
}

impl Line {
    const fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
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
    lines: mpsc::Receiver<(Result<Line, String>, OwnedSemaphorePermit)>,
    is_at_end: bool,
}

impl Input {
    /// The thread ends with the input, or with the program.
    pub(super) fn start(kind: LineKind, max_line: usize) -> Self {
        let (sender, lines) = mpsc::channel(LINES);
        let room = Arc::new(Semaphore::new(BYTES as usize));
        let runtime = Handle::current();
        thread::spawn(move || {
            read_lines(&mut io::stdin().lock(), kind, max_line, |line| {
                let bytes = line.as_ref().map_or(0, Line::len);
                // A longer one goes when it is the only one.
                let bytes = u32::try_from(bytes).map_or(BYTES, |bytes| bytes.min(BYTES));
                match runtime.block_on(Arc::clone(&room).acquire_many_owned(bytes)) {
                    Ok(room) => sender.blocking_send((line, room)).is_ok(),
                    Err(_) => false,
                }
            });
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
        let line = self.lines.recv().await.map(|(line, _)| line).transpose();
        self.is_at_end = matches!(line, Ok(None));
        line
    }

    /// Whether there is a line that nobody has sent. The reading thread may have to be waited for.
    pub(super) async fn has_more(&mut self) -> bool {
        let line = timeout(NEXT, self.lines.recv()).await;
        matches!(line, Ok(Some(_)))
    }
}

/// Whether a person types.
pub(super) fn is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Until the end of the input, until it cannot be read, or until nobody takes a line.
fn read_lines(
    input: &mut impl BufRead,
    kind: LineKind,
    max_line: usize,
    take: impl Fn(Result<Line, String>) -> bool,
) {
    for number in 1_u64.. {
        let named = |problem| format!("line {number} of the input: {problem}");
        let is_taken = match read_line(input, kind, max_line) {
            Ok(Some(line)) => take(line.map_err(named)),
            Ok(None) => return,
            Err(error) => {
                take(Err(named(format!("it cannot be read: {error}"))));
                return;
            }
        };
        if !is_taken {
            return;
        }
    }
}

/// Keeps no more than the line may have, and passes over the rest of one that is too long.
fn read_line(
    input: &mut impl BufRead,
    kind: LineKind,
    max_line: usize,
) -> io::Result<Option<Result<Line, String>>> {
    let mut bytes = Vec::new();
    // Room for the line break.
    let limit = u64::try_from(max_line)
        .unwrap_or(u64::MAX)
        .saturating_add(2);
    let mut limited = input.by_ref().take(limit);
    let count = limited.read_until(b'\n', &mut bytes)?;
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
        input.skip_until(b'\n')?;
    }
    if bytes.len() > max_line {
        let problem = format!("it has more than {max_line} bytes (--max-message)");
        return Ok(Some(Err(problem)));
    }
    Ok(Some(line_of(bytes, kind)))
}

fn line_of(bytes: Vec<u8>, kind: LineKind) -> Result<Line, String> {
    if matches!(kind, LineKind::Binary) {
        return Ok(Line::Binary(bytes));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| "it is not UTF-8; --binary sends any bytes".to_owned())?;
    if matches!(kind, LineKind::Text) {
        return Ok(Line::Text(text));
    }
    match from_hex(&text) {
        Some(bytes) => Ok(Line::Binary(bytes)),
        None => Err("it is not hexadecimal (--hex)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8], kind: LineKind) -> Vec<Result<Line, String>> {
        std::iter::from_fn(|| read_line(&mut input, kind, 4).unwrap()).collect()
    }

    /// A terminal that is gone.
    struct Gone;

    impl Read for Gone {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::Other.into())
        }
    }

    #[test]
    fn an_input_that_cannot_be_read_is_not_read_again() {
        let taken = std::cell::RefCell::new(Vec::new());
        let mut input = io::BufReader::new((&b"one\n"[..]).chain(Gone));
        read_lines(&mut input, LineKind::Text, 4, |line| {
            taken.borrow_mut().push(line);
            taken.borrow().len() < 10
        });
        let taken = taken.into_inner();
        assert_eq!((taken.len(), &taken[0]), (2, &text("one")));
        let problem = taken[1].as_ref().unwrap_err();
        assert!(problem.contains("line 2 of the input: it cannot be read"));
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
