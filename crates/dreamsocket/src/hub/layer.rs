//! The tower layer that puts a hub into requests, where upgrades find it.

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::Hub;

/// Made by [`Hub::layer`].
#[derive(Debug, Clone)]
pub struct HubLayer {
    hub: Hub,
}

impl HubLayer {
    pub(super) const fn new(hub: Hub) -> Self {
        Self { hub }
    }
}

impl<S> Layer<S> for HubLayer {
    type Service = HubService<S>;

    fn layer(&self, inner: S) -> HubService<S> {
        HubService {
            inner,
            hub: self.hub.clone(),
        }
    }
}

/// The service that [`HubLayer`] makes.
#[derive(Debug, Clone)]
pub struct HubService<S> {
    inner: S,
    hub: Hub,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for HubService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.hub.clone());
        self.inner.call(request)
    }
}
