//! The three ways that are settled before the upgrade: whoever is not known gets a 401 and no WebSocket.

use axum::Form;
use axum::extract::{Query, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::greeting::greet;
use crate::people::People;

#[derive(Deserialize)]
pub(crate) struct Credentials {
    name: String,
    password: String,
}

/// Logs in: the answer is a session, as a cookie for pages and as text for programs.
pub(crate) async fn log_in(
    State(people): State<People>,
    Form(credentials): Form<Credentials>,
) -> Response {
    match people.log_in(&credentials.name, &credentials.password) {
        Some(session) => {
            // `SameSite` keeps other sites' pages from sending it; the origin check of the upgrade does so as well. Add
            // `Secure` where there is TLS.
            let cookie = format!("session={session}; HttpOnly; SameSite=Strict; Path=/");
            ([(SET_COOKIE, cookie)], session).into_response()
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// A cookie: the browser sends it along with the upgrade, as with any request. It does so for pages of other sites, too, so
/// this way hangs on the origin check, which is on.
pub(crate) async fn by_cookie(
    State(people): State<People>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let cookies = headers.get_all(COOKIE).iter();
    let session = cookies
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|cookie| cookie.trim().strip_prefix("session="));
    match session.and_then(|session| people.by_session(session)) {
        Some(name) => greet(request, name),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// A bearer token: for programs. Browsers cannot set the header.
pub(crate) async fn by_token(
    State(people): State<People>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match token.and_then(|token| people.by_session(token)) {
        Some(name) => greet(request, name),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// Somebody with a session gets a ticket for one WebSocket: for pages whose server is not the WebSocket's.
pub(crate) async fn give_ticket(State(people): State<People>, headers: HeaderMap) -> Response {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let Some(name) = token.and_then(|token| people.by_session(token)) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    match people.give_ticket(name) {
        Some(ticket) => ticket.into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[derive(Deserialize)]
pub(crate) struct Ticket {
    ticket: String,
}

/// A ticket in the query.
pub(crate) async fn by_ticket(
    State(people): State<People>,
    Query(Ticket { ticket }): Query<Ticket>,
    request: Request,
) -> Response {
    match people.take_ticket(&ticket) {
        Some(name) => greet(request, name),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}
