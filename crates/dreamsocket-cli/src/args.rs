//! The command line, and the help that explains it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use dreamsocket::Compression;

/// The longest time that can be asked for, in seconds: ten days.
const LONGEST: f64 = 864_000.0;

/// Talk to a WebSocket server from a terminal or a pipe, and put load on one.
#[derive(Debug, Parser)]
#[command(name = "dreamsocket", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  all went well
  1  the connection was lost or closed with an error, something that was sent may be lost, or the output cannot be written
  2  the command line is not understood, or a file or the standard input cannot be used
  3  no connection: the name, the network, TLS, or a time limit
  4  no WebSocket: the server refused, or its answer breaks a rule of the handshake
  130  interrupted before there was a connection, or twice";

const CONNECT_EXAMPLES: &str = "\
Each line of the standard input is sent as a text message, and each message that comes is a line of the standard output.
All else goes to the standard error. At the end of the input the answers are waited for (--wait), then the connection is
closed with 1000. On a terminal, messages are shown with the seconds since connecting, and their control characters escaped.

Examples:
  dreamsocket connect ws://localhost:9001/echo
      talk to a server; Ctrl-D or Ctrl-C ends
  echo hello | dreamsocket connect ws://localhost:9001/echo --messages 1
      send a line, print one answer
  dreamsocket connect wss://example.com/feed --wait 3600 < /dev/null | grep alert
      listen; stop when nothing has come for an hour
  dreamsocket connect -v -H 'Authorization: Bearer abc' --compression shared wss://example.com/chat
      with a header and compression; -v shows headers, TLS, what was agreed on, and pings
  dreamsocket connect --ping 1 ws://localhost:9001/echo
      measure round trips

Exit codes: see dreamsocket --help.";

const LOAD_EXAMPLES: &str = "\
The server has to send every message back, as examples/echo does. All connections are opened first (--ramp). Then each sends
at its rate, whether or not answers come, and a message's latency is counted from the time that it was due, so that a server
that stalls is not flattered by messages that were not sent meanwhile. Messages that were due and could not be sent, and those
that were not answered, are counted, too.

Examples:
  dreamsocket load ws://localhost:9001/echo
      10 connections, 10 messages a second on each, for 10 s
  dreamsocket load ws://localhost:9001/echo --connections 1000 --rate 5 --size 1KiB --duration 60 --ramp 10
      5000 messages a second in all, from 1000 connections that are opened over 10 s
  dreamsocket load ws://localhost:9001/echo --json > result.json
      the same figures for a program; progress stays on the standard error

Exit codes: 0 if every connection was opened and every message answered, 1 if not, 3 or 4 if there was no connection at all;
see dreamsocket --help.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Talk to a server: lines in, messages out.
    #[command(after_long_help = CONNECT_EXAMPLES)]
    Connect(ConnectArgs),
    /// Put load on a server that echoes, and measure.
    #[command(after_long_help = LOAD_EXAMPLES)]
    Load(LoadArgs),
    /// Print a script that completes this command in a shell.
    Completions {
        /// Which shell's.
        shell: Shell,
    },
}

#[derive(Debug, Group)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    /// Send each line as a binary message; write binary messages as they are, with nothing behind them.
    #[arg(long, conflicts_with = "hex")]
    pub(crate) binary: bool,

    /// Send each line, which is hexadecimal, as a binary message.
    ///
    /// Without --binary, binary messages that come are written as a line of hexadecimal in any case.
    #[arg(long)]
    pub(crate) hex: bool,

    /// Close when this many messages have come.
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) messages: Option<u64>,

    /// After the end of the input, close when no message has come for this long [default: 2, or 0 if the input is a
    /// terminal].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) wait: Option<Duration>,

    /// Send a ping this often, and tell how long the pong took.
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    pub(crate) ping: Option<Duration>,

    /// Connect again when the connection is lost or the server goes away (1001, 1006, 1011, 1012, 1013), after 1 s, 2 s and so
    /// on up to 30 s. Input waits meanwhile. The first attempt is not repeated.
    #[arg(long)]
    pub(crate) reconnect: bool,

    /// Write everything that happens as a line of JSON to the standard output.
    #[arg(long, conflicts_with = "binary")]
    pub(crate) json: bool,

    /// Tell more: headers, TLS, what was agreed on, pings that come.
    #[arg(long, short)]
    pub(crate) verbose: bool,

    /// Tell nothing but errors.
    #[arg(long, short, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Group)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    /// How many connections.
    #[arg(long, short, value_name = "N", default_value = "10")]
    pub(crate) connections: NonZeroUsize,

    /// Messages a second on each connection; a fraction for less than one.
    #[arg(long, short, value_name = "RATE", default_value = "10", value_parser = rate)]
    pub(crate) rate: f64,

    /// Bytes of each message, 34 at least: they hold its number and its time.
    #[arg(long, short, value_name = "BYTES", default_value = "64", value_parser = size)]
    pub(crate) size: usize,

    /// How long to send, after all connections have been tried.
    #[arg(long, short, value_name = "SECONDS", default_value = "10", value_parser = interval)]
    pub(crate) duration: Duration,

    /// Over how long connections are opened.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) ramp: Duration,

    /// How long answers are waited for at the end.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) wait: Duration,

    /// Send binary messages instead of text.
    #[arg(long)]
    pub(crate) binary: bool,

    /// Threads that send and receive [default: one for each core].
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Write the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Show no progress.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Where to connect, and how.
#[derive(Debug, Group)]
pub(crate) struct TargetArgs {
    /// `ws://` or `wss://`; without either, `ws://` is meant.
    pub(crate) url: String,

    /// A header of the request; may be given more than once.
    #[arg(long, short = 'H', value_name = "'NAME: VALUE'", value_parser = header)]
    pub(crate) header: Vec<(String, String)>,

    /// The header `Origin`, which browsers send; a server refuses foreign ones.
    #[arg(long)]
    pub(crate) origin: Option<String>,

    /// A subprotocol to offer, the preferred one first; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,

    /// Whether to offer compression (permessage-deflate).
    #[arg(long, value_name = "MODE", default_value = "off")]
    pub(crate) compression: CompressionMode,

    /// A file of certificates in PEM: trust these authorities, and not those that Mozilla trusts.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Trust whoever answers, whatever its certificate: anybody on the way can read and change everything.
    #[arg(long, conflicts_with = "ca")]
    pub(crate) danger_accept_any_certificate: bool,

    /// How long each step of connecting may take: name, TCP, TLS, handshake.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = interval)]
    pub(crate) timeout: Duration,

    /// Bytes of a message at most, and of a line of input.
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = bytes)]
    pub(crate) max_message: usize,
}

/// What is offered about permessage-deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionMode {
    /// None.
    Off,
    /// Each message by itself.
    Shared,
    /// With what was sent before in mind (context takeover, 32 KiB).
    Dedicated,
}

impl CompressionMode {
    pub(crate) const fn compression(self) -> Compression {
        match self {
            Self::Off => Compression::off(),
            Self::Shared => Compression::shared(),
            Self::Dedicated => Compression::dedicated(15),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("a number of seconds from 0 to {LONGEST} is meant")),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "a number of seconds from 0.001 to {LONGEST} is meant"
        )),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.001 to 1000000 is meant".to_owned()),
    }
}

/// `64`, `16KiB`, `1MiB`: 1 GiB at most.
fn bytes(text: &str) -> Result<usize, String> {
    const MOST: usize = 1024 * 1024 * 1024;
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let factor = match &text[digits.len()..] {
        "" => 1,
        "KiB" | "K" | "k" => 1024,
        "MiB" | "M" => 1024 * 1024,
        "GiB" | "G" => MOST,
        _ => return Err("a number is meant, or one with KiB, MiB or GiB behind it".to_owned()),
    };
    let number: Option<usize> = digits.parse().ok();
    match number.and_then(|number| number.checked_mul(factor)) {
        Some(bytes) if bytes <= MOST => Ok(bytes),
        _ => Err("a number of bytes up to 1GiB is meant".to_owned()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        bytes if bytes >= crate::load::SMALLEST_MESSAGE => Ok(bytes),
        _ => Err(format!(
            "{} bytes at least hold the number and the time",
            crate::load::SMALLEST_MESSAGE
        )),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err("'NAME: VALUE' is meant".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_has_no_contradiction() {
        Args::command().debug_assert();
    }

    #[test]
    fn numbers_have_units_and_bounds() {
        for (text, expected) in [
            ("0", Some(0)),
            ("64", Some(64)),
            ("1KiB", Some(1024)),
            ("2k", Some(2048)),
            ("16MiB", Some(16 << 20)),
            ("1GiB", Some(1 << 30)),
            ("2GiB", None),
            ("99999999999999999999", None),
            ("1kB", None),
            ("KiB", None),
            ("-1", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
        assert_eq!(size("33").ok(), None);
        assert_eq!(size("34"), Ok(34));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["-1", "nan", "inf", "1e9", "soon"] {
            assert!(seconds(text).is_err(), "{text}");
            assert!(interval(text).is_err(), "{text}");
            assert!(rate(text).is_err(), "{text}");
        }
        assert!(interval("0").is_err());
        assert!(seconds("0").is_ok());
    }

    #[test]
    fn a_header_is_cut_at_its_first_colon() {
        let pair = ("Cookie".to_owned(), "a=b:c".to_owned());
        assert_eq!(header("Cookie: a=b:c"), Ok(pair));
        assert!(header("Cookie").is_err());
    }
}
