//! actix-ws under actix-web, with one worker (a second thread accepts, and sleeps otherwise).
//!
//! A `Session` is a queue of 32 messages; whatever is in it is encoded and written together, so that there is nothing to flush.
//! It has no permessage-deflate.

use std::process::ExitCode;

use actix_web::web::{Bytes, Data, Payload, get};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Closed, Session};
use bytestring::ByteString;
use servers::{Can, Channels, Inbox, MAX_MESSAGE, Path};
use tokio::sync::broadcast::Sender;

#[derive(Clone)]
enum Message {
    Text(ByteString),
    Binary(Bytes),
}

fn main() -> ExitCode {
    let can = Can {
        deflate: false,
        tls: true,
    };
    servers::run("actix-ws", can, async |args| {
        let channels = Data::new(Channels::<Message>::default());
        let server = HttpServer::new(move || {
            let app = App::new().app_data(Data::clone(&channels));
            app.route("/{path:.*}", get().to(upgrade))
        });
        let server = server.workers(1).tcp_nodelay(true).disable_signals();
        let listener = servers::listen(&args.listen)?.into_std()?;
        let address = listener.local_addr()?;
        let server = match &args.tls {
            None => server.listen(listener)?,
            Some((certificates, key)) => {
                server.listen_rustls_0_23(listener, servers::tls_config(certificates, key)?)?
            }
        };
        println!("listening on {address}");
        Ok(server.run().await?)
    })
}

async fn upgrade(
    request: HttpRequest,
    body: Payload,
    channels: Data<Channels<Message>>,
) -> Result<HttpResponse, actix_web::Error> {
    let Some(path) = Path::parse(request.path()) else {
        return Ok(HttpResponse::NotFound().finish());
    };
    let (response, session, stream) = actix_ws::handle(&request, body)?;
    let stream = stream
        .max_frame_size(MAX_MESSAGE)
        .aggregate_continuations()
        .max_continuation_size(MAX_MESSAGE);
    actix_web::rt::spawn(connection(session, stream, path, channels));
    Ok(response)
}

async fn connection(
    mut session: Session,
    mut stream: AggregatedMessageStream,
    path: Path,
    channels: Data<Channels<Message>>,
) -> Result<(), Closed> {
    let published = &channels.published;
    match path {
        Path::Echo => {
            while let Some(message) = next(&mut session, &mut stream).await {
                send(&mut session, message).await?;
            }
        }
        Path::Pub => {
            while let Some(message) = next(&mut session, &mut stream).await {
                // Fails only if nobody listens.
                let _ = published.send(message);
            }
        }
        Path::Sub => take_part(&mut session, stream, published.subscribe(), None).await?,
        Path::Chat(room) => {
            let room = channels.room(room);
            take_part(&mut session, stream, room.subscribe(), Some(room)).await?;
        }
    }
    session.close(None).await
}

/// Sends what is received; what the client says goes to `sender`, or nowhere.
async fn take_part(
    session: &mut Session,
    mut stream: AggregatedMessageStream,
    mut inbox: impl Inbox<Message>,
    sender: Option<Sender<Message>>,
) -> Result<(), Closed> {
    let mut answering = session.clone();
    loop {
        tokio::select! {
            biased;
            received = inbox.receive() => match received {
                Some(message) => send(session, message).await?,
                None => return Ok(()),
            },
            said = next(&mut answering, &mut stream) => match (said, &sender) {
                (Some(message), Some(sender)) => drop(sender.send(message)),
                (Some(_), None) => {}
                (None, _) => return Ok(()),
            },
        }
    }
}

/// The next text or binary message; nothing once the client has closed or is gone.
async fn next(session: &mut Session, stream: &mut AggregatedMessageStream) -> Option<Message> {
    loop {
        match stream.recv().await?.ok()? {
            AggregatedMessage::Text(text) => return Some(Message::Text(text)),
            AggregatedMessage::Binary(bytes) => return Some(Message::Binary(bytes)),
            AggregatedMessage::Ping(bytes) => session.pong(&bytes).await.ok()?,
            AggregatedMessage::Pong(_) => {}
            AggregatedMessage::Close(_) => return None,
        }
    }
}

async fn send(session: &mut Session, message: Message) -> Result<(), Closed> {
    match message {
        Message::Text(text) => session.text(text).await,
        Message::Binary(bytes) => session.binary(bytes).await,
    }
}
