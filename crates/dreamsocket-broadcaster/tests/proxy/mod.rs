//! A network between a node and its broker that can be cut, or fall silent: the fault proxy, in front of a broker's URL.

#![allow(dead_code, reason = "each test uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use fault_proxy::{End, Plan};

pub(crate) struct Proxy {
    scheme: String,
    line: fault_proxy::Proxy,
}

impl Proxy {
    /// In front of the server of that URL.
    pub(crate) async fn start(url: &str) -> Self {
        let (scheme, server) = url.split_once("://").unwrap();
        let line = fault_proxy::Proxy::start(server.parse().unwrap(), Plan::calm(), 0);
        Self {
            scheme: scheme.to_owned(),
            line: line.await.unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.line.address())
    }

    /// Carries again. Connections that were silent are ended first, so that what was held does not come through after all.
    pub(crate) fn accept(&self) {
        self.line.end_all(End::Cut);
        self.line.release();
        self.line.refuse(false);
    }

    /// Open connections stay, and nothing comes through; new ones, too.
    pub(crate) fn hold(&self) {
        self.line.hold();
    }

    /// Open connections stay, and nothing comes through, ever; new ones work.
    pub(crate) fn swallow(&self) {
        self.line.end_all(End::BlackHole);
    }

    /// All connections are closed, and new ones are.
    pub(crate) fn refuse(&self) {
        self.line.refuse(true);
        self.line.end_all(End::Cut);
    }
}
