//! Ours: an axum router under `dreamsocket::Server`, and the typed loop, with the defaults and so with the heartbeat. Only the
//! bounds on connections and messages are wider.
//!
//! What goes to many is a `Prepared` message, forwarded from its topic without a handler; `/sub-handled` takes each through
//! `on_message` instead, and `/topic` is an echo that is subscribed to a topic in which nothing is said.

mod echo;
mod fan_out;

use std::process::ExitCode;

use axum::Router;
use axum::routing::any;
use dreamsocket::{Broadcaster, Compression, Config, Server, Tls};
use servers::{Can, MAX_MESSAGE};

fn main() -> ExitCode {
    let can = Can {
        deflate: true,
        tls: true,
    };
    servers::run("dreamsocket", can, async |args| {
        let router = Router::new()
            .route("/echo", any(echo::echo))
            .route("/topic", any(echo::topic))
            .route("/sub", any(fan_out::subscribe))
            .route("/sub-handled", any(fan_out::subscribe_handled))
            .route("/pub", any(fan_out::publish))
            .route("/chat/{room}", any(fan_out::chat))
            .with_state(Broadcaster::new());
        let compression = if args.deflate {
            Compression::shared()
        } else {
            Compression::off()
        };
        let config = Config::default()
            .with_max_message(MAX_MESSAGE)
            .with_max_frame(MAX_MESSAGE)
            .with_compression(compression)
            .with_max_connections(usize::MAX)
            .with_max_sockets(usize::MAX);
        let mut server = Server::new(router).with_config(config);
        if let Some((certificates, key)) = args.tls {
            server = server.tls(Tls::from_pem_files(certificates, key)?);
        }
        let server = server.listen_on(servers::listen(&args.listen)?)?;
        println!("listening on {}", server.local_addr());
        server.run().await?;
        Ok(())
    })
}
