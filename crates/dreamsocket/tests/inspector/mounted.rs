//! Where it is mounted, and that it is nowhere else.

use std::net::SocketAddr;

use dreamsocket::inspector::Inspector;
use dreamsocket::{Config, Hub, OriginPolicy, PeerAddr};
use http::{Method, Request, StatusCode};
use tower_service::Service;

use crate::stage::{request, text};

#[tokio::test]
async fn nothing_is_exposed_unless_it_is_mounted() {
    let hub = Hub::new(Config::default());
    let plain = axum::Router::<()>::new().layer(hub.layer());
    let inspector = Inspector::new(&hub);
    let mounted = axum::Router::<()>::new()
        .nest_service("/inspect", inspector)
        .layer(hub.layer());
    for (mut router, status) in [(plain, StatusCode::NOT_FOUND), (mounted, StatusCode::OK)] {
        for path in [
            "",
            "/",
            "/summary.json",
            "/connections.json",
            "/topics.json",
        ] {
            let request = Request::builder().uri(format!("/inspect{path}"));
            let request = request.body(axum::body::Body::empty()).unwrap();
            let response = router.call(request).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
        }
    }
}

#[tokio::test]
async fn the_page_loads_nothing_and_runs_only_its_own_script() {
    let inspector = Inspector::new(&Hub::new(Config::default()));
    let answer = request(&inspector, Method::GET, "/", &[]).await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let policy = header("content-security-policy");
    let nonce = policy
        .split("'nonce-")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    let nonce = nonce.to_owned();
    assert!(policy.starts_with("default-src 'none'; "));
    assert!(policy.contains("frame-ancestors 'none'"));
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-content-type-options"), "nosniff");
    let page = text(answer).await;
    assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert_eq!(
        (
            page.matches("<script").count(),
            page.matches("<style").count()
        ),
        (1, 1)
    );
    for elsewhere in [
        "src=",
        "<link rel=\"stylesheet",
        "@import",
        // Relative, it leads elsewhere where the page's address has no slash at its end, as a router's `/inspect`.
        "<a ",
        "{nonce}",
        "{style}",
        "{script}",
        "innerHTML",
    ] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    let again = request(&inspector, Method::GET, "/", &[]).await;
    assert!(!text(again).await.contains(&nonce));
}

#[tokio::test]
async fn other_pages_have_nothing_made_and_links_lead_to_the_page() {
    let inspector = Inspector::new(&Hub::new(Config::default()));
    for (path, of_others) in [
        ("/", StatusCode::OK),
        ("/connections.json", StatusCode::FORBIDDEN),
        ("/summary.json", StatusCode::FORBIDDEN),
        ("/topics.json", StatusCode::FORBIDDEN),
    ] {
        for (site, status) in [
            ("cross-site", of_others),
            ("same-site", of_others),
            ("same-origin", StatusCode::OK),
            ("none", StatusCode::OK),
        ] {
            let headers = [("sec-fetch-site", site)];
            let answer = request(&inspector, Method::GET, path, &headers).await;
            assert_eq!(answer.status(), status, "{path} {site}");
        }
    }
}

/// DNS rebinding: the page of a name that an attacker has pointed here is of the inspector's own origin.
#[tokio::test]
async fn names_that_are_not_its_own_reach_nothing() {
    let hub = Hub::new(Config::default());
    let inspector = Inspector::new(&hub);
    let named = Inspector::new(&hub).allowed_hosts(["inspect.example"]);
    for (inspector, host, status) in [
        (&inspector, "evil.example", StatusCode::FORBIDDEN),
        (&inspector, "inspect.example", StatusCode::FORBIDDEN),
        (&inspector, "10.0.0.5:9000", StatusCode::OK),
        (&inspector, "localhost", StatusCode::OK),
        (&named, "inspect.example:8443", StatusCode::OK),
        (&named, "evil.example", StatusCode::FORBIDDEN),
    ] {
        for path in ["/", "/summary.json", "/connections.json"] {
            let origin = format!("http://{host}");
            let headers = [("host", host), ("origin", &*origin)];
            let answer = request(inspector, Method::GET, path, &headers).await;
            assert_eq!(answer.status(), status, "{host}{path}");
            if status == StatusCode::FORBIDDEN {
                let line = text(answer).await;
                assert!(line.contains("Inspector::allowed_hosts"), "{line}");
            }
        }
        let headers = [("host", host), ("x-dreamsocket-inspector", "page")];
        let close = "/connections/00000000000000ff/close";
        let answer = request(inspector, Method::POST, close, &headers).await;
        let is_refused = answer.status() == StatusCode::FORBIDDEN;
        assert_eq!(is_refused, status == StatusCode::FORBIDDEN, "{host}");
        let answer = request(inspector, Method::GET, "/live", &headers).await;
        let is_refused = answer.status() == StatusCode::FORBIDDEN;
        assert_eq!(is_refused, status == StatusCode::FORBIDDEN, "{host}");
    }
}

/// A proxy that extends the header leaves what the page wrote there before what it writes itself.
#[tokio::test]
async fn the_host_before_a_proxys_own_reaches_nothing() {
    let proxy = SocketAddr::from(([10, 0, 0, 1], 4321));
    let origins = OriginPolicy::same_origin().trust_proxies([proxy.ip()]);
    let inspector = Inspector::new(&Hub::new(Config::default().with_origins(origins)));
    for (forwarded, status) in [
        ("localhost", StatusCode::OK),
        ("localhost, evil.example", StatusCode::FORBIDDEN),
        ("evil.example, localhost", StatusCode::OK),
    ] {
        let request = Request::builder()
            .uri("/summary.json")
            .header("host", "backend.example")
            .header("x-forwarded-host", forwarded)
            .extension(PeerAddr(proxy))
            .body(())
            .unwrap();
        let answer = inspector.respond(request).await;
        assert_eq!(answer.status(), status, "{forwarded}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_a_line() {
    let inspector = Inspector::new(&Hub::new(Config::default()));
    for (method, path, status) in [
        (Method::GET, "/metrics", StatusCode::NOT_FOUND),
        (Method::GET, "/connections", StatusCode::NOT_FOUND),
        (
            Method::POST,
            "/summary.json",
            StatusCode::METHOD_NOT_ALLOWED,
        ),
        (Method::DELETE, "/", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/live", StatusCode::UPGRADE_REQUIRED),
    ] {
        let answer = request(&inspector, method, path, &[]).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(text(answer).await.lines().count(), 1);
    }
}
