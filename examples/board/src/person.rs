//! One who draws: the three handlers of a connection. What others draw goes past them, by forwarding.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, Close, CloseCode, Connection, Forward, Message, OnMissed, Prepared, Selector,
    SendError, continue_connection, upgrade_websocket,
};

use crate::board::{Board, Seat};
use crate::picture::Own;
use crate::wire::{self, Ask};

/// The state of one connection.
pub(crate) struct Person {
    seat: Seat,
    name: Arc<str>,
    colour: u8,
    /// The stroke that is being drawn, until it is taken back.
    current: Option<u32>,
    own: Own,
    _forwards: [Forward; 2],
}

pub(crate) async fn draw(State(board): State<Board>, request: Request) -> Response {
    upgrade_websocket(request, board, on_init, on_message, on_close)
}

async fn on_init(
    connection: &Connection,
    board: &Board,
) -> Result<(Person, Option<Selector>), SendError> {
    let entrance = board.enter();
    // What is forwarded comes behind it.
    connection.send_binary(entrance.picture).await?;
    let name = format!("Guest {}", entrance.seat.number);
    let person = Person {
        seat: entrance.seat,
        name: name.into(),
        colour: 0,
        current: None,
        own: Own::new(),
        _forwards: [
            connection.forward(entrance.told, |_| OnMissed::End),
            // Lines have no gaps; a place that is missing is made good by the next move.
            connection.forward(entrance.cursors, |_| {
                OnMissed::Notice(Prepared::binary(wire::missed_cursors()))
            }),
        ],
    };
    Ok((person, None))
}

async fn on_message(
    person: &mut Person,
    message: Message,
    _: &Connection,
    board: &Board,
) -> Result<Action, Close> {
    let ask = match message {
        Message::Binary(bytes) => Ask::decode(&bytes),
        Message::Text(_) => None,
        Message::Custom(_) | Message::Missed(_) | Message::ConnectionClosed(_) => {
            return Ok(continue_connection());
        }
    };
    match ask {
        Some(ask) => obey(person, ask, board),
        None => {
            return Err(Close::new(
                CloseCode::POLICY,
                "this is not the board's protocol",
            ));
        }
    }
    Ok(continue_connection())
}

fn obey(person: &mut Person, ask: Ask, board: &Board) {
    let at = match ask {
        Ask::Begin(pen, points) => {
            person.colour = pen.colour;
            let last = points.last().copied();
            let stroke = board.begin(person.seat.number, pen, points, &mut person.own);
            person.current = Some(stroke);
            last
        }
        Ask::More(points) => {
            if let Some(stroke) = person.current {
                board.draw_on(stroke, &points);
            }
            points.last().copied()
        }
        Ask::PointAt(point) => Some(point),
        Ask::Undo => {
            person.current = None;
            board.take_back(&mut person.own);
            None
        }
        Ask::Clear => {
            board.clear();
            None
        }
        Ask::Name(name) => {
            if let Some(name) = name {
                person.name = name.into();
            }
            None
        }
    };
    if let Some(at) = at {
        board.point_at(person.seat.number, at, person.colour, &person.name);
    }
}

/// Dropping the state leaves the board.
async fn on_close(_: Person, _: &Board) {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dreamsocket::testing::{self, Client, Received};

    use super::*;
    use crate::board::MOST_PEOPLE;
    use crate::wire::{Pen, Point};

    const PEN: Pen = Pen {
        colour: 0,
        width: 1,
    };

    /// A page that has the picture, over a transport that holds next to nothing.
    async fn enter(board: &Board) -> Client {
        let mut page = testing::Builder::new().with_buffer(64).connect(
            board.clone(),
            on_init,
            on_message,
            on_close,
        );
        assert!(matches!(page.receive().await, Received::Binary(_)));
        page
    }

    /// A page that then reads nothing.
    async fn stalled(board: &Board) -> Client {
        let mut page = enter(board).await;
        page.stall();
        page
    }

    /// Starts a board that tells what changes.
    fn start() -> Board {
        let board = Board::new();
        let telling = board.clone();
        tokio::spawn(async move { telling.keep_telling().await });
        board
    }

    /// All that comes until the connection is closed, or until nothing comes: how many of a kind, and the code.
    async fn drain(page: &mut Client, kind: u8, until: &[u8]) -> (usize, Option<u16>) {
        page.unstall().await;
        let mut count = 0;
        loop {
            match page.receive().await {
                Received::Binary(bytes) if bytes[..] == *until => return (count, None),
                Received::Binary(bytes) => count += usize::from(bytes[0] == kind),
                Received::Close(code, _) => return (count, Some(code.into())),
                _ => {}
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_seconds_behind_is_closed() {
        let board = start();
        let mut page = stalled(&board).await;
        let mut own = Own::new();
        for _ in 0..400 {
            board.begin(9, PEN, vec![Point { x: 1, y: 2 }], &mut own);
            testing::advance(Duration::from_millis(20)).await;
        }
        let (told, code) = drain(&mut page, 2, &[]).await;
        assert_eq!(code, Some(1013), "after {told}");
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_cursor_a_slow_page_gets_the_latest() {
        let board = start();
        let mut page = stalled(&board).await;
        let name: Arc<str> = "Ada".into();
        for x in 0..=1_000 {
            board.point_at(9, Point { x, y: 0 }, 0, &name);
            testing::advance(Duration::from_millis(20)).await;
        }
        let latest = wire::cursor(9, Point { x: 1_000, y: 0 }, 0, &name);
        let (others, code) = drain(&mut page, 3, &latest).await;
        assert_eq!(code, None);
        assert!(others < 100, "{others}");
    }

    /// These people move within one tick, twice. Gives back what the last of them looks like at the end.
    async fn move_all(board: &Board, people: u16) -> Vec<u8> {
        let name: Arc<str> = "Ada".into();
        for x in 1..=2 {
            for person in 1..=people {
                board.point_at(person, Point { x, y: 0 }, 0, &name);
            }
            testing::advance(Duration::from_millis(20)).await;
        }
        wire::cursor(people, Point { x: 2, y: 0 }, 0, &name)
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_are_let_in_may_move_at_once() {
        let most = u16::try_from(MOST_PEOPLE).unwrap();
        let board = start();
        let mut pages = [enter(&board).await, stalled(&board).await];
        let latest = move_all(&board, most).await;
        for page in &mut pages {
            assert_eq!(drain(page, 5, &latest).await, (0, None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_misses_cursors_is_told_and_stays() {
        let board = start();
        let mut page = stalled(&board).await;
        let latest = move_all(&board, 2_000).await;
        let (notices, code) = drain(&mut page, 5, &latest).await;
        assert_eq!(code, None);
        assert!(notices > 0);
    }
}
