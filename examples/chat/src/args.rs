//! The flags. Apart from what they set, so that the rest reads without them.

use std::num::NonZeroU32;
use std::path::PathBuf;

use lexopt::prelude::*;

const USAGE: &str = "\
usage: chat [--listen ADDRESS] [--pace NUMBER] [--host NAME]... [--tls-cert FILE --tls-key FILE]
  --listen ADDRESS   where to listen; port 0 takes a free one (127.0.0.1:3000, or 127.0.0.1:$PORT)
  --pace NUMBER      messages a second that one connection may send; more wait (4)
  --host NAME        another host to answer for, such as that of a proxy (localhost, where that is listened on)
  --tls-cert FILE    a chain of certificates in PEM: serve https (needs a build with --features tls)
  --tls-key FILE     the private key for it in PEM
";

pub(crate) struct Args {
    pub(crate) listen: String,
    pub(crate) pace: NonZeroU32,
    /// Hosts to answer for beside this machine's own names.
    pub(crate) hosts: Vec<String>,
    /// The files of a certificate and its key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
}

impl Args {
    /// Reads the command line and `PORT`; `--help` answers and ends the program.
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
        let mut args = Self {
            listen: format!("127.0.0.1:{port}"),
            pace: const { NonZeroU32::new(4).unwrap() },
            hosts: Vec::new(),
            tls: None,
        };
        let (mut certificates, mut key) = (None, None);
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("listen") => args.listen = parser.value()?.string()?,
                Long("pace") => args.pace = parser.value()?.parse()?,
                Long("host") => args.hosts.push(parser.value()?.string()?),
                Long("tls-cert") => certificates = Some(parser.value()?.into()),
                Long("tls-key") => key = Some(parser.value()?.into()),
                Short('h') | Long("help") => {
                    eprint!("{USAGE}");
                    std::process::exit(0);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        args.tls = match (certificates, key) {
            (None, None) => None,
            (Some(certificates), Some(key)) => Some((certificates, key)),
            _ => return Err("--tls-cert and --tls-key go together".into()),
        };
        Ok(args)
    }
}
