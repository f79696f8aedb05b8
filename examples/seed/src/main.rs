//! Run with `cargo run -p seed`, then connect a WebSocket to `ws://127.0.0.1:3000/chat?user=Ada`.
//!
//! The example of the page that Dreamsocket grew from, item by item: the user's name comes from the query, each text is
//! answered with `user: text`, and the connection stops when the client has closed it.

use std::io;
use std::process::ExitCode;

use axum::Router;
use axum::extract::{Query, Request};
use axum::response::Response;
use axum::routing::any;
use dreamsocket::{
    Action, Connection, Message, Selector, SendError, Server, continue_connection, stop_connection,
    upgrade_websocket,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Who {
    user: Option<String>,
}

struct Dependencies {
    user_name: String,
}

async fn handle_upgrade(Query(who): Query<Who>, request: Request) -> Response {
    let user_name = who.user.unwrap_or_else(|| "Anonymous".to_owned());
    let dependencies = Dependencies { user_name };
    upgrade_websocket(
        request,
        dependencies,
        handle_init,
        handle_message,
        handle_close,
    )
}

async fn handle_init(_: &Connection, _: &Dependencies) -> (String, Option<Selector>) {
    // An empty state, and no messages but the client's.
    (String::new(), None)
}

async fn handle_message(
    _state: &mut String,
    message: Message,
    connection: &Connection,
    dependencies: &Dependencies,
) -> Result<Action, SendError> {
    match message {
        Message::Text(text) => {
            let reply = format!("{}: {text}", dependencies.user_name);
            connection.send_text(reply).await?;
            Ok(continue_connection())
        }
        Message::ConnectionClosed(_) => Ok(stop_connection()),
        _ => Ok(continue_connection()),
    }
}

async fn handle_close(_state: String, _: &Dependencies) {}

fn router() -> Router {
    Router::new().route("/chat", any(handle_upgrade))
}

async fn serve() -> io::Result<()> {
    let server = Server::new(router()).bind("127.0.0.1:3000").await?;
    eprintln!("listening on {}", server.local_addr());
    server.run().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seed: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::connect_async;
    use tokio_tungstenite::tungstenite::Message;

    use super::*;

    /// Connects with this query, says two things, closes; gives back the replies and whether the server closed too.
    async fn talk(query: &str) -> (Vec<String>, bool) {
        let server = Server::new(router()).bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/chat{query}", server.local_addr());
        let hub = server.hub().clone();
        let running = tokio::spawn(server.run_until_drained());

        let (mut client, _) = connect_async(url).await.unwrap();
        client.send(Message::text("hello")).await.unwrap();
        client.send(Message::binary(vec![1, 2, 3])).await.unwrap(); // Answered with nothing, as in the original.
        client.send(Message::text("how are you?")).await.unwrap();
        let mut replies = Vec::new();
        while replies.len() < 2 {
            replies.push(
                client
                    .next()
                    .await
                    .unwrap()
                    .unwrap()
                    .into_text()
                    .unwrap()
                    .to_string(),
            );
        }
        client.close(None).await.unwrap();
        let is_closed = matches!(client.next().await, Some(Ok(Message::Close(_))));

        hub.drain();
        let report = running.await.unwrap().unwrap();
        assert_eq!(report.cut, 0);
        (replies, is_closed)
    }

    #[tokio::test]
    async fn replies_with_the_user_and_the_text_and_stops_on_close() {
        let replies = vec!["Ada: hello".to_owned(), "Ada: how are you?".to_owned()];
        assert_eq!(talk("?user=Ada").await, (replies, true));
    }

    #[tokio::test]
    async fn nobody_is_anonymous() {
        let replies = vec![
            "Anonymous: hello".to_owned(),
            "Anonymous: how are you?".to_owned(),
        ];
        assert_eq!(talk("").await, (replies, true));
    }
}
