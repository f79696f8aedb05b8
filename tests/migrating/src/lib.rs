//! The code of docs/migrating-*.md as doc tests, also that which the pages come from: axum's `ws`, tokio-tungstenite, actix-ws.

#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../docs/migrating-axum.md")]
    struct Axum;
    #[doc = include_str!("../../../docs/migrating-tungstenite.md")]
    struct Tungstenite;
    #[doc = include_str!("../../../docs/migrating-actix.md")]
    struct Actix;
}
