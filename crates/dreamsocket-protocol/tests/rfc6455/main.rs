//! The engine against RFC 6455, chapter by chapter, through its public interface only.
#![cfg(test)]

mod closing;
mod control;
mod fragmentation;
mod framing;
mod handshake;
mod limits;
mod masking;
mod original;
mod properties;
mod text;
mod wire;
