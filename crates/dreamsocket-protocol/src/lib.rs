//! The WebSocket protocol (RFC 6455) without any input or output: bytes in, events out.
