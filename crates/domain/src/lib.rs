//! Nouns, rules and ports of keycard. Decides everything, and meets no outside world: no HTTP, SQL, file, runtime,
//! environment, clock or random source.

pub mod audit;
pub mod bootstrap;
pub mod clock;
pub mod compute;
pub mod credential;
pub mod deployment;
pub mod directory;
pub mod entropy;
pub mod fault;
pub mod ids;
pub mod key_vault;
pub mod limits;
pub mod monitoring;
pub mod operation;
pub mod persistent_map;
pub mod rbac;
pub mod records;
pub mod request_rates;
pub mod resource_id;
pub mod resources;
pub mod snapshot;
pub mod sql;
pub mod state;
pub mod store;
pub mod target;
pub mod token;
pub mod upkeep;
