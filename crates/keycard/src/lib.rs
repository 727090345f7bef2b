//! The binary's parts, as a library so that tests and benchmarks can start a whole server in their own process.
//!
//! Only this crate reads the environment and the real clock, and decides what runs.

pub mod cli;
pub mod client;
mod clock_control;
mod commands;
pub mod config;
pub mod description;
pub mod doctor;
mod document_signing;
pub mod entropy;
mod handshake;
mod health;
mod host_view;
pub mod issuer_trust;
pub mod keys;
mod metrics;
pub mod server;
pub mod system_clock;
mod templates;
