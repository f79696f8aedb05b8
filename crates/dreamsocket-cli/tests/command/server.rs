//! Servers on ports of their own.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use dreamsocket::{
    Action, Compression, Config, Connection, Message, Selector, SendError, Server, Tls, Upgrade,
    continue_connection, stop_connection_with,
};
use dreamsocket_protocol::handshake::accept_key;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a handler knows: the first message, and the code that the second one is answered with.
#[derive(Clone, Default)]
struct Habits {
    greeting: Option<Message>,
    code: Option<u16>,
}

fn router() -> Router {
    Router::new()
        .route("/echo", any(upgrade).with_state(Habits::default()))
        .route("/close/{code}", any(close))
        .route(
            "/escapes",
            any(upgrade).with_state(Habits {
                greeting: Some(Message::Text("\u{1b}[2Jhello".into())),
                code: None,
            }),
        )
        .route(
            "/binary",
            any(upgrade).with_state(Habits {
                greeting: Some(Message::Binary(vec![0, 10, 255].into())),
                code: None,
            }),
        )
        .route("/refuses", get(refuse))
}

async fn refuse() -> impl IntoResponse {
    (StatusCode::FORBIDDEN, "not you\u{1b}[31m\nnor anybody")
}

async fn close(Path(code): Path<u16>, request: Request) -> impl IntoResponse {
    let habits = Habits {
        greeting: None,
        code: Some(code),
    };
    upgrade(State(habits), request).await
}

async fn upgrade(State(habits): State<Habits>, request: Request) -> impl IntoResponse {
    Upgrade::new(request)
        .with_subprotocols(["echo.v1"])
        .run(habits, on_init, on_message, on_close)
}

async fn on_init(
    connection: &Connection,
    habits: &Habits,
) -> Result<((), Option<Selector>), SendError> {
    match habits.greeting.clone() {
        Some(Message::Text(text)) => connection.send_text(text).await?,
        Some(Message::Binary(bytes)) => connection.send_binary(bytes).await?,
        _ => {}
    }
    Ok(((), None))
}

async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    habits: &Habits,
) -> Result<Action, SendError> {
    if let Some(code) = habits.code {
        return Ok(stop_connection_with(code, "as you like"));
    }
    match message {
        Message::Text(text) => connection.send_text(text).await?,
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        Message::Custom(_) | Message::Missed(_) | Message::ConnectionClosed(_) => {}
    }
    Ok(continue_connection())
}

async fn on_close((): (), _: &Habits) {}

fn server() -> Server<Router> {
    let config = Config::default().with_compression(Compression::dedicated(15));
    Server::new(router()).with_config(config)
}

/// A server on a free port: its address.
pub(crate) async fn serve() -> SocketAddr {
    serve_at("127.0.0.1:0").await
}

pub(crate) async fn serve_at(address: &str) -> SocketAddr {
    let server = server().bind(address).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.run_until_drained());
    address
}

/// Accepts a connection and answers the handshake; what comes then is the test's.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let key = lines.find_map(|line| line.strip_prefix("sec-websocket-key: "));
    let accept = accept_key(key.unwrap().as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept.to_str().unwrap()
    );
    stream.write_all(response.as_bytes()).await.unwrap();
    stream
}

/// One with TLS, and its certificate in PEM, for `localhost`.
pub(crate) async fn serve_tls() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let server = server().tls(tls).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.run_until_drained());
    (address, certificate)
}
