//! Runs what has to fail, and returns what it says.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::task::Poll;

pub(crate) async fn failure<T>(expectation: impl Future<Output = T>) -> String {
    let mut expectation = std::pin::pin!(expectation);
    let failed = std::future::poll_fn(|context| {
        let poll = AssertUnwindSafe(|| expectation.as_mut().poll(context));
        match std::panic::catch_unwind(poll) {
            Ok(polled) => polled.map(|_| None),
            Err(payload) => Poll::Ready(Some(payload)),
        }
    })
    .await;
    let payload = failed.expect("it did not fail");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}
