//! Tests over the public wire: a whole server per test, with a clock of its own, a memory store and its own ports.
//! Any order, in parallel. Numbers in comments are lines of the checklists that `docs/compatibility.md` refers to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test stops at the first surprise, and reads best without ceremony"
)]

mod activity_log;
mod app_service;
mod arc;
mod async_operations;
mod attacks;
mod authorization;
mod azure_ml;
mod cloud_shell;
mod compatibility;
mod compiled_templates;
mod container_apps;
mod deployments;
mod development;
mod diagnostic_settings;
mod doctor;
mod entra;
mod explanations;
mod faults;
mod federation;
mod front_door;
mod generic_resources;
mod graph;
mod graph_applications;
mod graph_deleted;
mod graph_policies;
mod graph_restart;
mod graph_roles;
mod harness;
mod host;
mod hybrid_machines;
mod identities;
mod imds;
mod instance_metadata;
mod key_binding;
mod key_vault;
mod local_attacks;
mod local_kinds;
mod local_storm;
mod locks;
mod managed_clusters;
mod management_groups;
mod moves;
mod own_applications;
mod resource_manager;
mod restart;
mod revocation;
mod sandbox;
mod scale_sets;
mod service_fabric;
mod sites;
mod subscriptions;
mod sweep;
mod tags;
mod taken_along;
mod templates;
mod tenants;
mod tidy;
mod token_refresh;
mod upkeep;
mod vaults;
mod workload_identity;
mod year;
