//! Clients that die, each in another way.

use std::time::Duration;

use fault_proxy::{Dice, End, Plan, Proxy, Way};

use super::raw::{BINARY, CLOSE, Raw, TEXT, handshake, head};
use crate::load::Load;
use crate::tally::Tally;

/// How long one that was swallowed stays: longer than the server's heartbeat needs to find out.
const SWALLOWED: Duration = Duration::from_secs(20);

/// Lives for a moment, and dies.
pub(crate) async fn die(load: &Load, mut dice: Dice) {
    Tally::add(&load.tally.bad, 1);
    // Nobody has to succeed here.
    let _ = try_to_die(load, &mut dice).await;
    load.pause(dice.time(Duration::ZERO, Duration::from_millis(500)))
        .await;
}

async fn try_to_die(load: &Load, dice: &mut Dice) -> Option<()> {
    let way = dice.draw(0..10);
    if way < 2 {
        // It connects and is gone, or goes in the middle of the handshake.
        let mut raw = Raw::connect(load.address).await?;
        if way == 1 {
            let request = handshake("/echo");
            let half = dice.draw(1..100);
            raw.write(request.get(..usize::try_from(half).ok()?)?.as_bytes())
                .await;
            load.pause(dice.time(Duration::ZERO, Duration::from_secs(1)))
                .await;
        }
        return Some(());
    }
    let path = match dice.draw(0..3) {
        0 => "/echo".to_owned(),
        1 => "/feed".to_owned(),
        // Where good clients are, which are to hear of it and no more.
        _ => format!("/room?room={}&name={}", dice.draw(0..8), dice.seed()),
    };
    let mut raw = Raw::open(load.address, &path).await?;
    if dice.once_in(2) {
        raw.send(TEXT, b"0").await;
    }
    load.pause(dice.time(Duration::ZERO, Duration::from_millis(300)))
        .await;
    match way {
        // It vanishes: the socket ends without a close frame.
        2 => {}
        3 => raw.reset(),
        // In the middle of a frame.
        4 | 5 => {
            raw.write(&head(BINARY, 1000)).await;
            raw.write(&[7; 500]).await;
            if way == 5 {
                raw.reset();
            }
        }
        // It says goodbye and does not wait for the answer.
        6 => {
            raw.send(CLOSE, &1000_u16.to_be_bytes()).await;
        }
        // It breaks the protocol: a reserved bit, a message that is too large, text that is none.
        7 => {
            raw.write(&[0xf1, 0x80, 0, 0, 0, 0]).await;
            raw.read_to_end().await;
        }
        8 => {
            raw.write(&head(BINARY, 1 << 20)).await;
            raw.read_to_end().await;
        }
        _ => {
            raw.send(TEXT, &[0xff]).await;
            raw.read_to_end().await;
        }
    }
    Some(())
}

/// The network takes it away: the server hears nothing more of it, not even an end.
pub(crate) async fn be_swallowed(load: &Load, mut dice: Dice) {
    Tally::add(&load.tally.bad, 1);
    let way = if dice.once_in(2) { Way::Up } else { Way::Down };
    let plan = Plan::calm().with_end(End::BlackHole, way, dice.draw(50..2_000));
    let Ok(proxy) = Proxy::start(load.address, plan, dice.seed()).await else {
        return load.pause(Duration::from_secs(1)).await;
    };
    let mut raw = Raw::open(proxy.address(), "/feed").await;
    if let Some(raw) = &mut raw {
        for _ in 0..40 {
            raw.send(TEXT, &[b'x'; 60]).await;
        }
    }
    // Both stay until then.
    load.pause(SWALLOWED).await;
}
