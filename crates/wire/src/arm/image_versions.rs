//! Platform images: `publishers/{p}/artifacttypes/vmimage/offers/{o}/skus/{s}/versions`, which `az vm create` asks for.
//!
//! keycard runs no machines, so it has no images: each offer has one version, whose name says so. A listing is a bare
//! array. Source: Microsoft.Compute REST API, virtual machine images.

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::resources::require_subscription;
use serde_json::{Value, json};

use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route};

/// The one version that there is of every image.
const VERSION: &str = "1.0.0";

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/publishers/{publisher}/artifacttypes/vmimage/offers/{offer}/skus/{sku}/versions";
    let one = "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/publishers/{publisher}/artifacttypes/vmimage/offers/{offer}/skus/{sku}/versions/{version}";
    let read = "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions/read";
    vec![row(Method::GET, all, read, list), row(Method::GET, one, read, show)]
}

fn version_json(params: &Params, version: &str) -> Value {
    let [location, publisher, offer, sku, subscription] =
        ["location", "publisher", "offer", "sku", "subscription"].map(|name| params.get(name));
    json!({
        "id": format!("/Subscriptions/{subscription}/Providers/Microsoft.Compute/Locations/{location}/Publishers/{publisher}/ArtifactTypes/VMImage/Offers/{offer}/Skus/{sku}/Versions/{version}"),
        "name": version,
        "location": location,
    })
}

fn require_its_subscription(arm: &Arm, params: &Params) -> Result<(), ArmError> {
    let id = params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)?;
    require_subscription(&arm.state.snapshot(), id)?;
    Ok(())
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    require_its_subscription(&arm, &params)?;
    Ok(Json(json!([version_json(&params, VERSION)])))
}

/// Any version is there: templates name those that Azure has.
async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    require_its_subscription(&arm, &params)?;
    let publisher = params.get("publisher").to_ascii_lowercase();
    let is_windows = publisher.starts_with("microsoft") && publisher.contains("windows");
    let mut version = version_json(&params, params.get("version"));
    if let Some(members) = version.as_object_mut() {
        let properties = json!({
            "osDiskImage": { "operatingSystem": if is_windows { "Windows" } else { "Linux" } },
            "hyperVGeneration": "V2",
            "features": [],
            "dataDiskImages": [],
        });
        members.insert("properties".to_owned(), properties);
    }
    Ok(Json(version))
}
