//! One who draws: the three handlers of a connection. What others draw goes past them, by forwarding.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, Close, CloseCode, Connection, Forward, Message, OnMissed, Selector, SendError,
    continue_connection, upgrade_websocket,
};

use crate::board::{Board, Seat};
use crate::picture::Own;
use crate::wire::Ask;

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
            connection.forward(entrance.cursors, |_| OnMissed::End),
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
            person.name = name.into();
            None
        }
    };
    if let Some(at) = at {
        board.point_at(person.seat.number, at, person.colour, &person.name);
    }
}

/// Dropping the state leaves the board.
async fn on_close(_: Person, _: &Board) {}
