//! Run with `cargo run --release -p echo --bin echo-client -- ws://127.0.0.1:9001/echo`.
//!
//! The echo as a client: sends every message of a server back, or drives the fuzzing server of the Autobahn suite.

mod args;
mod autobahn;
mod echo;
#[path = "../../handlers.rs"]
mod handlers;

use std::process::ExitCode;

use dreamsocket::BoxError;
use tracing_subscriber::filter::LevelFilter;

use crate::args::{Args, Mode};

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::WARN)
        .init();
    match run() {
        Ok(code) => code,
        Err(error) => {
            // With what is behind it, such as why an address can't be reached.
            let mut line = error.to_string();
            let mut next = error.source();
            while let Some(source) = next {
                line = format!("{line}: {source}");
                next = source.source();
            }
            eprintln!("echo-client: {line}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, BoxError> {
    let args = Args::parse()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().build()?;
    match &args.mode {
        Mode::Echo { url } => runtime.block_on(echo_once(&args, url)),
        Mode::Autobahn { url, agent, cases } => {
            runtime.block_on(autobahn::run(&args, url, agent, *cases))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[expect(clippy::print_stdout, reason = "tells how the connection ended")]
async fn echo_once(args: &Args, url: &str) -> Result<ExitCode, BoxError> {
    let closed = echo::until_closed(args.connect(url)).await?;
    let clean = if closed.clean { "clean" } else { "unclean" };
    println!("closed {} {} {clean}", u16::from(closed.code), closed.cause);
    Ok(if closed.clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
