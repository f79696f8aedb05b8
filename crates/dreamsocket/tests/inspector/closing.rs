//! The close button, and whom it obeys.

use dreamsocket::inspector::Inspector;
use dreamsocket::{Config, Hub};
use http::{Method, StatusCode};

use crate::stage::{connect, request};

const PROGRAM: (&str, &str) = ("x-dreamsocket-inspector", "curl");
const HOST: (&str, &str) = ("host", "localhost:3000");

#[tokio::test(start_paused = true)]
async fn one_connection_is_closed_and_no_other() {
    let hub = Hub::new(Config::default());
    let inspector = Inspector::new(&hub);
    let mut closed = connect(&hub, [10, 0, 0, 1], None);
    let mut other = connect(&hub, [10, 0, 0, 2], None);
    let uri = format!("/connections/{}/close", closed.connection().id());
    let answer = request(&inspector, Method::POST, &uri, &[PROGRAM]).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    closed.expect_closed(1001).await;
    closed.ended().await;
    other.send_text("still there").await;
    other.expect_text("still there").await;

    let answer = request(&inspector, Method::POST, &uri, &[PROGRAM]).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);

    let uri = format!("/connections/{}/close", other.connection().id());
    for wrong in [
        "?code=1006",
        "?code=999",
        "?code=x",
        "?colour=red",
        &format!("?reason={}", "x".repeat(200)),
    ] {
        let answer = request(
            &inspector,
            Method::POST,
            &format!("{uri}{wrong}"),
            &[PROGRAM],
        )
        .await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    let uri = format!("{uri}?code=1008&reason=no+more");
    let answer = request(&inspector, Method::POST, &uri, &[PROGRAM]).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    other.expect_closed(1008).await;
}

#[tokio::test(start_paused = true)]
async fn foreign_pages_close_nothing() {
    // What the application allows is not allowed here.
    let origins = dreamsocket::OriginPolicy::same_origin()
        .allow(["https://app.example"])
        .danger_allow_any();
    let hub = Hub::new(Config::default().with_origins(origins));
    let inspector = Inspector::new(&hub);
    let client = connect(&hub, [10, 0, 0, 1], None);
    let uri = format!("/connections/{}/close", client.connection().id());
    let evil = ("origin", "https://evil.example");
    for (headers, status) in [
        (&[HOST][..], StatusCode::FORBIDDEN),
        (&[HOST, evil], StatusCode::FORBIDDEN),
        (&[HOST, evil, PROGRAM], StatusCode::FORBIDDEN),
        (
            &[HOST, ("origin", "https://app.example"), PROGRAM],
            StatusCode::FORBIDDEN,
        ),
        (&[HOST, ("origin", "null"), PROGRAM], StatusCode::FORBIDDEN),
        (
            &[HOST, ("origin", "http://localhost:3001")],
            StatusCode::FORBIDDEN,
        ),
    ] {
        let answer = request(&inspector, Method::POST, &uri, headers).await;
        assert_eq!(answer.status(), status, "{headers:?}");
    }
    // Nor does a link, or an image.
    let answer = request(&inspector, Method::GET, &uri, &[HOST, PROGRAM]).await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers()["allow"], "POST");
    assert!(!client.connection().is_closed());

    let own = [HOST, ("origin", "http://localhost:3000")];
    let answer = request(&inspector, Method::POST, &uri, &own).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert!(client.connection().is_closed());
}
