//! App Service and Functions: `Microsoft.Web/sites`.
//!
//! A PUT replaces everything, the identities too. Source: Microsoft.Web REST API.

use http::StatusCode;
use keycard_domain::compute::{ComputeKind, ComputeResource, PowerState};
use serde_json::json;

use super::Arm;
use super::compute::{Manner, Shown, kind_rows};
use crate::route::Route;

/// A site's PUT answers 200 also when it made it.
pub(super) const MANNER: Manner = Manner { made: StatusCode::OK, show: show_members };

pub(super) fn routes() -> Vec<Route<Arm>> {
    kind_rows!(ComputeKind::Site, "Microsoft.Web/sites")
}

fn show_members(_: &Arm, site: &ComputeResource, shown: &mut Shown) {
    let state = if site.power_state == PowerState::Running { "Running" } else { "Stopped" };
    shown.properties.insert("state".to_owned(), json!(state));
    shown.properties.insert("enabled".to_owned(), json!(true));
}
