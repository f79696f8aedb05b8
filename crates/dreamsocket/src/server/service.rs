//! What a [`Server`](crate::Server) serves, as one bound instead of six.

use std::future::{Future, poll_fn};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tower_service::Service;

use crate::error::BoxError;

/// A tower service that answers HTTP requests: an axum `Router`, or any `S: Clone + Send` with
/// `S: Service<Request<hyper::body::Incoming>, Response = http::Response<B>>`, `B: http_body::Body`, whose future is
/// `Send` and whose errors are `Into<BoxError>`. Not to be implemented otherwise.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be served",
    label = "not a tower service of HTTP requests",
    note = "`Server` takes an axum `Router<()>` (call `with_state` if the state is missing), or any `Clone + Send + 'static` \
            tower `Service<http::Request<hyper::body::Incoming>>` with an `http::Response<B>`, `B: http_body::Body + Send`"
)]
pub trait HttpService: Clone + Send + 'static {
    /// The body of the responses.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// Waits until the service is ready and calls it.
    #[doc(hidden)]
    fn answer(
        self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, BoxError>> + Send;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Body = B;

    async fn answer(mut self, request: Request<Incoming>) -> Result<Response<B>, BoxError> {
        poll_fn(|context| self.poll_ready(context))
            .await
            .map_err(Into::into)?;
        self.call(request).await.map_err(Into::into)
    }
}
