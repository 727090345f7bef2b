//! Is this assertion one that a federated credential of the client takes: whose token it is, and signed by whom.
//!
//! Nobody is asked for keys before issuer, subject and audience are those of a credential: a stranger cannot make us ask
//! an issuer that no administrator trusts. Source: Microsoft identity platform, "Workload identity federation"; RFC 7523.

use std::sync::Arc;

use async_trait::async_trait;
use keycard_crypto::jwk::ForeignKey;
use keycard_crypto::jwt::{self, Algorithm, UnverifiedJwt};
use keycard_crypto::signing_key::PublicKey;
use serde_json::{Map, Value};
use time::{Duration, UtcDateTime};

use super::audience::{Audiences, Service};
use super::claims::confirmation;
use super::grant::GrantError;
use super::{signing_key, verify};
use crate::directory::federated_credential::claims_expression::Steps;
use crate::directory::federated_credential::{FederatedCredential, SubjectRule, Trust, of_client};
use crate::directory::{ServicePrincipal, Tenant};
use crate::ids::{ClientId, PrincipalId};
use crate::limits::{self, Limits};
use crate::records::Versioned;
use crate::snapshot::Snapshot;

/// Tells the keys with which issuers outside sign.
#[async_trait]
pub trait IssuerKeys: std::fmt::Debug + Send + Sync + 'static {
    /// The RSA keys that an issuer publishes for signatures, asked on behalf of a client that trusts it. When none has this
    /// id, the issuer may have new ones.
    async fn keys(
        &self,
        client: ClientId,
        issuer: &str,
        key_id: Option<&str>,
        now: UtcDateTime,
    ) -> Result<Arc<[ForeignKey]>, IssuerKeysError>;
}

/// Why an issuer's keys are not known. The reasons are for the log: they tell what stands behind an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerKeysError {
    /// An address of the issuer is one that is never asked.
    #[error("{0}")]
    NotAllowed(String),
    /// It does not answer, or not in time.
    #[error("it does not answer: {0}")]
    Unreachable(String),
    /// Its answer is no discovery document or key set, or another issuer's.
    #[error("its answer cannot be used: {0}")]
    Unusable(String),
    /// Too many issuers are being asked.
    #[error("too many issuers are being asked")]
    Busy,
}

/// What of an assertion fits no federated credential of the client; the first that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// No credential names the issuer.
    Issuer,
    /// One does, in other case.
    IssuerCase,
    /// None of these takes the subject.
    Subject,
    /// One would, in other case.
    SubjectCase,
    /// None of these names the audience.
    Audience,
}

impl Mismatch {
    /// What does not fit, for the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "the issuer",
            Self::IssuerCase => "the issuer, but for its case,",
            Self::Subject => "the subject",
            Self::SubjectCase => "the subject, but for its case,",
            Self::Audience => "the audience",
        }
    }
}

/// Whether an assertion is meant as an outside issuer's: its issuer is not the client, and it names no certificate of the
/// client's. Issuers that name their own certificate are known by a credential of the client.
pub fn is_meant(snapshot: &Snapshot, client: ClientId, jwt: &UnverifiedJwt<'_>) -> bool {
    let issuer = text(jwt.claims_unverified(), "iss")
        .filter(|issuer| !issuer.eq_ignore_ascii_case(&client.to_string()));
    let names_certificate = jwt.header().x5t.is_some() || jwt.header().x5t_s256.is_some();
    let is_known = |issuer: &str| of_client(snapshot, client).any(|it| it.trust.issuer == issuer);
    issuer.is_some_and(|issuer| !names_certificate || is_known(issuer))
}

/// Verifies an assertion by the client's federated credentials; tells which one takes it.
///
/// Keys may have to be fetched meanwhile: whether the credential is still there is [`is_held`].
pub async fn verify(
    limits: &Limits,
    snapshot: &Snapshot,
    client: &ServicePrincipal,
    jwt: UnverifiedJwt<'_>,
    issuer_keys: &dyn IssuerKeys,
    now: UtcDateTime,
) -> Result<Arc<FederatedCredential>, GrantError> {
    let credential = credential(snapshot, client.client_id, jwt.claims_unverified())?;
    let issuer = &credential.trust.issuer;
    let unknown_key = || GrantError::FederationKeyUnknown { issuer: issuer.clone() };
    if jwt.header().alg != Algorithm::Rs256.as_str() {
        return Err(unknown_key());
    }
    let key_id = jwt.header().kid.as_deref();
    let own_tenant = tenant_of(snapshot, issuer);
    let keys = match own_tenant {
        Some(tenant) => own_keys(snapshot, client, tenant, issuer)?,
        None => issuer_keys
            .keys(client.client_id, issuer, key_id, now)
            .await
            .map_err(|error| GrantError::IssuerUnavailable { issuer: issuer.clone(), error })?,
    };
    let claims = signed_claims(&jwt, &keys).ok_or_else(unknown_key)?;
    match own_tenant {
        Some(_) => {
            check_times(&claims, now, Duration::ZERO)?;
            check_own(limits, snapshot, client, issuer, &claims)?;
        }
        None => check_times(&claims, now, limits::CLOCK_SKEW)?,
    }
    Ok(Arc::clone(&credential.record))
}

/// Whether the client still has a credential, as it was when an assertion was verified by it.
pub fn is_held(snapshot: &Snapshot, credential: &FederatedCredential) -> bool {
    of_client(snapshot, credential.client_id).any(|it| *it.record == *credential)
}

fn text<'a>(claims: &'a Map<String, Value>, claim: &str) -> Option<&'a str> {
    claims.get(claim).and_then(Value::as_str)
}

/// The tenant of this keycard that names itself so.
fn tenant_of<'a>(snapshot: &'a Snapshot, issuer: &str) -> Option<&'a Versioned<Tenant>> {
    snapshot.tenants.iter().map(|(_, tenant)| tenant).find(|tenant| tenant.has_issuer(issuer))
}

/// The credential that takes these claims; they are nobody's words yet.
fn credential<'a>(
    snapshot: &'a Snapshot,
    client: ClientId,
    claims: &Map<String, Value>,
) -> Result<&'a Versioned<FederatedCredential>, GrantError> {
    let mismatch = |mismatch, presented: &str| {
        let presented = presented.chars().take(limits::FEDERATED_TEXT_CHARS_MAX).collect();
        GrantError::FederationMismatch { mismatch, presented }
    };
    let (issuer, subject) =
        (text(claims, "iss").unwrap_or_default(), text(claims, "sub").unwrap_or_default());
    let all = || of_client(snapshot, client);
    let of_issuer = || all().filter(|it| it.trust.issuer == issuer);
    if of_issuer().next().is_none() {
        let differs_in_case = all().any(|it| it.trust.issuer.eq_ignore_ascii_case(issuer));
        let reason = if differs_in_case { Mismatch::IssuerCase } else { Mismatch::Issuer };
        return Err(mismatch(reason, issuer));
    }
    let mut steps = Steps::default();
    let of_subject: Vec<_> =
        of_issuer().filter(|it| it.trust.subject.covers(claims, &mut steps)).collect();
    if of_subject.is_empty() {
        let differs_in_case = of_issuer().any(|it| match &it.trust.subject {
            SubjectRule::Exact(known) => known.eq_ignore_ascii_case(subject),
            SubjectRule::Matching(_) => false,
        });
        let reason = if differs_in_case { Mismatch::SubjectCase } else { Mismatch::Subject };
        return Err(mismatch(reason, subject));
    }
    let of_audience = |it: &&Versioned<FederatedCredential>| is_for(snapshot, &it.trust, claims);
    of_subject
        .into_iter()
        .find(of_audience)
        .ok_or_else(|| mismatch(Mismatch::Audience, &shown_audience(claims)))
}

/// Whether the audience is in `aud`, a text or a list. The exchange has two names, of which our own tokens bear either.
fn is_for(snapshot: &Snapshot, trust: &Trust, claims: &Map<String, Value>) -> bool {
    let is_exchange =
        |name: &str| Audiences::default().service(name) == Some(Service::TokenExchange);
    let is_own = || tenant_of(snapshot, &trust.issuer).is_some();
    let is_same = |found: &str| {
        found == trust.audience || is_exchange(found) && is_exchange(&trust.audience) && is_own()
    };
    audiences(claims).any(is_same)
}

fn audiences(claims: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let (one, several) = match claims.get("aud") {
        Some(Value::String(audience)) => (Some(audience.as_str()), None),
        Some(Value::Array(audiences)) => (None, Some(audiences)),
        _ => (None, None),
    };
    one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str))
}

fn shown_audience(claims: &Map<String, Value>) -> String {
    audiences(claims).collect::<Vec<_>>().join(" ")
}

/// The keys of a tenant of this keycard, which nobody needs to be asked for.
///
/// Only an application of the same tenant may be acted for by a managed identity, whose token then bears the v2 issuer; one
/// managed identity cannot become another. Source: Microsoft Learn, "Configure an application to trust a managed identity".
fn own_keys(
    snapshot: &Snapshot,
    client: &ServicePrincipal,
    tenant: &Tenant,
    issuer: &str,
) -> Result<Arc<[ForeignKey]>, GrantError> {
    let is_v2 = tenant.issuers.iter().any(|known| known.v2 == issuer);
    if !is_v2 || client.identity_resource().is_some() || client.tenant_id != tenant.id {
        return Err(GrantError::FederationForbidden { issuer: issuer.to_owned() });
    }
    let ring = signing_key::ring(snapshot, tenant.id).into_iter();
    let keys = ring.flat_map(|ring| &ring.keys).filter_map(|record| {
        let key = PublicKey::from_certificate_der(&record.certificate).ok()?;
        Some(ForeignKey { kid: Some(record.key_id.clone()), key })
    });
    Ok(keys.collect())
}

/// The claims, when one of the keys signed them: the one that the header names, where the keys have names. Only a set of one
/// key lets the header leave it open. Source: OpenID Connect Core 1.0, section 10.1.
fn signed_claims(jwt: &UnverifiedJwt<'_>, keys: &[ForeignKey]) -> Option<Map<String, Value>> {
    let key_id = jwt.header().kid.as_deref();
    let is_rsa = |key: &&ForeignKey| matches!(key.key, PublicKey::Rsa { .. });
    let is_alone = keys.iter().filter(is_rsa).count() == 1;
    let is_named = |key: &&ForeignKey| match (key_id, key.kid.as_deref()) {
        (Some(wanted), Some(known)) => wanted == known,
        (_, None) => true,
        (None, Some(_)) => is_alone,
    };
    keys.iter().filter(is_rsa).filter(is_named).find_map(|key| jwt.clone().verify(&key.key).ok())
}

/// A token without an end is not taken; how long it may live is the issuer's business. The clock of an issuer outside may
/// differ from ours; a token of our own ends when it says so.
fn check_times(
    claims: &Map<String, Value>,
    now: UtcDateTime,
    grace: Duration,
) -> Result<(), GrantError> {
    let (now, skew) = (now.unix_timestamp(), limits::CLOCK_SKEW.whole_seconds());
    let time = |claim: &str| match claims.get(claim) {
        None => Ok(None),
        Some(value) => jwt::numeric_date(value)
            .map(Some)
            .ok_or(GrantError::AssertionMalformed("a time is not a number")),
    };
    let expires = time("exp")?.ok_or(GrantError::AssertionOutsideValidity)?;
    if expires <= now - grace.whole_seconds()
        || time("nbf")?.is_some_and(|starts| starts > now + skew)
    {
        return Err(GrantError::AssertionOutsideValidity);
    }
    Ok(())
}

/// A token of our own counts while its managed identity lives, and for as long as it would at a service of keycard's.
fn check_own(
    limits: &Limits,
    snapshot: &Snapshot,
    client: &ServicePrincipal,
    issuer: &str,
    claims: &Map<String, Value>,
) -> Result<(), GrantError> {
    let forbidden = || GrantError::FederationForbidden { issuer: issuer.to_owned() };
    let id = text(claims, "sub").and_then(|subject| subject.parse::<PrincipalId>().ok());
    let principal = id.and_then(|id| snapshot.service_principal(id)).ok_or_else(forbidden)?;
    let lives = principal.tenant_id == client.tenant_id
        && principal.is_enabled
        && principal.identity_resource().is_some();
    // What is bound to a certificate proves nothing without it, and no certificate comes with an assertion.
    let is_bound = confirmation(claims).is_some();
    let counts = !is_bound && verify::check_alive(limits, snapshot, claims, principal.id).is_ok();
    if lives && counts { Ok(()) } else { Err(forbidden()) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use keycard_crypto::{encoding, test_keys};
    use serde_json::json;
    use time::UtcDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::directory::federated_credential::TrustRequest;
    use crate::directory::federated_credential::claims_expression::ClaimsExpression;
    use crate::directory::service_principal::ServicePrincipalKind;
    use crate::directory::tenant::Issuer;
    use crate::directory::tenant::TenantKind;
    use crate::ids::{FederatedCredentialId, TenantId};
    use crate::limits::Profile;
    use crate::resource_id::ArmResourceId;
    use crate::token::signing_key::{SigningKeyRing, TokenSigningKey};

    const NOW: i64 = 1_800_000_000;
    const ISSUER: &str = "https://issuer.example";
    const EXCHANGE: &str = "api://AzureADTokenExchange";

    /// The assertion, when it is one and is meant as an outside issuer's.
    fn read<'a>(
        snapshot: &Snapshot,
        client: ClientId,
        assertion: &'a str,
    ) -> Option<UnverifiedJwt<'a>> {
        let jwt = UnverifiedJwt::parse(assertion.trim(), limits::JWT_BYTES_MAX).ok()?;
        is_meant(snapshot, client, &jwt).then_some(jwt)
    }

    /// Counts how often it is asked; one key, with the id `k1`.
    #[derive(Debug, Default)]
    struct OneKey {
        asked: AtomicUsize,
        is_gone: bool,
    }

    #[async_trait]
    impl IssuerKeys for OneKey {
        async fn keys(
            &self,
            _: ClientId,
            _: &str,
            _: Option<&str>,
            _: UtcDateTime,
        ) -> Result<Arc<[ForeignKey]>, IssuerKeysError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.is_gone {
                return Err(IssuerKeysError::Unreachable("refused".into()));
            }
            let ec = test_keys::assertion_key().public_key();
            let key = test_keys::signing_key().public_key();
            let keys = [("k0", ec), ("k1", key)];
            Ok(keys.map(|(kid, key)| ForeignKey { kid: Some(kid.into()), key }).into())
        }
    }

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn principal(n: u128, kind: ServicePrincipalKind) -> ServicePrincipal {
        ServicePrincipal {
            id: PrincipalId::new(id(n)),
            client_id: ClientId::new(id(n + 100)),
            tenant_id: TenantId::new(id(1)),
            display_name: "p".into(),
            kind,
            is_enabled: true,
            created_at: 0,
            keys: vec![],
            requires_assignment: false,
            tokens_valid_from: None,
        }
    }

    fn identity(n: u128) -> ServicePrincipal {
        let resource: ArmResourceId = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi".parse().unwrap();
        principal(n, ServicePrincipalKind::UserAssigned(resource))
    }

    fn credential(n: u128, client: ClientId, trust: TrustRequest) -> FederatedCredential {
        FederatedCredential {
            id: FederatedCredentialId::new(id(n)),
            tenant_id: TenantId::new(id(1)),
            client_id: client,
            name: format!("credential{n}"),
            trust: Trust::new(trust).unwrap(),
            description: None,
        }
    }

    fn exact(issuer: &str, subject: &str, audience: &str) -> TrustRequest {
        TrustRequest {
            issuer: Some(issuer.into()),
            subject: Some(subject.into()),
            expression: None,
            audiences: Some(vec![audience.into()]),
        }
    }

    fn signed(header: &Value, claims: &Value) -> String {
        let input = jwt::signing_input(header, claims).unwrap();
        let signature = test_keys::signing_key().sign(input.as_bytes()).unwrap();
        jwt::assemble(input, &signature)
    }

    fn good_claims() -> Value {
        json!({ "iss": ISSUER, "sub": "s", "aud": EXCHANGE, "exp": NOW + 600 })
    }

    fn header() -> Value {
        json!({ "alg": "RS256", "kid": "k1" })
    }

    /// The outcome for a user-assigned identity with one exact and one flexible credential, and how often keys were asked.
    async fn outcome(assertion: &str, keys: &OneKey) -> Result<u128, GrantError> {
        let client = identity(7);
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&credential(1, client.client_id, exact(ISSUER, "s", EXCHANGE)));
        let expression = ClaimsExpression::parse("claims['sub'] matches 'repo:a/*'").unwrap();
        let flexible = TrustRequest {
            subject: None,
            expression: Some(expression),
            ..exact(ISSUER, "", "custom")
        };
        snapshot.insert_for_test(&credential(2, client.client_id, flexible));
        let jwt = read(&snapshot, client.client_id, assertion).expect("a federated assertion");
        let now = UtcDateTime::from_unix_timestamp(NOW).unwrap();
        let limits = Limits::of(Profile::Standard);
        let taken = verify(&limits, &snapshot, &client, jwt, keys, now).await?;
        Ok(taken.id.as_uuid().as_u128())
    }

    async fn check(header: Value, claims: Value, expected: Result<u128, &str>, asked: usize) {
        let keys = OneKey::default();
        let outcome = outcome(&signed(&header, &claims), &keys).await;
        let outcome = outcome.map_err(|error| error.result_type().to_owned());
        assert_eq!(outcome, expected.map_err(str::to_owned), "{header} {claims}");
        assert_eq!(keys.asked.load(Ordering::Relaxed), asked, "{header} {claims}");
    }

    fn with(member: &str, value: Value) -> Value {
        let mut claims = good_claims();
        claims[member] = value;
        claims
    }

    #[tokio::test]
    async fn nobody_is_asked_before_issuer_subject_and_audience_fit() {
        check(header(), good_claims(), Ok(1), 1).await;
        check(header(), with("aud", json!(["other", EXCHANGE])), Ok(1), 1).await;
        let mut flexible = with("sub", json!("repo:a/b"));
        flexible["aud"] = json!("custom");
        check(header(), flexible, Ok(2), 1).await;
        for (claim, value, number) in [
            ("iss", json!("https://other.example"), "700211"),
            ("iss", json!("https://issuer.example/"), "700211"),
            ("iss", json!("https://Issuer.example"), "7002137"),
            ("sub", json!("t"), "700213"),
            ("sub", json!(""), "700213"),
            ("sub", json!("s "), "700213"),
            ("sub", json!(["s"]), "700213"),
            ("sub", json!("S"), "7002138"),
            ("sub", json!("*"), "700213"),
            ("sub", json!("repo:a/b"), "700212"),
            ("aud", json!("other"), "700212"),
            ("aud", json!("api://AzureADTokenExchange/"), "700212"),
            ("aud", json!("api://azureadtokenexchange"), "700212"),
            ("aud", json!("fb60f99c-7a34-4190-8149-302f77469936"), "700212"),
            ("aud", json!([]), "700212"),
            ("aud", json!(7), "700212"),
        ] {
            check(header(), with(claim, value), Err(number), 0).await;
        }
    }

    #[tokio::test]
    async fn only_rs256_by_the_key_that_is_named_counts() {
        for alg in ["none", "HS256", "ES256", "PS256", "RS512", "rs256"] {
            check(json!({ "alg": alg, "kid": "k1" }), good_claims(), Err("7000272"), 0).await;
        }
        check(json!({ "alg": "RS256", "kid": "k2" }), good_claims(), Err("7000272"), 1).await;
        check(json!({ "alg": "RS256", "kid": "k0" }), good_claims(), Err("7000272"), 1).await;
        check(json!({ "alg": "RS256" }), good_claims(), Ok(1), 1).await;
        let signing_key = test_keys::signing_key().public_key();
        let key = |kid: &str| ForeignKey { kid: Some(kid.to_owned()), key: signing_key.clone() };
        let unnamed = signed(&json!({ "alg": "RS256" }), &good_claims());
        let unnamed = UnverifiedJwt::parse(&unnamed, limits::JWT_BYTES_MAX).unwrap();
        assert!(signed_claims(&unnamed, &[key("k1")]).is_some());
        assert_eq!(signed_claims(&unnamed, &[key("k1"), key("k2")]), None);
        let own_key = json!({ "alg": "RS256", "kid": "k9", "jku": "https://x", "jwk": {} });
        check(own_key, good_claims(), Err("7000272"), 1).await;
        let keys = OneKey::default();
        let (input, _) = signed(&header(), &good_claims())
            .rsplit_once('.')
            .map(|(input, signature)| (input.to_owned(), signature.to_owned()))
            .unwrap();
        let forged = format!("{input}.{}", encoding::base64url_encode(&[7; 256]));
        assert_eq!(outcome(&forged, &keys).await.unwrap_err().result_type(), "7000272");
    }

    #[tokio::test]
    async fn an_assertion_counts_within_its_time_only() {
        for (claim, value, expected) in [
            ("exp", json!(NOW - 299), Ok(1)),
            ("exp", json!(NOW - 300), Err("700024")),
            ("exp", json!(NOW + 10 * 365 * 86400), Ok(1)),
            ("exp", json!("soon"), Err("50027")),
            ("nbf", json!(NOW + 300), Ok(1)),
            ("nbf", json!(NOW + 301), Err("700024")),
            ("nbf", json!("1"), Ok(1)),
        ] {
            check(header(), with(claim, value), expected, 1).await;
        }
        let mut endless = good_claims();
        endless.as_object_mut().unwrap().remove("exp");
        check(header(), endless, Err("700024"), 1).await;
    }

    #[tokio::test]
    async fn an_issuer_out_of_reach_is_not_the_clients_fault() {
        let keys = OneKey { is_gone: true, ..OneKey::default() };
        let error = outcome(&signed(&header(), &good_claims()), &keys).await.unwrap_err();
        assert_eq!(error.result_type(), "50166");
    }

    #[test]
    fn an_assertion_is_federated_by_its_issuer() {
        let client = ClientId::new(id(107));
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&credential(1, client, exact(ISSUER, "s", EXCHANGE)));
        let named = json!({ "alg": "RS256", "x5t": "AAAA" });
        let other = with("iss", json!("https://other.example"));
        let own = with("iss", json!(client));
        for (header, claims, expected) in [
            (header(), good_claims(), true),
            (header(), other.clone(), true),
            (named.clone(), good_claims(), true),
            (named, other, false),
            (header(), own, false),
            (header(), with("iss", json!(7)), false),
        ] {
            let assertion = format!("{}\n", signed(&header, &claims));
            let is_federated = read(&snapshot, client, &assertion).is_some();
            assert_eq!(is_federated, expected, "{header} {claims}");
        }
        assert!(read(&snapshot, client, "nonsense").is_none());
    }

    /// The outcome of a managed identity's token as the assertion of a client, after a change of the world.
    async fn exchange(
        client: ServicePrincipal,
        issuer: &str,
        audience: &str,
        change: impl Fn(&mut ServicePrincipal),
    ) -> Result<u128, String> {
        let served = Issuer::served("https://login.x", TenantId::new(id(1)));
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&Tenant {
            id: TenantId::new(id(1)),
            display_name: "t".into(),
            issuers: vec![served],
            identity_authority_certificate: vec![],
            identity_authority_key_sealed: vec![],
            created_at: 0,
            kind: TenantKind::Workforce,
        });
        let at = UtcDateTime::from_unix_timestamp(NOW).unwrap();
        let certificate = test_keys::signing_key()
            .self_signed_certificate("k", at.into(), (at + Duration::days(1)).into())
            .unwrap();
        let key = TokenSigningKey {
            key_id: "k1".into(),
            certificate,
            private_key_sealed: vec![],
            created_at: NOW,
            signs_from: NOW,
        };
        let tenant_id = TenantId::new(id(1));
        snapshot.insert_for_test(&SigningKeyRing { tenant_id, keys: vec![key] });
        let mut subject = identity(8);
        change(&mut subject);
        snapshot.insert_for_test(&subject);
        let trust = exact(issuer, &PrincipalId::new(id(8)).to_string(), EXCHANGE);
        snapshot.insert_for_test(&credential(1, client.client_id, trust));
        let claims = json!({
            "iss": issuer, "sub": PrincipalId::new(id(8)), "aud": audience,
            "iat": NOW - 300, "exp": NOW + 600,
        });
        let assertion = signed(&header(), &claims);
        let jwt = read(&snapshot, client.client_id, &assertion).expect("a federated assertion");
        let keys = OneKey::default();
        let limits = Limits::of(Profile::Standard);
        let outcome = verify(&limits, &snapshot, &client, jwt, &keys, at).await;
        assert_eq!(keys.asked.load(Ordering::Relaxed), 0, "our own keys are known");
        outcome
            .map(|taken| taken.id.as_uuid().as_u128())
            .map_err(|error| error.result_type().to_owned())
    }

    #[tokio::test]
    async fn a_managed_identity_acts_for_an_application_and_for_no_other_identity() {
        let application = || principal(9, ServicePrincipalKind::Application);
        let (v1, v2) = (
            "https://login.x/00000000-0000-0000-0000-000000000001/",
            "https://login.x/00000000-0000-0000-0000-000000000001/v2.0",
        );
        let refused = || Err("700222".to_owned());
        for audience in [EXCHANGE, "fb60f99c-7a34-4190-8149-302f77469936"] {
            assert_eq!(exchange(application(), v2, audience, |_| {}).await, Ok(1), "{audience}");
        }
        let other = exchange(application(), v2, "https://vault.azure.net", |_| {}).await;
        assert_eq!(other, Err("700212".to_owned()));
        assert_eq!(exchange(identity(9), v2, EXCHANGE, |_| {}).await, refused());
        assert_eq!(exchange(application(), v1, EXCHANGE, |_| {}).await, refused());
        for change in [
            (|it| it.is_enabled = false) as fn(&mut ServicePrincipal),
            |it| it.id = PrincipalId::new(id(10)),
            |it| it.kind = ServicePrincipalKind::Application,
            |it| it.tenant_id = TenantId::new(id(2)),
            |it| it.tokens_valid_from = Some(NOW + 1),
        ] {
            assert_eq!(exchange(application(), v2, EXCHANGE, change).await, refused());
        }
    }
}
