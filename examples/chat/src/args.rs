//! The flags. Apart from what they set, so that the rest reads without them.

use std::num::NonZeroU32;

use lexopt::prelude::*;

const USAGE: &str = "\
usage: chat [--listen ADDRESS] [--pace NUMBER]
  --listen ADDRESS   where to listen; port 0 takes a free one (127.0.0.1:3000, or 127.0.0.1:$PORT)
  --pace NUMBER      messages a second that one connection may send; more wait (4)
";

pub(crate) struct Args {
    pub(crate) listen: String,
    pub(crate) pace: NonZeroU32,
}

impl Args {
    /// Reads the command line and `PORT`; `--help` answers and ends the program.
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
        let mut args = Self {
            listen: format!("127.0.0.1:{port}"),
            pace: const { NonZeroU32::new(4).unwrap() },
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("listen") => args.listen = parser.value()?.string()?,
                Long("pace") => args.pace = parser.value()?.parse()?,
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
