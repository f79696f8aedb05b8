//! The command line, which is the same for all servers, and the one thread that each runs on.

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;
use tokio::signal::unix::{SignalKind, signal};

use crate::BoxError;

const USAGE: &str = "--listen ADDRESS [--deflate] [--tls-cert FILE --tls-key FILE]";

/// What a server is asked for.
#[derive(Debug, Clone)]
pub struct Args {
    pub listen: String,
    /// permessage-deflate without context takeover, on both sides.
    pub deflate: bool,
    /// The files of a certificate and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// What a server can do beside plain WebSocket.
#[derive(Debug, Clone, Copy)]
pub struct Can {
    pub deflate: bool,
    pub tls: bool,
}

/// Runs the server on one thread until SIGTERM or SIGINT. What it cannot do ends it with status 2.
pub fn run<F: Future<Output = Result<(), BoxError>>>(
    name: &str,
    can: Can,
    serve: impl FnOnce(Args) -> F,
) -> ExitCode {
    let args = match Args::parse() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{name}: {error}\nusage: {name} {USAGE}");
            return ExitCode::FAILURE;
        }
    };
    for (is_asked, is_able, feature) in [
        (args.deflate, can.deflate, "deflate"),
        (args.tls.is_some(), can.tls, "tls"),
    ] {
        if is_asked && !is_able {
            eprintln!("{name}: not supported: {feature}");
            return ExitCode::from(2);
        }
    }
    match run_on_one_thread(serve(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_on_one_thread(serve: impl Future<Output = Result<(), BoxError>>) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            result = serve => result,
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    })
}

impl Args {
    fn parse() -> Result<Self, lexopt::Error> {
        let (mut listen, mut deflate) = (None, false);
        let (mut certificates, mut key) = (None, None);
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("listen") => listen = Some(parser.value()?.string()?),
                Long("deflate") => deflate = true,
                Long("tls-cert") => certificates = Some(parser.value()?.into()),
                Long("tls-key") => key = Some(parser.value()?.into()),
                _ => return Err(arg.unexpected()),
            }
        }
        let tls = match (certificates, key) {
            (None, None) => None,
            (Some(certificates), Some(key)) => Some((certificates, key)),
            _ => return Err("--tls-cert and --tls-key go together".into()),
        };
        Ok(Self {
            listen: listen.ok_or("--listen is missing")?,
            deflate,
            tls,
        })
    }
}
