//! A tenant: one directory, with its issuers and the key that seals its secrets.

use std::collections::BTreeMap;

use keycard_crypto::seal::SealingKey;
use serde::{Deserialize, Serialize};

use crate::ids::{SubscriptionId, TenantId};
use crate::limits;
use crate::rbac::RbacScope;
use crate::records::Record;

/// One directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// The claim `tid`.
    pub id: TenantId,
    /// What people call it.
    pub display_name: String,
    /// Issuers of the tenant's tokens, the present one first; never empty.
    ///
    /// The ones behind it were served before a change of port or domain: tokens that bear them live on.
    pub issuers: Vec<Issuer>,
    /// Certificate of the authority that signs identity credentials, DER.
    #[serde(with = "crate::records::base64_bytes")]
    pub identity_authority_certificate: Vec<u8>,
    /// Its private key, PKCS#8, sealed for this place.
    #[serde(with = "crate::records::base64_bytes")]
    pub identity_authority_key_sealed: Vec<u8>,
    /// Unix seconds.
    pub created_at: i64,
    /// What it is for.
    #[serde(default, skip_serializing_if = "TenantKind::is_workforce")]
    pub kind: TenantKind,
}

/// What a directory is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TenantKind {
    /// An organization's own people and software.
    #[default]
    Workforce,
    /// An organization's customers: it has no managed identities.
    B2c,
}

impl TenantKind {
    fn is_workforce(&self) -> bool {
        *self == Self::Workforce
    }

    /// The kind as Azure writes it in `tenantType`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workforce => "AAD",
            Self::B2c => "AAD B2C",
        }
    }
}

/// The two forms in which a tenant names itself in tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuer {
    /// The claim `iss` of v1 tokens; ends in `/`.
    pub v1: String,
    /// The claim `iss` of v2 tokens.
    pub v2: String,
}

impl Issuer {
    /// Microsoft's own names, for verifiers that insist on them.
    pub fn azure(tenant: TenantId) -> Self {
        Self {
            v1: format!("https://sts.windows.net/{tenant}/"),
            v2: format!("https://login.microsoftonline.com/{tenant}/v2.0"),
        }
    }

    /// The names under which the token service is reached, so that any OIDC verifier finds its keys.
    pub fn served(token_service: &str, tenant: TenantId) -> Self {
        Self {
            v1: format!("{token_service}/{tenant}/"),
            v2: format!("{token_service}/{tenant}/v2.0"),
        }
    }
}

impl Record for Tenant {
    const KIND: &'static str = "tenants";

    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

impl Tenant {
    /// The domain that also names the tenant, as Entra gives each one.
    pub fn domain(&self) -> String {
        format!("{}.onmicrosoft.com", self.display_name.to_ascii_lowercase())
    }

    /// The issuer that new tokens bear, in its v1 form.
    pub fn issuer_v1(&self) -> &str {
        self.issuers.first().map_or("", |issuer| &issuer.v1)
    }

    /// Whether a token that bears this issuer may be one of the tenant's.
    pub fn has_issuer(&self, claimed: &str) -> bool {
        self.issuers.iter().any(|issuer| issuer.v1 == claimed || issuer.v2 == claimed)
    }

    /// The tenant under a new present issuer; the former ones are kept, up to a bound.
    pub fn with_issuer(mut self, present: Issuer) -> Self {
        self.issuers.retain(|issuer| *issuer != present);
        self.issuers.insert(0, present);
        self.issuers.truncate(limits::ISSUERS_KEPT_MAX);
        self
    }

    /// The key that seals this tenant's secrets, derived from the master key.
    pub fn sealing_key(master: &SealingKey, id: TenantId) -> SealingKey {
        master.derive(&format!("tenant/{id}"))
    }

    /// Where the identity authority's key is sealed for.
    pub fn identity_authority_place(id: TenantId) -> String {
        format!("tenants/{id}/identity-authority")
    }
}

/// A subscription and the tenant that owns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The subscription's id.
    pub id: SubscriptionId,
    /// The tenant whose principals may be given rights in it.
    pub tenant_id: TenantId,
    /// What people call it.
    pub display_name: String,
    /// The management group it hangs below, in lower case; `None` for the tenant's root group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_group: Option<String>,
    /// The alias that it was made under; the first one of a tenant has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Subscription {
    /// The subscription's own scope.
    pub fn scope(&self) -> Option<RbacScope> {
        RbacScope::parse(&format!("/subscriptions/{}", self.id)).ok()
    }
}

impl Record for Subscription {
    const KIND: &'static str = "subscriptions";

    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_accepts_the_issuers_it_used_before() {
        let id = TenantId::new(uuid::Uuid::from_u128(1));
        let tenant = Tenant {
            id,
            display_name: "t".into(),
            issuers: vec![Issuer::served("https://login.x:1", id)],
            identity_authority_certificate: vec![],
            identity_authority_key_sealed: vec![],
            created_at: 0,
            kind: TenantKind::Workforce,
        };
        let moved = tenant.with_issuer(Issuer::served("https://login.x:2", id));
        assert_eq!(moved.issuer_v1(), format!("https://login.x:2/{id}/"));
        assert!(moved.has_issuer(&format!("https://login.x:1/{id}/v2.0")));
        assert!(!moved.has_issuer(&format!("https://login.x:2/{id}")));
        assert!(!moved.has_issuer(&format!("https://sts.windows.net/{id}/")));
    }
}
