//! What went over the connection, for the message of a test that fails.

use std::fmt;

use tokio::time::Instant;

/// How many bytes of a payload are shown.
const SHOWN: usize = 48;

/// How many of the last lines are shown.
const LINES: usize = 100;

#[derive(Debug)]
pub(super) struct Transcript {
    begin: Instant,
    lines: Vec<String>,
}

impl Transcript {
    pub(super) fn new() -> Self {
        Self {
            begin: Instant::now(),
            lines: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, what: impl fmt::Display) {
        let at = self.begin.elapsed().as_secs_f64();
        self.lines.push(format!("{at:>9.3} s  {what}"));
    }

    pub(super) fn note_sent(&mut self, kind: &str, payload: &[u8]) {
        self.note(format_args!("client  -> {kind} {}", Shortened(payload)));
    }

    pub(super) fn note_received(&mut self, kind: &str, payload: &[u8]) {
        self.note(format_args!("session -> {kind} {}", Shortened(payload)));
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.lines.len().saturating_sub(LINES);
        if hidden > 0 {
            writeln!(f, "  … {hidden} earlier lines")?;
        }
        for line in self.lines.iter().skip(hidden) {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// A payload as text if it is, else in hexadecimal, of which the beginning is shown.
pub(super) struct Shortened<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.len();
        if let Some(text) = readable(self.0) {
            write!(f, "{:?}", &text[..text.floor_char_boundary(SHOWN)])?;
        } else {
            for byte in self.0.iter().take(SHOWN / 2) {
                write!(f, "{byte:02x}")?;
            }
        }
        if length > SHOWN {
            write!(f, "… ({length} bytes)")?;
        }
        Ok(())
    }
}

/// Numbers in a ping are UTF-8, too, and no text.
fn readable(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    let is_text = |character: char| !character.is_control() || character.is_whitespace();
    text.chars().all(is_text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn long_payloads_and_long_stories_are_shortened() {
        let mut transcript = Transcript::new();
        transcript.note_sent("text", "é".repeat(100).as_bytes());
        transcript.note_received("binary", &[0xff; 100]);
        let shown = transcript.to_string();
        assert!(shown.contains("… (200 bytes)"), "{shown}");
        assert!(shown.contains(&"ff".repeat(24)), "{shown}");
        assert!(!shown.contains(&"ff".repeat(25)), "{shown}");
        transcript.note_received("ping", &[0, 0, 1]);
        assert!(transcript.to_string().contains("ping 000001"));
        for _ in 0..LINES - 1 {
            transcript.note("more");
        }
        assert!(transcript.to_string().contains("2 earlier lines"));
    }
}
