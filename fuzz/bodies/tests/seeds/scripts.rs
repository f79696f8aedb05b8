//! Scripts for two engines that talk to each other.

use crate::Seeds;

const CLIENT: u8 = 0;
const SERVER: u8 = 1;

/// The steps, by the place that they have in the body.
const SEND: u8 = 0;
const SEND_HEADER: u8 = 1;
const SEND_SHARED: u8 = 2;
const PING: u8 = 3;
const CLOSE: u8 = 4;
const POLL_CONTROL: u8 = 5;
const POLL_CLOSE: u8 = 6;
const DELIVER: u8 = 7;

/// A step and what it needs.
type Step = (u8, u8, u8, Option<u8>);

fn send(who: u8, how: u8, made_of: u8, size: u8) -> Step {
    (who, how, made_of, Some(size))
}

fn ping(who: u8, size: u8) -> Step {
    (who, PING, size, Some(b'p'))
}

fn close(who: u8, code: u16) -> Step {
    let [high, low] = code.to_be_bytes();
    (who, CLOSE, high, Some(low))
}

fn step(who: u8, what: u8) -> Step {
    (who, what, 0, None)
}

fn deliver(who: u8, root: u8) -> Step {
    (who, DELIVER, root, None)
}

pub(crate) fn engine_pair() -> Seeds {
    let sizes = [0, 1, 125, 126, 127, 199, 200, 239, 240, 247, 254, 255];
    let each_size: Vec<Step> = sizes
        .iter()
        .flat_map(|&size| {
            [
                send(CLIENT, SEND, size, size),
                send(SERVER, SEND, size, size),
            ]
        })
        .collect();
    let each_way: Vec<Step> = [SEND, SEND_HEADER, SEND_SHARED]
        .iter()
        .flat_map(|&how| {
            (0..8).flat_map(move |made_of| {
                [
                    send(CLIENT, how, made_of, 230),
                    send(SERVER, how, made_of, 230),
                ]
            })
        })
        .collect();
    let pings = |who, count: u8| (who, PING, 199 + count, None);
    let flood = vec![
        pings(SERVER, 50),
        pings(SERVER, 14),
        ping(SERVER, 3),
        step(SERVER, POLL_CONTROL),
        deliver(SERVER, 255),
    ];
    let stories: [(&str, Vec<Step>); 13] = [
        ("nothing", vec![]),
        (
            "hello",
            vec![
                send(CLIENT, SEND, 0, 5),
                deliver(CLIENT, 1),
                deliver(CLIENT, 9),
            ],
        ),
        ("each-size", each_size),
        ("each-way", each_way),
        (
            "in-small-pieces",
            [
                vec![
                    send(CLIENT, SEND, 2, 130),
                    send(SERVER, SEND_SHARED, 4, 200),
                ],
                [deliver(CLIENT, 2), deliver(SERVER, 3)].repeat(30),
            ]
            .concat(),
        ),
        (
            "pings",
            vec![
                ping(CLIENT, 0),
                ping(SERVER, 125),
                ping(SERVER, 126),
                step(CLIENT, POLL_CONTROL),
                step(SERVER, POLL_CONTROL),
                deliver(CLIENT, 2),
                deliver(SERVER, 20),
                step(SERVER, POLL_CONTROL),
            ],
        ),
        (
            "pings-without-end",
            [
                flood.clone(),
                flood.clone(),
                vec![pings(CLIENT, 3)],
                flood,
                vec![step(CLIENT, POLL_CONTROL)],
            ]
            .concat(),
        ),
        (
            "client-closes",
            vec![
                send(CLIENT, SEND, 1, 20),
                close(CLIENT, 1000),
                close(CLIENT, 4000),
                step(CLIENT, POLL_CLOSE),
                send(CLIENT, SEND, 1, 20),
                ping(CLIENT, 1),
                deliver(CLIENT, 255),
                send(SERVER, SEND, 1, 20),
                step(SERVER, POLL_CLOSE),
                deliver(SERVER, 255),
            ],
        ),
        (
            "both-close-at-once",
            vec![
                close(CLIENT, 1001),
                close(SERVER, 1011),
                step(CLIENT, POLL_CLOSE),
                step(SERVER, POLL_CLOSE),
                deliver(CLIENT, 1),
                deliver(SERVER, 255),
                deliver(CLIENT, 255),
            ],
        ),
        (
            "closes-inside-a-message",
            vec![
                send(SERVER, SEND, 4, 255),
                ping(SERVER, 4),
                step(SERVER, POLL_CONTROL),
                deliver(SERVER, 100),
                close(CLIENT, 1000),
                step(CLIENT, POLL_CLOSE),
                deliver(SERVER, 200),
                deliver(SERVER, 255),
            ],
        ),
        (
            "a-close-that-may-not-be-sent",
            vec![close(SERVER, 1006), close(CLIENT, 999)],
        ),
        (
            "refers-back-to-what-was-shared",
            [
                send(SERVER, SEND_SHARED, 4, 230),
                send(SERVER, SEND, 4, 220),
                send(CLIENT, SEND_SHARED, 4, 150),
                send(CLIENT, SEND, 4, 160),
            ]
            .repeat(4),
        ),
        (
            "refers-back",
            [
                send(SERVER, SEND, 4, 230),
                send(CLIENT, SEND, 4, 220),
                deliver(SERVER, 30),
            ]
            .repeat(8),
        ),
    ];
    // What each side wants of compression, the server first, since the client's is taken first: 0 is nothing, odd is without
    // takeover, and the upper half makes the window.
    let wishes = [
        ("plain", [0, 0]),
        ("alone", [1, 1]),
        ("takeover", [0x62, 0x62]),
        ("narrow", [0x02, 0x62]),
    ];
    let mut seeds = Vec::new();
    for (name, steps) in &stories {
        // Where nothing is compressed, what was agreed on makes no difference.
        let is_of_messages = !name.starts_with("ping") && !name.contains("close");
        for (which, wishes) in wishes {
            if which == "plain" || is_of_messages {
                let mut input = Vec::new();
                for &(who, what, argument, more) in steps {
                    input.extend([who | what << 1, argument]);
                    input.extend(more);
                }
                input.extend(wishes);
                seeds.push((format!("{name}-{which}"), input));
            }
        }
    }
    seeds
}
