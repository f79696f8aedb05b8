//! What a server does around its requests: accepts, bounds, and ends.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dreamsocket::Hub;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::answer;

/// HTTP connections at a time. Those that became WebSockets are not among them: the hub counts those.
const MOST_CONNECTIONS: usize = 1_000;
/// How long the head of a request may take to come, and how long a connection may be idle between requests.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Accepts until a drain starts, and returns when the last request is answered.
pub(crate) async fn serve(listener: TcpListener, hub: Hub) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    // SIGTERM and SIGINT start a drain from here on.
    let mut draining = pin!(hub.drain_on_signal());
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = draining.as_mut() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let hub = hub.clone();
                connections.spawn(async move {
                    let _place = place;
                    serve_connection(stream, hub).await;
                });
            }
            Err(error) => {
                // No file descriptors are left, as a rule: it takes a moment until some are.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        // Forgets those that have ended.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn serve_connection(stream: TcpStream, hub: Hub) {
    // Small messages are to leave at once. Fails only when the peer is gone, which is seen soon enough.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|mut request| {
        // Where upgrades find their hub. With tower it is `hub.layer()` that puts it there.
        request.extensions_mut().insert(hub.clone());
        answer(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service)
        // Without this an upgrade waits for ever.
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = hub.drain_on_signal() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection failed");
    }
}
