//! `/metrics` for Prometheus, on an address of its own: whoever reads it knows how busy the chat is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use dreamsocket::metrics::Sampler;
use dreamsocket::{BoxError, Server};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::shared::Shared;

/// How often what was measured is put into buckets, also while nobody asks: until then each measurement takes memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Buckets in seconds: of what is to be quick, and of what lasts.
const QUICK: [f64; 8] = [0.000_1, 0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];
const LONG: [f64; 7] = [1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0];

pub(crate) struct Metrics {
    address: String,
    prometheus: PrometheusHandle,
}

impl Metrics {
    /// From here on everything is measured.
    pub(crate) fn install(address: &str) -> Result<Self, BoxError> {
        let long = Matcher::Full("dreamsocket_connection_seconds".to_owned());
        let prometheus = PrometheusBuilder::new()
            .set_buckets(&QUICK)?
            .set_buckets_for_metric(long, &LONG)?
            .install_recorder()?;
        Ok(Self {
            address: address.to_owned(),
            prometheus,
        })
    }

    /// Serves it as long as the program runs; where.
    pub(crate) async fn serve(self, shared: &Shared) -> Result<SocketAddr, BoxError> {
        let sampler = Sampler::new()
            .with_broadcaster("said", &shared.said)
            .with_broadcaster("typing", &shared.typing)
            .with_presence("people", &shared.people);
        let sampler = Arc::new(sampler);
        let rendered = self.prometheus.clone();
        let metrics = get(move || async move {
            sampler.sample();
            rendered.render()
        });
        let router = Router::new().route("/metrics", metrics);
        let server = Server::new(router).bind(&self.address).await?;
        let address = server.local_addr();
        tokio::spawn(server.run_until_drained());
        tokio::spawn(async move {
            let mut upkeep = tokio::time::interval(UPKEEP);
            loop {
                upkeep.tick().await;
                self.prometheus.run_upkeep();
            }
        });
        Ok(address)
    }
}
