//! The flags. Apart from what they set, so that the rest reads without them.

use dreamsocket::client::Connect;
use dreamsocket::{Compression, Config};
use lexopt::prelude::*;

const USAGE: &str = "\
usage: echo-client [OPTIONS] URL
       echo-client [OPTIONS] --autobahn URL --agent NAME [--cases FROM..TO]
  --deflate MODE        permessage-deflate: off, shared or dedicated (off)
  --subprotocol NAME    a subprotocol to offer; may be repeated
  --max-message BYTES   the largest message (67108864, which is 64 MiB)
  --autobahn URL        drive the fuzzing server of the Autobahn suite at this URL
  --agent NAME          the name that its report gives to this client
  --cases FROM..TO      which cases to run, both ends included (all)
";

pub(crate) struct Args {
    pub(crate) mode: Mode,
    deflate: Compression,
    subprotocols: Vec<String>,
    max_message: usize,
}

pub(crate) enum Mode {
    Echo {
        url: String,
    },
    Autobahn {
        url: String,
        agent: String,
        cases: Option<Cases>,
    },
}

/// Numbers of cases, from 1, both ends included.
#[derive(Clone, Copy)]
pub(crate) struct Cases {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Args {
    /// Reads the command line; `--help` answers and ends the program.
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let (mut url, mut autobahn, mut agent, mut cases) = (None, None, None, None);
        let mut deflate = Compression::off();
        let mut subprotocols = Vec::new();
        let mut max_message = 64 * 1024 * 1024;
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("deflate") => deflate = parser.value()?.parse_with(parse_deflate)?,
                Long("subprotocol") => subprotocols.push(parser.value()?.string()?),
                Long("max-message") => max_message = parser.value()?.parse()?,
                Long("autobahn") => autobahn = Some(parser.value()?.string()?),
                Long("agent") => agent = Some(parser.value()?.string()?),
                Long("cases") => cases = Some(parser.value()?.parse_with(parse_cases)?),
                Value(value) if url.is_none() => url = Some(value.string()?),
                Short('h') | Long("help") => {
                    eprint!("{USAGE}");
                    std::process::exit(0);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        let mode = match (url, autobahn, agent) {
            (Some(url), None, None) if cases.is_none() => Mode::Echo { url },
            (None, Some(url), Some(agent)) => Mode::Autobahn { url, agent, cases },
            _ => return Err("wants a URL, or --autobahn with --agent; see --help".into()),
        };
        Ok(Self {
            mode,
            deflate: deflate.with_threshold(0),
            subprotocols,
            max_message,
        })
    }

    /// A connection with these options.
    pub(crate) fn connect(&self, url: &str) -> Connect {
        let config = Config::default()
            .with_max_message(self.max_message)
            .with_max_frame(self.max_message)
            .with_compression(self.deflate);
        Connect::new(url)
            .with_config(config)
            .with_subprotocols(self.subprotocols.clone())
    }
}

fn parse_deflate(mode: &str) -> Result<Compression, &'static str> {
    match mode {
        "off" => Ok(Compression::off()),
        "shared" => Ok(Compression::shared()),
        "dedicated" => Ok(Compression::dedicated(15)),
        _ => Err("not off, shared or dedicated"),
    }
}

fn parse_cases(cases: &str) -> Result<Cases, &'static str> {
    let parsed = cases
        .split_once("..")
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match parsed {
        Some((from, to)) if from >= 1 && from <= to => Ok(Cases { from, to }),
        _ => Err("not a range such as 1..20"),
    }
}
