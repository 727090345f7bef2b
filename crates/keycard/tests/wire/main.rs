//! Tests over the public wire.
