//! The way that is settled after the upgrade: the first message says who it is. Until then the connection may do next to
//! nothing: short messages, few of them, and ten seconds to log in.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, BoxError, Close, CloseCode, Config, Connection, Excess, Message, Rate, Selector,
    Upgrade, continue_connection,
};

use crate::people::People;

/// What holds for a stranger.
fn strict() -> Config {
    Config::default()
        .with_max_message(200)
        .with_max_frame(200)
        .with_message_rate(Some(Rate::per_second(NonZeroU32::MIN)))
        .with_rate_excess(Excess::Close)
        .with_max_lifetime(Some(Duration::from_secs(10)))
}

pub(crate) async fn by_first_message(State(people): State<People>, request: Request) -> Response {
    Upgrade::new(request)
        .with_config(strict())
        .run(people, on_init, on_message, on_close)
        .map(Body::new)
}

/// Who it is, once that is known.
type Visitor = Option<String>;

async fn on_init(_: &Connection, _: &People) -> (Visitor, Option<Selector>) {
    (None, None)
}

async fn on_message(
    visitor: &mut Visitor,
    message: Message,
    connection: &Connection,
    people: &People,
) -> Result<Action, BoxError> {
    let Message::Text(text) = message else {
        return Ok(continue_connection());
    };
    if let Some(name) = visitor {
        connection.send_text(format!("{name}: {text}")).await?;
        return Ok(continue_connection());
    }
    let Some(name) = people.by_session(&text) else {
        return Err(Close::new(CloseCode::POLICY, "log in first").into());
    };
    // From here on what holds for everybody.
    connection.set_bounds(Config::default());
    connection.send_text(format!("hello {name}")).await?;
    *visitor = Some(name);
    Ok(continue_connection())
}

async fn on_close(_: Visitor, _: &People) {}
