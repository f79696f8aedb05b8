//! The flags. Apart from what they set, so that the rest reads without them.

use lexopt::prelude::*;

const USAGE: &str = "\
usage: chat [--listen ADDRESS]
  --listen ADDRESS   where to listen; port 0 takes a free one (127.0.0.1:3000, or 127.0.0.1:$PORT)
";

pub(crate) struct Args {
    pub(crate) listen: String,
}

impl Args {
    /// Reads the command line and `PORT`; `--help` answers and ends the program.
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
        let mut args = Self {
            listen: format!("127.0.0.1:{port}"),
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("listen") => args.listen = parser.value()?.string()?,
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
