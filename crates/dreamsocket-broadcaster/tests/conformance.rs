//! The kit on the engines of this crate: in process, over a broker in memory, and over real servers of NATS and Redis,
//! which are started on free ports and stopped with the test.

mod broker;
#[cfg(any(feature = "nats", feature = "redis"))]
mod proxy;

use broker::Broker;
use broker::store::Keys;
use dreamsocket_broadcaster::conformance::{self, Cable, KEPT, Note, PresenceSpace, Report, Space};
use dreamsocket_broadcaster::{Broadcaster, History, Presence, RemoteOptions};

struct InProcess {
    plain: Broadcaster<Note>,
    keeping: Broadcaster<Note>,
}

impl Space for InProcess {
    async fn node(&self) -> Broadcaster<Note> {
        self.plain.clone()
    }

    async fn history_node(&self) -> Option<Broadcaster<Note>> {
        Some(self.keeping.clone())
    }
}

struct InMemory(Broker);

impl Space for InMemory {
    async fn node(&self) -> Broadcaster<Note> {
        self.0.connected(RemoteOptions::new()).await
    }

    async fn interrupt(&self) -> bool {
        self.0.stop();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        self.0.start();
        true
    }

    async fn history_node(&self) -> Option<Broadcaster<Note>> {
        Some(self.0.connected(options()).await)
    }

    async fn lose_history(&self) -> bool {
        self.0.lose_history();
        true
    }
}

/// Of a node that keeps history.
fn options() -> RemoteOptions {
    RemoteOptions::new().history(History::last(KEPT))
}

#[track_caller]
fn check(report: &Report, left_out: usize) {
    assert!(report.is_passed(), "{report}");
    assert_eq!(report.left_out.len(), left_out, "{report}");
    assert!(report.passed.len() + left_out >= 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_process() {
    let space = InProcess {
        plain: Broadcaster::new(),
        keeping: Broadcaster::with_history(History::last(KEPT)),
    };
    let report = conformance::run(&space).await;
    check(&report, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_broker_in_memory() {
    let report = conformance::run(&InMemory(Broker::new())).await;
    check(&report, 0);
}

struct PresentInProcess(Presence<u32, String>);

impl PresenceSpace for PresentInProcess {
    async fn node(&self) -> Presence<u32, String> {
        self.0.clone()
    }
}

struct PresentInMemory(Broker, Keys);

/// A node's way to the broker in memory.
struct MemoryCable(Broker, usize);

impl Cable for MemoryCable {
    fn cut(&self) {
        self.0.bar(self.1);
    }

    fn mend(&self) {
        self.0.admit(self.1);
    }
}

impl PresenceSpace for PresentInMemory {
    async fn node(&self) -> Presence<u32, String> {
        self.0.present(&self.1).await.1
    }

    async fn restart(&self) -> bool {
        self.0.stop();
        self.1.forget();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        self.0.start();
        true
    }

    async fn node_with_cable(&self) -> Option<(Presence<u32, String>, Box<dyn Cable>)> {
        let (node, presence) = self.0.present(&self.1).await;
        let cable = MemoryCable(self.0.clone(), node);
        Some((presence, Box::new(cable)))
    }
}

#[cfg(any(feature = "nats", feature = "redis"))]
impl Cable for proxy::Proxy {
    fn cut(&self) {
        self.refuse();
    }

    fn mend(&self) {
        self.accept();
    }
}

#[track_caller]
fn check_presence(report: &Report, left_out: usize) {
    assert!(report.is_passed(), "{report}");
    assert_eq!(report.left_out.len(), left_out, "{report}");
}

/// What is the same whatever is behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_presence_in_process() {
    let space = PresentInProcess(Presence::new());
    let report = conformance::run_presence(&space).await;
    check_presence(&report, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_presence_over_a_broker_in_memory() {
    let space = PresentInMemory(Broker::new(), Keys::default());
    check_presence(&conformance::run_presence(&space).await, 0);
}

#[cfg(feature = "nats")]
mod nats {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use dreamsocket_broadcaster::PresenceOptions;

    use super::*;
    use crate::proxy::Proxy;
    use brokers::Nats;

    struct OverNats(Nats);

    impl Space for OverNats {
        async fn node(&self) -> Broadcaster<Note> {
            let url = self.0.url();
            let node = Broadcaster::connect_nats(&url, RemoteOptions::new()).await;
            node.expect("nats-server is there")
        }

        async fn history_node(&self) -> Option<Broadcaster<Note>> {
            let node = Broadcaster::connect_nats(&self.0.url(), options()).await;
            Some(node.expect("nats-server is there"))
        }

        async fn lose_history(&self) -> bool {
            self.0.delete_stream("dreamsocket_kept").await;
            true
        }

        async fn interrupt(&self) -> bool {
            self.0.restart().await;
            true
        }
    }

    struct PresentOverNats(Nats);

    async fn present(url: &str) -> Presence<u32, String> {
        let node = Presence::connect_nats(url, PresenceOptions::new()).await;
        node.expect("nats-server is there")
    }

    impl PresenceSpace for PresentOverNats {
        async fn node(&self) -> Presence<u32, String> {
            present(&self.0.url()).await
        }

        async fn restart(&self) -> bool {
            self.0.restart().await;
            true
        }

        async fn node_with_cable(&self) -> Option<(Presence<u32, String>, Box<dyn Cable>)> {
            let proxy = Proxy::start(&self.0.url()).await;
            Some((present(&proxy.url()).await, Box::new(proxy)))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn b8_presence_over_nats() {
        let space = PresentOverNats(Nats::start_with_jetstream().await);
        check_presence(&conformance::run_presence(&space).await, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn over_nats() {
        let report = conformance::run(&OverNats(Nats::start_with("-js -sd FOLDER").await)).await;
        check(&report, 0);
    }
}

#[cfg(feature = "redis")]
mod redis {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use dreamsocket_broadcaster::PresenceOptions;

    use super::*;
    use crate::proxy::Proxy;
    use brokers::Redis;

    struct OverRedis(Redis);

    impl Space for OverRedis {
        async fn node(&self) -> Broadcaster<Note> {
            let url = self.0.url();
            let node = Broadcaster::connect_redis(&url, RemoteOptions::new()).await;
            node.expect("redis-server is there")
        }

        async fn history_node(&self) -> Option<Broadcaster<Note>> {
            let node = Broadcaster::connect_redis(&self.0.url(), options()).await;
            Some(node.expect("redis-server is there"))
        }

        async fn lose_history(&self) -> bool {
            self.0.flush().await;
            true
        }

        async fn interrupt(&self) -> bool {
            self.0.restart().await;
            true
        }
    }

    struct PresentOverRedis(Redis);

    async fn present(url: &str) -> Presence<u32, String> {
        let node = Presence::connect_redis(url, PresenceOptions::new()).await;
        node.expect("redis-server is there")
    }

    impl PresenceSpace for PresentOverRedis {
        async fn node(&self) -> Presence<u32, String> {
            present(&self.0.url()).await
        }

        async fn restart(&self) -> bool {
            self.0.restart().await;
            true
        }

        async fn node_with_cable(&self) -> Option<(Presence<u32, String>, Box<dyn Cable>)> {
            let proxy = Proxy::start(&self.0.url()).await;
            Some((present(&proxy.url()).await, Box::new(proxy)))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn b8_presence_over_redis() {
        let space = PresentOverRedis(Redis::start().await);
        check_presence(&conformance::run_presence(&space).await, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn over_redis() {
        let report = conformance::run(&OverRedis(Redis::start().await)).await;
        check(&report, 0);
    }
}
