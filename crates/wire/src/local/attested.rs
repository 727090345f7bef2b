//! `GET /metadata/attested/document`: what the machine is, signed, for those who do not believe its workload.
//!
//! Source: Microsoft Learn, Azure Instance Metadata Service, "Attested data".

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_crypto::encoding;
use keycard_domain::compute::machine::Machine;
use keycard_domain::limits;
use serde::Serialize;
use time::macros::format_description;
use time::{Duration, UtcDateTime};

use super::LocalFace;
use super::instance::compute::beside;
use super::instance::error::InstanceError;
use super::instance::{checked_version, running_machine, shown};
use crate::request::Parameters;
use crate::route::{Access, LocalCaller, Route, route};

/// The row of the category.
pub(super) fn routes() -> Vec<Route<LocalFace>> {
    vec![route(Method::GET, "/metadata/attested/document", Access::LocalCaller, document)]
}

#[derive(Serialize)]
struct Signed {
    encoding: &'static str,
    signature: String,
}

async fn document(
    LocalCaller(operation): LocalCaller,
    State(local): State<LocalFace>,
    uri: Uri,
) -> Result<Json<Signed>, InstanceError> {
    let query = Parameters::of(&uri);
    checked_version(&query)?;
    let nonce = nonce(&query, operation.now)?;
    let machine = running_machine(&local, &operation)?;
    let content = serde_json::to_vec(&Content::of(&machine, nonce, operation.now));
    let content = content.map_err(|_| InstanceError::NotSigned)?;
    let signed = local.machines.sign_document(&content).ok_or(InstanceError::NotSigned)?;
    Ok(Json(Signed { encoding: "pkcs7", signature: encoding::base64_encode(&signed) }))
}

/// What the client wants to find in the document; else the moment.
fn nonce(query: &Parameters, now: UtcDateTime) -> Result<String, InstanceError> {
    let Some(nonce) = query.non_empty("nonce") else {
        let form = format_description!("[year][month][day]-[hour][minute][second]");
        return now.format(&form).map_err(|_| InstanceError::NotSigned);
    };
    let is_nonce =
        nonce.len() <= limits::NONCE_DIGITS_MAX && nonce.bytes().all(|byte| byte.is_ascii_digit());
    if is_nonce { Ok(nonce.to_owned()) } else { Err(InstanceError::NonceInvalid) }
}

/// What is signed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    license_type: String,
    nonce: String,
    plan: Plan,
    sku: String,
    subscription_id: String,
    time_stamp: TimeStamp,
    vm_id: String,
}

#[derive(Serialize)]
struct Plan {
    name: String,
    product: String,
    publisher: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TimeStamp {
    created_on: String,
    expires_on: String,
}

/// How long a document counts.
const VALIDITY: Duration = Duration::hours(6);

impl Content {
    fn of(machine: &Machine, nonce: String, now: UtcDateTime) -> Self {
        let form = format_description!(
            "[month]/[day]/[year repr:last_two] [hour]:[minute]:[second] -0000"
        );
        let at = |moment: UtcDateTime| moment.format(&form).unwrap_or_default();
        let plan = |member: &str| shown(beside(machine, &format!("/plan/{member}")));
        Self {
            license_type: shown(machine.property("/licenseType")),
            nonce,
            plan: Plan {
                name: plan("name"),
                product: plan("product"),
                publisher: plan("publisher"),
            },
            sku: shown(machine.property("/storageProfile/imageReference/sku")),
            subscription_id: machine.workload.id.subscription().to_string(),
            time_stamp: TimeStamp { created_on: at(now), expires_on: at(now + VALIDITY) },
            vm_id: machine.workload.instance_id.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_has_up_to_ten_digits_or_is_the_moment() {
        let now = UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let of = |query: &str| nonce(&Parameters::parse(query), now);
        assert_eq!(of(""), Ok("20270115-080000".into()));
        assert_eq!(of("nonce="), Ok("20270115-080000".into()));
        assert_eq!(of("nonce=1234567890"), Ok("1234567890".into()));
        for bad in ["nonce=12345678901", "nonce=12345a", "nonce=-1", "nonce=%22", "nonce=１"] {
            assert_eq!(of(bad), Err(InstanceError::NonceInvalid), "{bad}");
        }
    }
}
