//! A build that cannot measure says so when it is asked to.

use std::net::SocketAddr;

use dreamsocket::BoxError;

use crate::shared::Shared;

pub(crate) enum Metrics {}

impl Metrics {
    pub(crate) fn install(_: &str) -> Result<Self, BoxError> {
        Err("this program was built without it: build it with `--features metrics`".into())
    }

    #[expect(clippy::unused_async, reason = "there is nothing to wait for")]
    pub(crate) async fn serve(self, _: &Shared) -> Result<SocketAddr, BoxError> {
        match self {}
    }
}
