//! One file per command, with its help.

pub(crate) mod attachment;
pub(crate) mod audit;
pub(crate) mod clock;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod env;
pub(crate) mod fault;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod signing_key;
pub(crate) mod tenant;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod why;
mod workload_identity;
