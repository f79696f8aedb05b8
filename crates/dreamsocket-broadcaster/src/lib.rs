//! Typed publish and subscribe with bounded channels that say what they missed.
