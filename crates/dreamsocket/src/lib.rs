//! Typed WebSocket connections for axum, hyper and tower: three plain async functions and a state.
