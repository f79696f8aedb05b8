//! U1: an upgrade works wherever hyper 1 serves, whatever the type of the response, once each.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::any;
use bytes::Bytes;
use dreamsocket::{
    Action, BoxError, Config, Connection, HttpService, Hub, Message, Selector, SendError, Server,
    Upgrade, continue_connection, upgrade_websocket,
};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tower_service::Service;

use crate::app::listener;
use crate::client::{CLOSE, Client, handshake};

async fn on_init(_: &Connection, _: &()) -> ((), Option<Selector>) {
    ((), None)
}

async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    (): &(),
) -> Result<Action, SendError> {
    if let Message::Text(text) = message {
        connection.send_text(text).await?;
    }
    Ok(continue_connection())
}

async fn on_close((): (), (): &()) {}

/// One echo and a clean end at `/`, one refusal.
async fn check_echo(address: SocketAddr) {
    let mut client = Client::connect(address).await;
    let refusal = client
        .request("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(refusal.status, 426, "{refusal:?}");
    // The same connection: a refusal does not end it.
    client.upgrade("/").await;
    client.echo("hello").await;
    client.send(CLOSE, &1000_u16.to_be_bytes()).await;
    client.expect_close(1000).await;
}

async fn check_service(service: impl HttpService) {
    let server = Server::new(service).bind("127.0.0.1:0").await.unwrap();
    let (address, hub) = (server.local_addr(), server.hub().clone());
    let running = tokio::spawn(server.run_until_drained());
    check_echo(address).await;
    hub.drain();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn u1_axum_handler_that_returns_a_response() {
    async fn handler(request: axum::extract::Request) -> axum::response::Response {
        upgrade_websocket(request, (), on_init, on_message, on_close)
    }
    check_service(Router::new().route("/", any(handler))).await;
}

/// The session then is a task of its own, and not its connection's.
#[tokio::test]
async fn u1_axum_handler_that_upgrades_in_another_task() {
    async fn handler(request: axum::extract::Request) -> axum::response::Response {
        let upgrading = async { upgrade_websocket(request, (), on_init, on_message, on_close) };
        tokio::spawn(upgrading).await.unwrap()
    }
    check_service(Router::new().route("/", any(handler))).await;
}

/// U1: a session runs on the runtime in which the upgrade was called.
#[test]
fn u1_axum_handler_that_enters_another_runtime() {
    async fn on_init(connection: &Connection, _: &()) -> ((), Option<Selector>) {
        let name = std::thread::current().name().map(ToOwned::to_owned);
        connection
            .send_text(name.unwrap_or_default())
            .await
            .unwrap();
        ((), None)
    }
    let other = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("the other runtime")
        .enable_all()
        .build()
        .unwrap();
    let handle = other.handle().clone();
    let handler = async move |request: axum::extract::Request| {
        let _entered = handle.enter();
        Upgrade::new(request).run((), on_init, on_message, on_close)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::new(Router::new().route("/", any(handler)));
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let (address, hub) = (server.local_addr(), server.hub().clone());
        let running = tokio::spawn(server.run_until_drained());
        let mut client = Client::open(address, "/").await;
        client.expect_text("the other runtime").await;
        hub.drain();
        client.expect_close(1001).await;
        running.await.unwrap().unwrap();
    });
}

#[tokio::test]
async fn u1_axum_handler_that_returns_impl_into_response() {
    async fn handler(request: axum::extract::Request) -> impl IntoResponse {
        Upgrade::new(request).run((), on_init, on_message, on_close)
    }
    check_service(Router::new().route("/", any(handler))).await;
}

#[tokio::test]
async fn u1_behind_tower_layers() {
    async fn handler(request: axum::extract::Request) -> axum::response::Response {
        upgrade_websocket(request, (), on_init, on_message, on_close)
    }
    /// A middleware that boxes the future and touches the response.
    async fn stamp(
        request: axum::extract::Request,
        next: axum::middleware::Next,
    ) -> impl IntoResponse {
        let mut response = next.run(request).await;
        response
            .headers_mut()
            .insert("x-stamp", http::HeaderValue::from_static("1"));
        response
    }
    let router = Router::new()
        .route("/", any(handler))
        .layer(axum::middleware::from_fn(stamp));
    check_service(router).await;
}

/// A middleware may answer something else: then the session that was to come takes no place among those that are there.
#[tokio::test]
async fn u1_an_upgrade_whose_answer_is_thrown_away_is_over() {
    async fn yes(request: axum::extract::Request) -> axum::response::Response {
        upgrade_websocket(request, (), on_init, on_message, on_close)
    }
    async fn no(request: axum::extract::Request) -> StatusCode {
        assert_eq!(yes(request).await.status(), 101);
        StatusCode::IM_A_TEAPOT
    }
    let router = Router::new().route("/", any(yes)).route("/no", any(no));
    let hub = Hub::new(Config::default().with_max_connections(1));
    let server = Server::new(router)
        .with_hub(hub.clone())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut client = Client::connect(server.local_addr()).await;
    let running = tokio::spawn(server.run_until_drained());
    for _ in 0..2 {
        let answer = client.request(&(handshake("/no") + "\r\n")).await;
        assert_eq!(answer.status, 418, "{answer:?}");
        assert_eq!(hub.connections(), 0);
    }
    // The same connection.
    client.upgrade("/").await;
    client.echo("hello").await;
    hub.drain();
    client.expect_close(1001).await;
    running.await.unwrap().unwrap();
}

/// A tower service without axum, which must be asked whether it is ready before each call.
struct Plain<B> {
    answer: fn(Request<Incoming>) -> Response<B>,
    polls: u32,
}

impl<B> Clone for Plain<B> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<B> Plain<B> {
    fn new(answer: fn(Request<Incoming>) -> Response<B>) -> Self {
        Self { answer, polls: 0 }
    }
}

impl<B> Service<Request<Incoming>> for Plain<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.polls += 1;
        if self.polls < 3 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        assert_eq!(self.polls, 3, "called without having been ready");
        self.polls = 0;
        ready(Ok((self.answer)(request)))
    }
}

#[tokio::test]
async fn u1_tower_service_with_a_full_body() {
    check_service(Plain::new(|request| {
        let response: Response<Full<Bytes>> =
            upgrade_websocket(request, (), on_init, on_message, on_close);
        response
    }))
    .await;
}

#[tokio::test]
async fn u1_tower_service_with_a_boxed_body() {
    check_service(Plain::new(|request| {
        let response = Upgrade::new(request).run((), on_init, on_message, on_close);
        response.map(|body| -> BoxBody<Bytes, BoxError> { body.map_err(Into::into).boxed() })
    }))
    .await;
}

#[tokio::test]
async fn u1_service_fn_on_bare_hyper() {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let hub = Hub::new(Config::default());
    let accepting = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let hub = hub.clone();
            let service = service_fn(move |mut request| {
                request.extensions_mut().insert(hub.clone());
                answer(request)
            });
            let connection = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(connection);
        }
    });
    async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(upgrade_websocket(
            request,
            (),
            on_init,
            on_message,
            on_close,
        ))
    }
    check_echo(address).await;
    accepting.abort();
}

#[tokio::test]
async fn u1_under_axum_serve_with_the_hubs_layer() {
    async fn handler(request: axum::extract::Request) -> axum::response::Response {
        upgrade_websocket(request, (), on_init, on_message, on_close)
    }
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let hub = Hub::new(Config::default());
    let router = Router::new().route("/", any(handler)).layer(hub.layer());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    check_echo(address).await;
    serving.abort();
}

/// An error of the service is an answer, not the end of the connection.
#[tokio::test]
async fn a_service_that_fails_is_a_500() {
    #[derive(Clone)]
    struct Fails;
    impl Service<Request<Incoming>> for Fails {
        type Response = Response<Full<Bytes>>;
        type Error = &'static str;
        type Future = Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Incoming>) -> Self::Future {
            ready(Err("no database"))
        }
    }
    let server = Server::new(Fails).bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(server.local_addr()).await;
    let running = tokio::spawn(server.run_until_drained());
    for _ in 0..2 {
        let answer = client
            .request("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.body, "", "errors of the inside stay inside");
    }
    running.abort();
}
