//! The flags. Apart from what they set, so that the rest reads without them.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use dreamsocket::Compression;
use lexopt::prelude::*;

const USAGE: &str = "\
usage: echo [--listen ADDRESS] [--behind N] [--max-message BYTES] [--outbox BYTES]
            [--send-buffer BYTES] [--workers N] [--deflate off|shared|dedicated]
            [--subprotocol NAME]... [--tls-cert FILE --tls-key FILE]
  --listen ADDRESS      where to listen; port 0 takes a free one (127.0.0.1:9001)
  --behind N            messages that a subscriber of /sub may fall behind (4096)
  --max-message BYTES   the largest message (67108864, which is 64 MiB)
  --outbox BYTES        what waits for a peer that does not read (1048576, which is 1 MiB)
  --send-buffer BYTES   the send buffer of each socket (the system's)
  --deflate MODE        compression: off, shared (no context takeover), dedicated (off)
  --subprotocol NAME    a subprotocol of /echo, the preferred one first
  --tls-cert FILE       a chain of certificates in PEM: speak TLS
  --tls-key FILE        the private key for it in PEM
  --workers N           threads that run tasks (one for each core)
";

pub(crate) struct Args {
    pub(crate) listen: String,
    pub(crate) behind: usize,
    pub(crate) max_message: usize,
    pub(crate) outbox: usize,
    pub(crate) send_buffer: Option<u32>,
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) compression: Compression,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
}

impl Args {
    /// Reads the command line; `--help` answers and ends the program.
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let mut args = Self {
            listen: "127.0.0.1:9001".to_owned(),
            behind: 4096,
            max_message: 64 * 1024 * 1024,
            outbox: 1024 * 1024,
            send_buffer: None,
            workers: None,
            compression: Compression::off(),
            subprotocols: Vec::new(),
            tls_cert: None,
            tls_key: None,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("listen") => args.listen = parser.value()?.string()?,
                Long("behind") => args.behind = parser.value()?.parse()?,
                Long("max-message") => args.max_message = parser.value()?.parse()?,
                Long("outbox") => args.outbox = parser.value()?.parse()?,
                Long("send-buffer") => args.send_buffer = Some(parser.value()?.parse()?),
                Long("workers") => args.workers = Some(parser.value()?.parse()?),
                Long("deflate") => {
                    args.compression = parser.value()?.parse_with(parse_compression)?;
                }
                Long("subprotocol") => args.subprotocols.push(parser.value()?.string()?),
                Long("tls-cert") => args.tls_cert = Some(parser.value()?.into()),
                Long("tls-key") => args.tls_key = Some(parser.value()?.into()),
                Short('h') | Long("help") => {
                    eprint!("{USAGE}");
                    std::process::exit(0);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(args)
    }
}

/// Everything is compressed that gets shorter, since this program is for tests.
fn parse_compression(mode: &str) -> Result<Compression, &'static str> {
    let compression = match mode {
        "off" => Compression::off(),
        "shared" => Compression::shared(),
        "dedicated" => Compression::dedicated(15),
        _ => return Err("expected off, shared or dedicated"),
    };
    Ok(compression.with_threshold(0))
}
