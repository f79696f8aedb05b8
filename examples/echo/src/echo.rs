//! `/echo`: every message goes back as it came.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::Upgrade;

use crate::handlers::{on_close, on_init, on_message};

/// Speaks these subprotocols, the preferred one first.
pub(crate) async fn echo(State(subprotocols): State<Arc<[String]>>, request: Request) -> Response {
    Upgrade::new(request)
        .with_subprotocols(subprotocols.iter().cloned())
        .run((), on_init, on_message, on_close)
        .map(Body::new)
}
