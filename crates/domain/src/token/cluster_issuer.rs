//! The issuer of the clusters that keycard shows: signs the tokens of their service accounts, and tells their keys to who
//! verifies federated credentials here.
//!
//! Its key is made when it is first needed and lives as long as the process: whoever holds a token of it gets another one
//! when that is projected anew. Source: Kubernetes, "Service account token volume projection"; AKS, "Use an OIDC issuer".

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use keycard_crypto::jwk::ForeignKey;
use keycard_crypto::jwt;
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_key::{PublicKey, SigningKey};
use serde_json::json;
use time::{Duration, UtcDateTime};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::federation::{IssuerKeys, IssuerKeysError};
use crate::compute::ComputeResource;
use crate::directory::federated_credential::SubjectRule;
use crate::ids::{ClientId, TenantId};
use crate::limits;
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::State;

/// What the token of a service account is for, when it is exchanged at the token service.
pub const AUDIENCE: &str = "api://AzureADTokenExchange";

/// A service account of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount {
    namespace: String,
    name: String,
}

impl ServiceAccount {
    /// The account that is written `NAMESPACE:NAME`; `None` where either is no name of Kubernetes.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once(':')?;
        let is_known = is_dns_name(namespace, LABEL_BYTES_MAX, false)
            && is_dns_name(name, SUBDOMAIN_BYTES_MAX, true);
        is_known.then(|| Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// What federated credentials call it.
    pub fn subject(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// Its namespace and its name, which may be parts of a path.
    pub fn names(&self) -> [&str; 2] {
        [&self.namespace, &self.name]
    }
}

/// Source: RFC 1123, section 2.1; Kubernetes, "Object names and IDs".
const LABEL_BYTES_MAX: usize = 63;
const SUBDOMAIN_BYTES_MAX: usize = 253;

fn is_dns_name(text: &str, bytes_max: usize, has_dots: bool) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= bytes_max && (has_dots || !text.contains('.')) && text.split('.').all(is_label)
}

/// A token of a service account.
#[derive(Clone, Debug)]
pub struct ServiceAccountToken {
    /// The JWT.
    pub token: Secret,
    /// When another one takes its place: as the kubelet does, at four fifths of its life.
    pub renew_at: UtcDateTime,
}

/// Why a cluster gives no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceAccountError {
    /// There is no such cluster.
    #[error("{0} is no cluster")]
    ClusterNotFound(ArmResourceId),
    /// It was made without an issuer.
    #[error("the cluster has no issuer: put it with properties.oidcIssuerProfile.enabled")]
    NoIssuer,
    /// Key or file could not be made.
    #[error("no token can be had now: {0}")]
    Unavailable(String),
}

/// Gives tokens to the service accounts of clusters.
#[async_trait]
pub trait ServiceAccountTokens: std::fmt::Debug + Send + Sync + 'static {
    /// A new token of the account.
    async fn issue(
        &self,
        cluster: &ArmResourceId,
        account: &ServiceAccount,
    ) -> Result<ServiceAccountToken, ServiceAccountError>;
}

/// Puts the tokens of service accounts where workloads find them, and keeps them fresh there.
#[async_trait]
pub trait ProjectedTokens: std::fmt::Debug + Send + Sync + 'static {
    /// The file with the account's token.
    async fn project(
        &self,
        cluster: &ArmResourceId,
        account: &ServiceAccount,
    ) -> Result<PathBuf, ServiceAccountError>;
}

/// Signs for all clusters.
#[derive(Debug)]
pub struct ClusterIssuer {
    state: Arc<State>,
    /// What the addresses of all issuers begin with, without a final slash.
    base: String,
    key: OnceCell<Key>,
    elsewhere: Arc<dyn IssuerKeys>,
}

#[derive(Debug)]
struct Key {
    id: String,
    key: SigningKey,
}

/// The address of a cluster's issuer, byte for byte as its tokens have it: below this base, with a final slash as in AKS.
pub fn issuer_url(base: &str, tenant: TenantId, cluster: &ComputeResource) -> String {
    format!("{base}/{tenant}/{}/", cluster.instance_id)
}

/// Whether a cluster of this tenant has an issuer by this name.
fn has_issuer(snapshot: &Snapshot, tenant: TenantId, cluster: Uuid) -> bool {
    let is_tenant = snapshot.tenant(tenant).is_some();
    is_tenant
        && snapshot.compute_resources.iter().any(|(_, resource)| {
            resource.instance_id == cluster
                && resource.cluster.as_ref().is_some_and(|cluster| cluster.has_oidc_issuer)
                && tenant_of(snapshot, &resource.id) == Some(tenant)
        })
}

fn tenant_of(snapshot: &Snapshot, id: &ArmResourceId) -> Option<TenantId> {
    Some(snapshot.subscription(id.subscription())?.tenant_id)
}

impl ClusterIssuer {
    /// Issuers below this address; all other ones are asked for by `elsewhere`.
    pub fn new(state: Arc<State>, base: String, elsewhere: Arc<dyn IssuerKeys>) -> Self {
        Self { state, base, key: OnceCell::new(), elsewhere }
    }

    /// The address of a cluster's issuer; `None` where it has none.
    pub fn address(&self, cluster: &ArmResourceId) -> Result<String, ServiceAccountError> {
        let snapshot = self.state.snapshot();
        let not_found = || ServiceAccountError::ClusterNotFound(cluster.clone());
        let resource = snapshot.compute_resources.get(&cluster.key()).ok_or_else(not_found)?;
        let made = resource.cluster.as_ref().ok_or_else(not_found)?;
        let tenant = tenant_of(&snapshot, cluster).ok_or_else(not_found)?;
        if made.has_oidc_issuer {
            Ok(issuer_url(&self.base, tenant, resource))
        } else {
            Err(ServiceAccountError::NoIssuer)
        }
    }

    /// The clients of the cluster's tenant that have a federated credential for the account.
    pub fn clients(
        &self,
        cluster: &ArmResourceId,
        account: &ServiceAccount,
    ) -> Result<Vec<ClientId>, ServiceAccountError> {
        let (issuer, subject) = (self.address(cluster)?, account.subject());
        let snapshot = self.state.snapshot();
        let tenant = tenant_of(&snapshot, cluster);
        let takes = |rule: &SubjectRule| *rule == SubjectRule::Exact(subject.clone());
        let credentials = snapshot.federated_credentials.iter().map(|(_, credential)| credential);
        let of_tenant = credentials.filter(|it| Some(it.tenant_id) == tenant);
        let taking = of_tenant.filter(|it| it.trust.issuer == issuer && takes(&it.trust.subject));
        let mut clients: Vec<ClientId> = taking.map(|it| it.client_id).collect();
        clients.dedup();
        Ok(clients)
    }

    /// The address by its parts, with the keys that its tokens are signed by; `None` where no cluster has it.
    pub async fn published(
        &self,
        tenant: &str,
        cluster: &str,
    ) -> Option<Result<(String, ForeignKey), ServiceAccountError>> {
        let (tenant, cluster): (TenantId, Uuid) = (tenant.parse().ok()?, cluster.parse().ok()?);
        if !has_issuer(&self.state.snapshot(), tenant, cluster) {
            return None;
        }
        let address = format!("{}/{tenant}/{cluster}/", self.base);
        Some(self.key().await.map(|key| (address, key.public())))
    }

    async fn key(&self) -> Result<&Key, ServiceAccountError> {
        let make = async || {
            let key = SigningKey::generate_beside().await?;
            Ok::<_, keycard_crypto::signing_key::KeyError>(Key {
                id: self.state.entropy.uuid().simple().to_string(),
                key,
            })
        };
        let made = self.key.get_or_try_init(make).await;
        made.map_err(|error| ServiceAccountError::Unavailable(error.to_string()))
    }
}

impl Key {
    fn public(&self) -> ForeignKey {
        ForeignKey { kid: Some(self.id.clone()), key: self.key.public_key() }
    }

    fn token(&self, claims: &serde_json::Value) -> Result<Secret, ServiceAccountError> {
        let unavailable =
            |error: &dyn std::fmt::Display| ServiceAccountError::Unavailable(error.to_string());
        let header = json!({ "alg": "RS256", "kid": self.id, "typ": "JWT" });
        let unsigned = jwt::signing_input(&header, claims).map_err(|error| unavailable(&error))?;
        let signature = self.key.sign(unsigned.as_bytes()).map_err(|error| unavailable(&error))?;
        Ok(Secret::new(jwt::assemble(unsigned, &signature)))
    }
}

#[async_trait]
impl ServiceAccountTokens for ClusterIssuer {
    async fn issue(
        &self,
        cluster: &ArmResourceId,
        account: &ServiceAccount,
    ) -> Result<ServiceAccountToken, ServiceAccountError> {
        let issuer = self.address(cluster)?;
        let now = self.state.clock.now();
        let lifetime = limits::SERVICE_ACCOUNT_TOKEN_LIFETIME;
        let [namespace, name] = account.names();
        let claims = json!({
            "aud": [AUDIENCE],
            "exp": (now + lifetime).unix_timestamp(),
            "iat": now.unix_timestamp(),
            "iss": issuer,
            "jti": self.state.entropy.uuid(),
            "kubernetes.io": { "namespace": namespace, "serviceaccount": { "name": name } },
            "nbf": now.unix_timestamp(),
            "sub": account.subject(),
        });
        let token = self.key().await?.token(&claims)?;
        Ok(ServiceAccountToken { token, renew_at: now + renewed_after(lifetime) })
    }
}

fn renewed_after(lifetime: Duration) -> Duration {
    lifetime * 4 / 5
}

#[async_trait]
impl IssuerKeys for ClusterIssuer {
    async fn keys(
        &self,
        client: ClientId,
        issuer: &str,
        key_id: Option<&str>,
        now: UtcDateTime,
    ) -> Result<Arc<[ForeignKey]>, IssuerKeysError> {
        let own = issuer.strip_prefix(&self.base).and_then(|rest| rest.strip_prefix('/'));
        let Some(own) = own else {
            return self.elsewhere.keys(client, issuer, key_id, now).await;
        };
        let parts = own.strip_suffix('/').and_then(|parts| parts.split_once('/'));
        let published = match parts {
            Some((tenant, cluster)) => self.published(tenant, cluster).await,
            None => None,
        };
        match published {
            Some(Ok((address, key))) if address == issuer => Ok(Arc::from([key])),
            Some(Err(error)) => Err(IssuerKeysError::Unreachable(error.to_string())),
            Some(Ok(_)) | None => {
                Err(IssuerKeysError::NotAllowed("no cluster here has this issuer".to_owned()))
            }
        }
    }
}

/// The members of an RSA key in a key set: modulus and public exponent.
pub fn rsa_members(key: &PublicKey) -> Option<(&[u8], &[u8])> {
    match key {
        PublicKey::Rsa { n, e } => Some((n, e)),
        PublicKey::EcP256 { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_as_kubernetes_names_it() {
        let longest = format!("{}:{}", "n".repeat(63), "a".repeat(253));
        for (text, subject) in [
            ("default:default", Some("system:serviceaccount:default:default")),
            ("ns-1:app.web-2", Some("system:serviceaccount:ns-1:app.web-2")),
            (longest.as_str(), Some(&*format!("system:serviceaccount:{longest}"))),
            ("default", None),
            ("default:", None),
            (":default", None),
            ("a.b:c", None),
            ("a:b:c", None),
            ("a:..", None),
            ("a:.b", None),
            ("a:b/c", None),
            ("A:b", None),
            ("-a:b", None),
            ("a:b-", None),
            (&format!("{}:a", "n".repeat(64)), None),
            (&format!("n:{}", "a".repeat(254)), None),
        ] {
            let account = ServiceAccount::parse(text);
            assert_eq!(account.map(|it| it.subject()).as_deref(), subject, "{text}");
        }
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let lifetime = limits::SERVICE_ACCOUNT_TOKEN_LIFETIME;
        assert_eq!(renewed_after(lifetime), Duration::minutes(48));
    }
}
