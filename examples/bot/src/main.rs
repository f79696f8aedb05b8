//! Run with `cargo run --release -p bot -- --room lobby` beside `cargo run --release -p chat`.
//!
//! A client that stays: it enters a room of the chat and answers `!ping`, `!time` and `!help`. When the connection is lost it
//! comes back, with longer and longer pauses, and says where it was: so it answers late what it was asked meanwhile, and
//! nothing twice, as long as the chat keeps what was said.

mod answers;
mod handlers;
mod protocol;

use std::process::ExitCode;
use std::time::Duration;

use dreamsocket::BoxError;
use dreamsocket::client::{Connect, Reconnect};
use lexopt::prelude::*;

use crate::handlers::{Bot, on_close, on_init, on_message};

const USAGE: &str = "\
usage: bot [--url URL] [--room NAME] [--name NAME] [--delay MILLISECONDS]
  --url URL             where the chat is (ws://127.0.0.1:3000/chat)
  --room NAME           the room to enter (lobby)
  --name NAME           the bot's name, of letters and digits (bot)
  --delay MILLISECONDS  how long to wait before the first attempt to come back (1000); then twice as long, up to a minute
";

struct Args {
    url: String,
    room: String,
    name: String,
    delay: Duration,
}

impl Args {
    fn parse() -> Result<Self, lexopt::Error> {
        let mut args = Self {
            url: "ws://127.0.0.1:3000/chat".to_owned(),
            room: "lobby".to_owned(),
            name: "bot".to_owned(),
            delay: Duration::from_secs(1),
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("url") => args.url = parser.value()?.string()?,
                Long("room") => args.room = parser.value()?.string()?,
                Long("name") => args.name = parser.value()?.string()?,
                Long("delay") => args.delay = Duration::from_millis(parser.value()?.parse()?),
                Short('h') | Long("help") => {
                    eprint!("{USAGE}");
                    std::process::exit(0);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        // It becomes a part of the URL.
        if !args
            .name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric())
        {
            return Err("a name of letters and digits, please".into());
        }
        Ok(args)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bot: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let args = Args::parse()?;
    let url = format!("{}?user={}", args.url, args.name);
    let bot = Bot::new(args.name, args.room);
    let reconnect = Reconnect::new()
        .with_first_delay(args.delay)
        .with_first_retried(true);
    let connected = Connect::new(url)
        .with_reconnect(reconnect)
        .run_typed(bot, on_init, on_message, on_close)
        .await?;
    tokio::select! {
        ended = connected.ended() => Err(format!("over: {:?}", ended.reason).into()),
        pressed = tokio::signal::ctrl_c() => {
            pressed?;
            connected.stop();
            connected.ended().await;
            Ok(())
        }
    }
}
