//! Is this assertion the client's: signed by a registered key, meant for us, within its time.
//!
//! Clients differ in every detail (float and quoted times, padded segments, any base64 alphabet, missing `iat` or
//! `nbf`); what they mean is the same. Source: RFC 7523; Microsoft identity platform, certificate credentials.

use keycard_crypto::jwt::{self, Thumbprint, UnverifiedJwt};
use keycard_crypto::signing_key::PublicKey;
use serde_json::{Map, Value};
use time::UtcDateTime;

use super::grant::GrantError;
use crate::compute::Workload;
use crate::credential::credentials_of;
use crate::directory::ServicePrincipal;
use crate::ids::{KeyId, TenantId};
use crate::limits;
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;

/// The forms in which clients name the tenant's token service in `aud`, below its address.
const AUDIENCE_FORMS: &[&str] = &["/oauth2/v2.0/token", "/oauth2/token", "/v2.0", "/", ""];

/// Whether a value of `aud` names the tenant's token service, at one of its addresses and by one of the tenant's names.
fn names_token_service(
    aud: &str,
    token_services: &[String],
    snapshot: &Snapshot,
    tenant: TenantId,
) -> bool {
    let below = |base: &String| {
        let (start, path) = aud.split_at_checked(base.len())?;
        start.eq_ignore_ascii_case(base).then_some(path)?.strip_prefix('/')
    };
    token_services.iter().filter_map(below).any(|path| {
        let (name, form) = path.split_at(path.find('/').unwrap_or(path.len()));
        let is_tenant = || snapshot.tenant_named(name).is_some_and(|it| it.id == tenant);
        AUDIENCE_FORMS.contains(&form) && is_tenant()
    })
}

/// A verified assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAssertion {
    /// The credential whose key signed it.
    pub credential: RegisteredKey,
    /// What it is told apart by: its `jti`, or all that was signed.
    pub name: String,
    /// When it ends, Unix seconds.
    pub ends_at: i64,
}

/// A key that is registered for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredKey {
    /// Its id in the directory.
    pub key_id: KeyId,
    /// SHA-256 of its certificate.
    pub sha256: [u8; 32],
    /// The resource on which the private key is, for a managed identity's own credential.
    pub origin: Option<ArmResourceId>,
}

/// Verifies an assertion that a client presents as its proof to the token service at these addresses.
pub fn verify(
    snapshot: &Snapshot,
    client: &ServicePrincipal,
    jwt: UnverifiedJwt<'_>,
    token_services: &[String],
    now: UtcDateTime,
) -> Result<VerifiedAssertion, GrantError> {
    let unknown_key = || GrantError::AssertionKeyUnknown(client.client_id);
    let thumbprint = jwt.thumbprint().ok_or_else(unknown_key)?;
    let (key, credential) =
        registered_key(snapshot, client, &thumbprint, now).ok_or_else(unknown_key)?;
    let signed_text = jwt.signed_text();
    let claims = jwt.verify(&key).map_err(|_| unknown_key())?;
    let ends_at = check_claims(&claims, client, token_services, snapshot, now)?;
    let jti = text(&claims, "jti").filter(|jti| !jti.is_empty());
    let name = jti.unwrap_or(signed_text).to_owned();
    Ok(VerifiedAssertion { credential, name, ends_at })
}

/// The key with this thumbprint, if it is the client's: never a key that the assertion itself brings, nor that of a workload
/// which is gone or lost the identity while its credential was being enrolled.
fn registered_key(
    snapshot: &Snapshot,
    client: &ServicePrincipal,
    thumbprint: &Thumbprint,
    now: UtcDateTime,
) -> Option<(PublicKey, RegisteredKey)> {
    let matches = |sha1: &[u8; 20], sha256: &[u8; 32]| match thumbprint {
        Thumbprint::Sha1(presented) => presented == sha1,
        Thumbprint::Sha256(presented) => presented == sha256,
    };
    let own = credentials_of(snapshot, client.id).find(|credential| {
        matches(&credential.sha1, &credential.sha256)
            && credential.is_valid_at(now)
            && Workload::find(snapshot, &credential.resource)
                .is_some_and(|workload| workload.has_identity(client.id))
    });
    if let Some(credential) = own {
        let origin = Some(credential.resource.clone());
        let (key_id, sha256) = (credential.key_id(), credential.sha256);
        return Some((credential.public_key(), RegisteredKey { key_id, sha256, origin }));
    }
    let of_application = snapshot.application_of_client(client.client_id);
    let brought = client.keys.iter().chain(of_application.iter().flat_map(|it| &it.keys));
    let credential =
        brought.into_iter().find(|key| matches(&key.sha1, &key.sha256) && key.is_valid_at(now))?;
    let key = PublicKey::from_certificate_der(&credential.certificate).ok()?;
    let (key_id, sha256) = (credential.key_id, credential.sha256);
    Some((key, RegisteredKey { key_id, sha256, origin: None }))
}

/// Checks whose words the claims are, to whom, and until when; returns when they end.
fn check_claims(
    claims: &Map<String, Value>,
    client: &ServicePrincipal,
    token_services: &[String],
    snapshot: &Snapshot,
    now: UtcDateTime,
) -> Result<i64, GrantError> {
    let client_id = client.client_id.to_string();
    for claim in ["iss", "sub"] {
        if !text(claims, claim).is_some_and(|value| value.eq_ignore_ascii_case(&client_id)) {
            return Err(GrantError::AssertionClaimWrong(claim));
        }
    }
    let is_meant = |aud| names_token_service(aud, token_services, snapshot, client.tenant_id);
    if !text(claims, "aud").is_some_and(is_meant) {
        return Err(GrantError::AssertionClaimWrong("aud"));
    }
    check_times(claims, now)
}

fn text<'a>(claims: &'a Map<String, Value>, claim: &str) -> Option<&'a str> {
    claims.get(claim).and_then(Value::as_str)
}

fn check_times(claims: &Map<String, Value>, now: UtcDateTime) -> Result<i64, GrantError> {
    let now = now.unix_timestamp();
    let skew = limits::CLOCK_SKEW.whole_seconds();
    let time = |claim: &str| match claims.get(claim) {
        None => Ok(None),
        Some(value) => jwt::numeric_date(value)
            .map(Some)
            .ok_or(GrantError::AssertionMalformed("a time is not a number")),
    };
    let expires = time("exp")?.ok_or(GrantError::AssertionMalformed("exp is missing"))?;
    let starts = time("nbf")?.or(time("iat")?).unwrap_or(now);
    let lives_too_long = expires - now > limits::ASSERTION_LIFETIME_MAX.whole_seconds() + skew;
    if starts > now + skew || expires <= now - skew || lives_too_long {
        return Err(GrantError::AssertionOutsideValidity);
    }
    Ok(expires)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Map;
    use uuid::Uuid;

    use super::*;
    use crate::compute::scale_set::Instances;
    use crate::compute::{ComputeKind, ComputeResource, PowerState};
    use crate::credential::IdentityCredential;
    use crate::directory::identity_block::{IdentityBlock, SystemAssigned};
    use crate::directory::service_principal::ServicePrincipalKind;
    use crate::ids::{ClientId, PrincipalId};

    #[test]
    fn a_credential_counts_while_its_workload_has_the_identity() {
        let vm: ArmResourceId = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm".parse().unwrap();
        let client = ServicePrincipal {
            id: PrincipalId::new(Uuid::from_u128(1)),
            client_id: ClientId::new(Uuid::from_u128(2)),
            tenant_id: TenantId::new(Uuid::from_u128(3)),
            display_name: "vm".into(),
            kind: ServicePrincipalKind::SystemAssigned(vm.clone()),
            is_enabled: true,
            created_at: 0,
            keys: vec![],
            requires_assignment: false,
            tokens_valid_from: None,
        };
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&client);
        snapshot.insert_for_test(&IdentityCredential {
            principal_id: client.id,
            resource: vm.clone(),
            public_point: vec![4; 65],
            sha1: [1; 20],
            sha256: [2; 32],
            not_before: 0,
            not_after: 1,
        });
        let counts = |snapshot: &Snapshot| {
            let thumbprint = Thumbprint::Sha256([2; 32]);
            registered_key(snapshot, &client, &thumbprint, UtcDateTime::UNIX_EPOCH).is_some()
        };
        assert!(!counts(&snapshot), "the machine is gone");
        let mut resource = ComputeResource {
            id: vm,
            kind: ComputeKind::VirtualMachine,
            location: "local".into(),
            tags: BTreeMap::new(),
            identity: IdentityBlock::default(),
            power_state: PowerState::Running,
            instance_id: Uuid::nil(),
            properties: Map::new(),
            other: Map::new(),
            instances: Instances::default(),
            starts: 0,
            switched_at: None,
            cluster: None,
        };
        snapshot.insert_for_test(&resource);
        assert!(!counts(&snapshot), "it lost the identity");
        resource.identity.system_assigned =
            Some(SystemAssigned { principal_id: client.id, client_id: client.client_id });
        snapshot.insert_for_test(&resource);
        assert!(counts(&snapshot));
    }
}
