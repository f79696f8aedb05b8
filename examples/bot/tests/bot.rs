//! The real bot in a room of a server that speaks the chat's own types, and a proxy between them that fails.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unexpected_cfgs, reason = "the chat has features that the bot has not")]

#[path = "../../chat/src/event.rs"]
#[allow(dead_code, reason = "the bot speaks a part of it")]
mod event;

use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use dreamsocket::typed::{self, Connection, Message};
use dreamsocket::{
    Action, BoxError, Broadcaster, Channel, ChannelOptions, CodedTopic, Delivery, Forward, History,
    Selector, Server, Topic, continue_connection,
};
use fault_proxy::{End, Plan, Proxy};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::event::{Command as Ask, Said, Tell, encode, missed, now};

/// Makes a hang a failure. Long, since a busy machine is no bug.
const PATIENCE: Duration = Duration::from_secs(30);

/// A room, and how often it was entered.
#[derive(Clone)]
struct Room {
    said: Topic<Said>,
    entered: watch::Sender<u32>,
}

async fn chat(State(room): State<Room>, request: Request) -> Response {
    typed::upgrade_websocket(request, room, on_init, on_message, on_close)
}

async fn on_init(_: &Connection<Tell>, _: &Room) -> (Option<Forward>, Option<Selector>) {
    (None, None)
}

async fn on_message(
    forward: &mut Option<Forward>,
    message: Message<Ask>,
    connection: &Connection<Tell>,
    room: &Room,
) -> Result<Action, BoxError> {
    match message {
        Message::Received(Ask::Enter { room: name, since }) => {
            let (entered, at) = (room.entered.clone(), now());
            connection.send(&Tell::Entered { room: name, at }).await?;
            let unheard = match since {
                Some(place) => ChannelOptions::new().since(place),
                None => ChannelOptions::new().last(50),
            };
            let coded = CodedTopic::new(room.said.clone(), encode);
            *forward = Some(connection.forward(coded.subscribe_with(unheard), missed));
            entered.send_modify(|count| *count += 1);
        }
        Message::Received(Ask::Say { text, .. }) => room.say("bot", &text),
        Message::Undecodable(why) => return Err(why.to_string().into()),
        _ => {}
    }
    Ok(continue_connection())
}

async fn on_close(_: Option<Forward>, _: &Room) {}

impl Room {
    fn new() -> Self {
        let said = Broadcaster::with_history(History::last(50)).topic("garden");
        let entered = watch::Sender::new(0);
        Self { said, entered }
    }

    fn say(&self, name: &str, text: &str) {
        let (room, name, text) = ("garden".to_owned(), name.to_owned(), text.to_owned());
        let at = now();
        self.said
            .publish(Said {
                room,
                name,
                text,
                at,
            })
            .unwrap();
    }

    async fn entered(&self, times: u32) {
        let mut entered = self.entered.subscribe();
        let waited = timeout(PATIENCE, entered.wait_for(|count| *count >= times)).await;
        waited.unwrap().unwrap();
    }
}

/// The next thing that the bot says.
async fn answer(said: &mut Channel<Said>) -> String {
    loop {
        match timeout(PATIENCE, said.recv()).await.unwrap() {
            Some(Delivery::Message(said)) if said.name == "bot" => return said.text,
            Some(Delivery::Message(_)) => {}
            other => unreachable!("{:?}", other.is_some()),
        }
    }
}

fn start_bot(proxy: &Proxy) -> Child {
    Command::new(env!("CARGO_BIN_EXE_bot"))
        .args(["--url", &format!("ws://{}/chat", proxy.address())])
        .args(["--room", "garden", "--delay", "10"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn it_answers_and_comes_back() {
    let room = Room::new();
    let router = Router::new()
        .route("/chat", any(chat))
        .with_state(room.clone());
    let server = Server::new(router).bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(server.local_addr(), Plan::calm(), 0)
        .await
        .unwrap();
    tokio::spawn(server.run_until_drained());
    let mut said = room.said.subscribe();

    room.say("Ada", "!help");
    // `at` is in milliseconds, and what was said in the one in which the bot came is for it.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let mut bot = start_bot(&proxy);
    room.entered(1).await;
    room.say("Ada", "hello");
    room.say("Ada", "!ping");
    assert_eq!(answer(&mut said).await, "pong");

    proxy.refuse(true);
    proxy.end_all(End::Reset);
    room.say("Ada", "!time");
    proxy.refuse(false);
    let time = answer(&mut said).await;
    assert!(
        time.starts_with("It is ") && time.ends_with(" UTC."),
        "{time}"
    );
    room.entered(2).await;

    // Not what it says itself, and nothing twice.
    proxy.end_all(End::Reset);
    room.entered(3).await;
    room.say("bot", "!ping");
    assert_eq!(answer(&mut said).await, "!ping");
    room.say("Grace", "!help");
    assert_eq!(answer(&mut said).await, "I know !ping, !time and !help.");
    assert!(bot.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn a_name_that_would_change_the_url_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_bot"))
        .args(["--name", "a&user=b"])
        .output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    assert!(!output.status.success());
}
