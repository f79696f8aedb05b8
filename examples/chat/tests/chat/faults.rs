//! The chat on a network with faults: in a few rooms everybody says numbered messages, and some die of it.
//!
//! What is left to chance is drawn from a seed, which a failure shows: `FAULTS_SEED=… cargo test -p chat --test chat faults`
//! draws the same. Nothing here asserts a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fault_proxy::{Dice, End, Ledger, Plan, Proxy, Way, seed};
use futures_util::{Sink, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::program::{Chat, Client};

const ROOMS: usize = 4;

/// In each room; the first half of them lives.
const MEMBERS: usize = 10;
const LIVING: usize = MEMBERS / 2;

/// How many messages everybody says who lives, and one more when all have heard them.
const MESSAGES: u64 = 100;

/// The longest pause after a message. Shorter ones would make a chat in a debug build fall behind.
const PAUSE: Duration = Duration::from_millis(60);

/// Makes a hang a failure. Long, since a busy machine is no bug.
const PATIENCE: Duration = Duration::from_secs(120);

/// One who is in a room.
struct Member {
    room: String,
    name: String,
    lives: bool,
    client: Client,
    dice: Dice,
    /// Where the connection goes through; the first of a room goes straight.
    _proxy: Option<Proxy>,
}

/// What one of them heard.
#[derive(Default)]
struct Heard {
    /// What everybody said, by name.
    said: Ledger,
    /// How often each was said to have left.
    left: HashMap<String, u32>,
    /// What nobody should have been told.
    strange: Vec<Value>,
}

/// What those who live wait for together: that all have heard everything, and that all have heard the last word, too.
struct Stage {
    all_heard: Barrier,
    all_through: Barrier,
    is_over: watch::Sender<bool>,
}

fn room(index: usize) -> String {
    format!("room {index}")
}

fn name(member: usize) -> String {
    format!("member {member}")
}

/// What is to become of a member: the first goes straight, half of them live.
fn plan(member: usize, dice: &mut Dice) -> Plan {
    let plan = Plan::drawn(dice);
    if member < LIVING {
        return plan;
    }
    let end = match member % 3 {
        0 => End::Cut,
        1 => End::Reset,
        _ => End::BlackHole,
    };
    // After it has entered, and before it has said or heard everything.
    if dice.once_in(2) {
        plan.with_end(end, Way::Up, dice.draw(600..4_000))
    } else {
        plan.with_end(end, Way::Down, dice.draw(4_000..25_000))
    }
}

/// B2, L2: whoever lives hears everything that anybody said, in order, once, and of each who died that he left, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_reordered_and_each_who_dies_leaves_once() {
    let seed = seed();
    println!("FAULTS_SEED={seed}");
    let mut dice = Dice::new(seed);
    let chat = Chat::start_with(&["--pace", "1000000", "--heartbeat", "2"]).await;
    let stage = Arc::new(Stage {
        all_heard: Barrier::new(ROOMS * LIVING),
        all_through: Barrier::new(ROOMS * LIVING),
        is_over: watch::Sender::new(false),
    });
    let mut members = Vec::new();
    for index in 0..ROOMS * MEMBERS {
        members.push(enter(&chat, index / MEMBERS, index % MEMBERS, &mut dice).await);
    }
    // They speak when all are there.
    let (mut living, mut dying) = (JoinSet::new(), JoinSet::new());
    for member in members {
        let group = if member.lives {
            &mut living
        } else {
            &mut dying
        };
        group.spawn(take_part(member, Arc::clone(&stage)));
    }
    let lived = timeout(PATIENCE, living.join_all()).await.unwrap();
    stage.is_over.send_replace(true);
    let died = timeout(PATIENCE, dying.join_all()).await.unwrap();

    for index in 0..ROOMS {
        let room = room(index);
        let of_room = |of: &&(Member, Heard)| of.0.room == room;
        let lived: Vec<_> = lived.iter().filter(of_room).collect();
        let died: Vec<_> = died.iter().filter(of_room).collect();
        assert_eq!((lived.len(), died.len()), (LIVING, MEMBERS - LIVING));
        for (_, heard) in lived.iter().chain(&died) {
            assert!(heard.said.wrong().is_nothing(), "{:?}", heard.said);
            assert!(heard.strange.is_empty(), "{:?}", heard.strange);
        }
        check_room(&lived, &died);
        // Only those who live are there.
        let (_, people) = chat.enter(&room, "late").await;
        let people = people.as_array().unwrap().iter();
        let names: Vec<_> = people.map(|person| person["name"].clone()).collect();
        let mut expected: Vec<_> = (0..LIVING).map(name).collect();
        expected.push("late".to_owned());
        assert_eq!(names, expected);
    }
}

/// All who live have heard the same of each who died, a beginning of what he said, with all that he heard himself; but for
/// what they were told that they missed, since a busy machine makes anybody slow.
fn check_room(lived: &[&(Member, Heard)], died: &[&(Member, Heard)]) {
    let mut messages = (MESSAGES + 1) * LIVING as u64;
    for (dead, at_last) in died {
        let dead = dead.name.as_str();
        let heard = lived.iter().map(|(_, heard)| heard.said.next(dead));
        let said = heard.max().unwrap();
        let own = at_last.said.next(dead);
        println!("{dead} said {said}, and heard {own} of it");
        assert!(own <= said);
        messages += said;
        for (witness, heard) in lived {
            let left = heard.left.get(dead);
            assert_eq!(left, Some(&1), "{dead}, seen by {}", witness.name);
        }
    }
    for (member, heard) in lived {
        let (received, missed) = (heard.said.received(), heard.said.declared());
        println!("{} received {received} and missed {missed}", member.name);
        assert!(received <= messages && received + missed >= messages);
        assert_eq!(heard.left.len(), died.len(), "{:?}", heard.left);
    }
}

async fn enter(chat: &Chat, room_index: usize, member: usize, dice: &mut Dice) -> Member {
    let mut address = chat.address.parse().unwrap();
    let mut proxy = None;
    if member > 0 {
        let plan = plan(member, dice);
        println!("{}, {}: {plan:?}", room(room_index), name(member));
        let started = Proxy::start(address, plan, dice.seed()).await.unwrap();
        address = started.address();
        proxy = Some(started);
    }
    let query = format!("user=member%20{member}");
    let mut client = Client::connect(address, &query).await;
    client.enter(&room(room_index)).await;
    Member {
        room: room(room_index),
        name: name(member),
        lives: member < LIVING,
        client,
        dice: Dice::new(dice.seed()),
        _proxy: proxy,
    }
}

/// Speaks and listens, to the end or to death. Whoever lives stays until all are through, since leaving would be heard.
async fn take_part(mut member: Member, stage: Arc<Stage>) -> (Member, Heard) {
    let mut heard = Heard::default();
    let Member {
        room,
        lives,
        client,
        dice,
        ..
    } = &mut member;
    let (mut sink, mut stream) = (&mut client.socket).split();
    // Of how many messages of each who lives all have come.
    let up_to = watch::Sender::new(0);
    let mut has_heard = up_to.subscribe();
    let speaking = async {
        for number in 0..MESSAGES {
            if !say(&mut sink, room, number).await {
                break;
            }
            let pause = dice.time(Duration::ZERO, PAUSE);
            tokio::time::sleep(pause).await;
        }
        if *lives {
            let _ = has_heard.wait_for(|up_to| *up_to >= MESSAGES).await;
            stage.all_heard.wait().await;
            say(&mut sink, room, MESSAGES).await;
            let _ = has_heard.wait_for(|up_to| *up_to > MESSAGES).await;
            stage.all_through.wait().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let listening = async {
        while let Some(Ok(message)) = stream.next().await {
            heard.note(&message);
            up_to.send_replace(heard.up_to());
        }
    };
    let mut is_over = stage.is_over.subscribe();
    tokio::select! {
        () = speaking => {}
        () = listening => assert!(!*lives, "the connection of one who lives has ended"),
        _ = is_over.wait_for(|is_over| *is_over) => {}
    }
    drop((sink, stream));
    (member, heard)
}

/// Whether there was still somebody to say it to.
async fn say(sink: &mut (impl Sink<Message> + Unpin), room: &str, number: u64) -> bool {
    let said = json!({"type": "say", "room": room, "text": number.to_string()});
    sink.send(Message::text(said.to_string())).await.is_ok()
}

impl Heard {
    fn note(&mut self, message: &Message) {
        let Message::Text(text) = message else {
            // Pings; the close of one who dies.
            return;
        };
        let event: Value = serde_json::from_str(text).unwrap();
        let name = event["name"].as_str().unwrap_or_default();
        match event["type"].as_str().unwrap() {
            "said" => {
                let number = event["text"].as_str().unwrap().parse().unwrap();
                self.said.note(name, number);
            }
            "left" => *self.left.entry(name.to_owned()).or_default() += 1,
            "missed" => self.said.declare(event["count"].as_u64().unwrap()),
            "joined" => {}
            _ => self.strange.push(event),
        }
    }

    /// So many messages came of each who lives; none as long as somebody who dies has not left.
    fn up_to(&self) -> u64 {
        if (LIVING..MEMBERS).any(|member| !self.left.contains_key(&name(member))) {
            return 0;
        }
        let messages = (0..LIVING).map(|member| self.said.next(&name(member)));
        messages.min().unwrap_or_default()
    }
}
