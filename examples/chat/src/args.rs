//! The flags. Apart from what they set, so that the rest reads without them.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

const USAGE: &str = "\
usage: chat [--listen ADDRESS] [--nats URL | --redis URL] [--pace NUMBER] [--heartbeat SECONDS]
            [--metrics ADDRESS] [--inspect] [--host NAME]... [--tls-cert FILE --tls-key FILE]
  --listen ADDRESS     where to listen; port 0 takes a free one (127.0.0.1:3000, or 127.0.0.1:$PORT)
  --nats URL           share the rooms with other chats over this NATS server, which needs JetStream (a build with
                       --features nats)
  --redis URL          the same over this Redis server (a build with --features redis)
  --pace NUMBER        messages a second that one connection may send; more wait (4)
  --heartbeat SECONDS  after how long a silence a client is asked for a sign of life; lost after three times that (30)
  --inspect            show all connections at /inspect; only with a loopback address in --listen, and without --host
  --host NAME          another host to answer for, such as that of a proxy (localhost, where that is listened on)
  --tls-cert FILE      a chain of certificates in PEM: serve https (needs a build with --features tls)
  --tls-key FILE       the private key for it in PEM
  --metrics ADDRESS    serve /metrics for Prometheus there, to whoever reaches that address (nowhere)
";

pub(crate) struct Args {
    pub(crate) listen: String,
    pub(crate) broker: Broker,
    pub(crate) pace: NonZeroU32,
    pub(crate) heartbeat: Duration,
    pub(crate) inspects: bool,
    /// Hosts to answer for beside this machine's own names.
    pub(crate) hosts: Vec<String>,
    /// The files of a certificate and its key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Where to serve metrics.
    pub(crate) metrics: Option<String>,
}

/// Where rooms are shared.
pub(crate) enum Broker {
    /// In this process only.
    None,
    Nats(
        #[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "the build says no"))] String,
    ),
    Redis(
        #[cfg_attr(
            not(feature = "redis"),
            expect(dead_code, reason = "the build says no")
        )]
        String,
    ),
}

impl Args {
    /// Reads the command line and `PORT`; `--help` answers and ends the program.
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
        let mut args = Self {
            listen: format!("127.0.0.1:{port}"),
            broker: Broker::None,
            pace: const { NonZeroU32::new(4).unwrap() },
            heartbeat: Duration::from_secs(30),
            inspects: false,
            hosts: Vec::new(),
            tls: None,
            metrics: None,
        };
        let (mut certificates, mut key) = (None, None);
        let (mut nats, mut redis) = (None, None);
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("listen") => args.listen = parser.value()?.string()?,
                Long("nats") => nats = Some(parser.value()?.string()?),
                Long("redis") => redis = Some(parser.value()?.string()?),
                Long("pace") => args.pace = parser.value()?.parse()?,
                Long("heartbeat") => {
                    let seconds: NonZeroU64 = parser.value()?.parse()?;
                    args.heartbeat = Duration::from_secs(seconds.get());
                }
                Long("inspect") => args.inspects = true,
                Long("host") => args.hosts.push(parser.value()?.string()?),
                Long("tls-cert") => certificates = Some(parser.value()?.into()),
                Long("metrics") => args.metrics = Some(parser.value()?.string()?),
                Long("tls-key") => key = Some(parser.value()?.into()),
                Short('h') | Long("help") => {
                    eprint!("{USAGE}");
                    std::process::exit(0);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        args.broker = match (nats, redis) {
            (None, None) => Broker::None,
            (Some(url), None) => Broker::Nats(url),
            (None, Some(url)) => Broker::Redis(url),
            _ => return Err("--nats and --redis exclude each other".into()),
        };
        if args.inspects && !args.hosts.is_empty() {
            // A proxy for that host reaches it over loopback, and everybody reaches the proxy.
            return Err(
                "--inspect shows every connection to whoever asks: not together with --host".into(),
            );
        }
        args.tls = match (certificates, key) {
            (None, None) => None,
            (Some(certificates), Some(key)) => Some((certificates, key)),
            _ => return Err("--tls-cert and --tls-key go together".into()),
        };
        Ok(args)
    }
}
