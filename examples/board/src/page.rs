//! The page, built into the program: its files as they lie in `page/`, and the headers that fence them in.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::routing::get;

/// Path, type and content.
const FILES: [(&str, &str, &str); 6] = [
    ("/", "text/html", include_str!("../page/index.html")),
    ("/style.css", "text/css", include_str!("../page/style.css")),
    ("/app.js", "text/javascript", include_str!("../page/app.js")),
    (
        "/wire.js",
        "text/javascript",
        include_str!("../page/wire.js"),
    ),
    (
        "/canvas.js",
        "text/javascript",
        include_str!("../page/canvas.js"),
    ),
    (
        "/icon.svg",
        "image/svg+xml",
        include_str!("../page/icon.svg"),
    ),
];

/// Only what this server gives itself may load, nothing may be turned into HTML or a script, and no other page may frame
/// this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, content)| {
            let headers = [
                (CONTENT_TYPE, format!("{kind}; charset=utf-8")),
                (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
                (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
                (REFERRER_POLICY, "same-origin".to_owned()),
                (CACHE_CONTROL, "no-cache".to_owned()),
            ];
            router.route(path, get(async move || (headers.clone(), content)))
        })
}
