//! `POST /{tenant}/oauth2/v2.0/token` and `/oauth2/token`: the client credentials grant.
//!
//! Source: RFC 6749, section 4.4; Microsoft identity platform, OAuth 2.0 client credentials flow.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use keycard_crypto::encoding;
use keycard_crypto::secret::Secret;
use keycard_domain::ids::TenantId;
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::token::grant::{
    ClientProof, GrantError, GrantRequest, GrantedToken, RefusedRequest,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::Instrument;

use super::Entra;
use super::discovery::PSEUDO_TENANTS;
use super::error::{EntraError, Failure};
use crate::bearer::{ClientCertificate, OfConnection};
use crate::request::{Parameters, read_body};
use crate::route::{OwnProof, Params};

pub(super) async fn token_v2(
    OwnProof(operation): OwnProof,
    State(entra): State<Entra>,
    params: Params,
    OfConnection(certificate): OfConnection,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let sent = Sent { headers, certificate, body };
    let granted = grant(&entra, &operation, &params, sent, scope_resource).await;
    answer(&entra, &operation, granted, |token| Json(TokenV2::from(token)).into_response())
}

pub(super) async fn token_v1(
    OwnProof(operation): OwnProof,
    State(entra): State<Entra>,
    params: Params,
    OfConnection(certificate): OfConnection,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let sent = Sent { headers, certificate, body };
    let granted = grant(&entra, &operation, &params, sent, named_resource).await;
    answer(&entra, &operation, granted, |token| Json(TokenV1::from(token)).into_response())
}

fn answer(
    entra: &Entra,
    operation: &OperationContext,
    granted: Result<GrantedToken, EntraError>,
    render: impl FnOnce(&GrantedToken) -> Response,
) -> Response {
    match granted {
        Ok(token) => {
            let ids = [
                ("x-ms-request-id", operation.request_id.to_string()),
                ("client-request-id", operation.correlation_id.to_string()),
            ];
            (ids, render(&token)).into_response()
        }
        Err(error) => Failure::new(error, operation, &entra.names).into_response(),
    }
}

/// What a client sends besides the tenant's name.
struct Sent {
    headers: HeaderMap,
    certificate: Option<ClientCertificate>,
    body: Body,
}

async fn grant(
    entra: &Entra,
    operation: &OperationContext,
    params: &Params,
    Sent { headers, certificate, body }: Sent,
    resource: fn(&Parameters) -> Result<String, EntraError>,
) -> Result<GrantedToken, EntraError> {
    let form = read_form(&headers, body).await;
    let read = |form: &Parameters| {
        if form.has_duplicates() {
            return Err(EntraError::RequestMalformed("a parameter stands more than once"));
        }
        check_grant_type(form)?;
        let tenant = tenant(entra, params)?;
        let (client_id, proof) = client(form, &headers)?;
        let proof = bound(form, proof, certificate.as_ref())?;
        Ok(GrantRequest {
            tenant,
            client_id,
            proof,
            resource: resource(form)?,
            capabilities: capabilities(form),
        })
    };
    let request = match form.as_ref().map_err(Clone::clone).and_then(read) {
        Ok(request) => request,
        Err(error) => {
            let refused = refused(params, form.as_ref().ok(), &error);
            entra.tokens.note_refusal(operation, refused).await.map_err(EntraError::Grant)?;
            return Err(error);
        }
    };
    // A task of its own: a client that leaves, or is told that it took too long, changes nothing of what is recorded.
    let (tokens, operation) = (Arc::clone(&entra.tokens), operation.clone());
    let granting = async move { tokens.grant(&operation, request).await };
    let granting = tokio::spawn(granting.in_current_span());
    let unavailable = |why| Err(GrantError::SigningUnavailable(why));
    let granted = match timeout(limits::GRANT_TIME_MAX, granting).await {
        Ok(Ok(granted)) => granted,
        Ok(Err(_)) => unavailable("the token was not granted"),
        Err(_) => unavailable("the token was not granted in time"),
    };
    granted.map_err(EntraError::Grant)
}

/// What the sign-in log keeps of a request that names no grant.
fn refused(params: &Params, form: Option<&Parameters>, error: &EntraError) -> RefusedRequest {
    let named = |name: &str| form.and_then(|form| form.get(name)).unwrap_or_default().to_owned();
    let (scope, resource) = (named("scope"), named("resource"));
    let (number, description) = error.for_the_log();
    RefusedRequest {
        tenant: params.get("tenant").to_owned(),
        client_id: named("client_id"),
        resource: if scope.is_empty() { resource } else { scope },
        result_type: number.to_string(),
        description,
    }
}

fn tenant(entra: &Entra, params: &Params) -> Result<TenantId, EntraError> {
    let name = params.get("tenant");
    if PSEUDO_TENANTS.contains(&name) {
        return Err(EntraError::TenantMissing);
    }
    let snapshot = entra.state.snapshot();
    let found = snapshot.tenant_named(name).map(|tenant| tenant.id);
    found.ok_or_else(|| EntraError::TenantUnknown(name.to_owned()))
}

async fn read_form(headers: &HeaderMap, body: Body) -> Result<Parameters, EntraError> {
    let is_form =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_none_or(
            |value| value.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"),
        );
    let bytes = read_body(body, limits::TOKEN_FORM_BYTES_MAX).await.map_err(EntraError::Body)?;
    if !is_form {
        return Err(EntraError::ContentTypeWrong);
    }
    Ok(Parameters::parse(&String::from_utf8_lossy(&bytes)))
}

fn check_grant_type(form: &Parameters) -> Result<(), EntraError> {
    match form.non_empty("grant_type") {
        Some("client_credentials") => Ok(()),
        Some(other) => Err(EntraError::GrantTypeUnsupported(other.to_owned())),
        None => Err(EntraError::ParameterMissing("grant_type")),
    }
}

/// Client id and secret in the `Authorization` header. Source: RFC 6749, section 2.3.1.
fn basic(headers: &HeaderMap) -> Option<(String, Secret)> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = encoding::base64_decode_any(value, limits::TOKEN_FORM_BYTES_MAX)?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |text: &str| {
        let parameters = Parameters::parse(&format!("v={}", text.replace('&', "%26")));
        parameters.get("v").unwrap_or_default().to_owned()
    };
    Some((decode(id), Secret::new(decode(secret))))
}

/// The type of the only assertions that are taken. Source: RFC 7523, section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who the client says it is, and how it proves that: in one way. Source: RFC 6749, section 2.3.
fn client(
    form: &Parameters,
    headers: &HeaderMap,
) -> Result<(String, Option<ClientProof>), EntraError> {
    let (basic_id, basic_secret) = basic(headers).unzip();
    let id = match (form.non_empty("client_id").map(str::to_owned), basic_id) {
        (Some(id), Some(other)) if !id.eq_ignore_ascii_case(&other) => {
            return Err(EntraError::RequestMalformed("two clients are named"));
        }
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => return Err(EntraError::ParameterMissing("client_id")),
    };
    let secret = |name| form.non_empty(name).map(|text| Secret::new(text.to_owned()));
    let proof = match (secret("client_assertion"), secret("client_secret"), basic_secret) {
        (Some(assertion), None, None) => {
            if form.non_empty("client_assertion_type") != Some(JWT_BEARER) {
                return Err(EntraError::ParameterMissing("client_assertion_type"));
            }
            Some(ClientProof::Assertion(assertion))
        }
        (None, Some(secret), None) | (None, None, Some(secret)) => {
            Some(ClientProof::Secret(secret))
        }
        (None, None, None) => None,
        _ => return Err(EntraError::RequestMalformed("the client proves itself in two ways")),
    };
    Ok((id, proof))
}

/// The type of a token that is bound to the client's certificate.
const MTLS_POP: &str = "mtls_pop";

/// For a token that is to be bound, the certificate of the connection is the proof, and the only one. Source: observed
/// requests of MSAL; RFC 8705, section 2.
fn bound(
    form: &Parameters,
    proof: Option<ClientProof>,
    certificate: Option<&ClientCertificate>,
) -> Result<Option<ClientProof>, EntraError> {
    match form.non_empty("token_type") {
        None => Ok(proof),
        Some(bearer) if bearer.eq_ignore_ascii_case("Bearer") => Ok(proof),
        Some(MTLS_POP) if proof.is_some() => {
            Err(EntraError::RequestMalformed("the client proves itself in two ways"))
        }
        Some(MTLS_POP) => {
            Ok(certificate.map(|certificate| ClientProof::Certificate(certificate.der().to_vec())))
        }
        Some(_) => Err(EntraError::RequestMalformed("the token type is not supported")),
    }
}

const fn token_type(token: &GrantedToken) -> &'static str {
    if token.is_bound { MTLS_POP } else { "Bearer" }
}

/// v2: what stands before `/.default` is the resource; `https://x//.default` means `https://x/`.
fn scope_resource(form: &Parameters) -> Result<String, EntraError> {
    let scope = form.non_empty("scope").ok_or(EntraError::ParameterMissing("scope"))?.trim();
    if scope.contains(' ') {
        return Err(EntraError::ScopeInvalid(scope.to_owned()));
    }
    match scope.strip_suffix("/.default") {
        Some(resource) if !resource.is_empty() => Ok(resource.to_owned()),
        _ => Err(EntraError::ScopeNotDefault(scope.to_owned())),
    }
}

/// v1: the resource is named.
fn named_resource(form: &Parameters) -> Result<String, EntraError> {
    form.non_empty("resource").map(str::to_owned).ok_or(EntraError::ParameterMissing("resource"))
}

/// `claims={"access_token":{"xms_cc":{"values":["CP1"]}}}`: of the capabilities only CP1 is known.
fn capabilities(form: &Parameters) -> Vec<String> {
    #[derive(Deserialize)]
    struct Claims {
        access_token: AccessTokenClaims,
    }
    #[derive(Deserialize)]
    struct AccessTokenClaims {
        xms_cc: Values,
    }
    #[derive(Deserialize)]
    struct Values {
        values: Vec<String>,
    }
    let claims =
        form.non_empty("claims").and_then(|text| serde_json::from_str::<Claims>(text).ok());
    let has_cp1 = claims.is_some_and(|claims| {
        claims.access_token.xms_cc.values.iter().any(|value| value.eq_ignore_ascii_case("CP1"))
    });
    if has_cp1 { vec!["CP1".to_owned()] } else { Vec::new() }
}

/// Lifetimes above this come with half of it as `refresh_in`. Source: observed.
const REFRESH_HINT_ABOVE_SECONDS: i64 = 2 * 3600;

#[derive(Serialize)]
struct TokenV2<'a> {
    token_type: &'static str,
    expires_in: i64,
    ext_expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_in: Option<i64>,
    access_token: &'a str,
}

impl<'a> From<&'a GrantedToken> for TokenV2<'a> {
    fn from(token: &'a GrantedToken) -> Self {
        Self {
            token_type: token_type(token),
            expires_in: token.expires_in,
            ext_expires_in: token.expires_in,
            refresh_in: (token.expires_in > REFRESH_HINT_ABOVE_SECONDS)
                .then_some(token.expires_in / 2),
            access_token: token.token.expose(),
        }
    }
}

/// v1 answers write numbers as strings.
#[derive(Serialize)]
struct TokenV1<'a> {
    token_type: &'static str,
    expires_in: String,
    ext_expires_in: String,
    expires_on: String,
    not_before: String,
    resource: &'a str,
    access_token: &'a str,
}

impl<'a> From<&'a GrantedToken> for TokenV1<'a> {
    fn from(token: &'a GrantedToken) -> Self {
        Self {
            token_type: token_type(token),
            expires_in: token.expires_in.to_string(),
            ext_expires_in: token.expires_in.to_string(),
            expires_on: token.expires_on.to_string(),
            not_before: token.not_before.to_string(),
            resource: &token.resource,
            access_token: token.token.expose(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(scope: &str) -> Result<String, EntraError> {
        scope_resource(&Parameters::parse(&format!("scope={scope}")))
    }

    #[test]
    fn the_resource_is_what_stands_before_default() {
        assert_eq!(
            resource("https://vault.azure.net/.default"),
            Ok("https://vault.azure.net".into())
        );
        assert_eq!(
            resource("https://vault.azure.net//.default"),
            Ok("https://vault.azure.net/".into())
        );
        for wrong in ["https://vault.azure.net", "/.default", "a.default"] {
            assert_eq!(resource(wrong), Err(EntraError::ScopeNotDefault(wrong.into())));
        }
        assert!(matches!(resource("a/.default b/.default"), Err(EntraError::ScopeInvalid(_))));
        assert_eq!(resource(""), Err(EntraError::ParameterMissing("scope")));
    }

    #[test]
    fn a_client_may_name_itself_in_the_authorization_header() {
        let mut headers = HeaderMap::new();
        for scheme in ["Basic", "basic"] {
            let value = format!("{scheme} {}", encoding::base64_encode(b"id:s%2Bcret"));
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            let (id, secret) = basic(&headers).unwrap();
            assert_eq!((id.as_str(), secret.expose()), ("id", "s+cret"));
        }
    }

    #[test]
    fn a_client_names_itself_once_and_proves_itself_in_one_way() {
        let assertion = "client_assertion=a.b.c&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let mut with_basic = HeaderMap::new();
        let value = format!("Basic {}", encoding::base64_encode(b"id:secret"));
        with_basic.insert(header::AUTHORIZATION, value.parse().unwrap());
        let without = HeaderMap::new();
        let missing = EntraError::ParameterMissing;
        let malformed = EntraError::RequestMalformed;
        let twice = || Err(malformed("the client proves itself in two ways"));
        for (form, headers, expected) in [
            ("client_id=id&client_secret=s".to_owned(), &without, Ok("secret")),
            (format!("client_id=id&{assertion}"), &without, Ok("assertion")),
            ("client_id=id".to_owned(), &without, Ok("nothing")),
            (String::new(), &with_basic, Ok("secret")),
            ("client_id=ID".to_owned(), &with_basic, Ok("secret")),
            (String::new(), &without, Err(missing("client_id"))),
            (
                "client_id=id&client_assertion=a.b.c".to_owned(),
                &without,
                Err(missing("client_assertion_type")),
            ),
            ("client_id=x".to_owned(), &with_basic, Err(malformed("two clients are named"))),
            ("client_secret=s".to_owned(), &with_basic, twice()),
            (format!("client_id=id&{assertion}"), &with_basic, twice()),
            (format!("client_id=id&client_secret=s&{assertion}"), &without, twice()),
        ] {
            let found = client(&Parameters::parse(&form), headers).map(|(_, proof)| match proof {
                Some(ClientProof::Secret(_)) => "secret",
                Some(ClientProof::Assertion(_)) => "assertion",
                Some(ClientProof::Certificate(_)) => "certificate",
                None => "nothing",
            });
            assert_eq!(found, expected, "{form}");
        }
    }

    #[test]
    fn a_bound_token_is_asked_for_with_a_certificate_alone() {
        let certificate = ClientCertificate::new(b"der");
        let secret = || Some(ClientProof::Secret(Secret::new("s".to_owned())));
        let of = |form: &str, proof, certificate| {
            let outcome = bound(&Parameters::parse(form), proof, certificate);
            outcome.map(|proof| match proof {
                Some(ClientProof::Certificate(der)) => Some(der),
                Some(ClientProof::Secret(_)) => Some(b"secret".to_vec()),
                Some(ClientProof::Assertion(_)) | None => None,
            })
        };
        let with = Some(&certificate);
        assert_eq!(of("token_type=mtls_pop", None, with), Ok(Some(b"der".to_vec())));
        assert_eq!(of("token_type=mtls_pop", None, None), Ok(None));
        for plain in ["", "token_type=", "token_type=Bearer"] {
            assert_eq!(of(plain, secret(), with), Ok(Some(b"secret".to_vec())), "{plain}");
            assert_eq!(of(plain, None, with), Ok(None), "{plain}");
        }
        assert!(of("token_type=mtls_pop", secret(), with).is_err());
        assert!(of("token_type=pop", secret(), None).is_err());
    }

    #[test]
    fn only_the_known_capability_is_taken() {
        let of = |claims: &str| capabilities(&Parameters::parse(&format!("claims={claims}")));
        assert_eq!(of(r#"{"access_token":{"xms_cc":{"values":["cp1","x"]}}}"#), ["CP1"]);
        assert!(of(r#"{"access_token":{}}"#).is_empty());
        assert!(of("nonsense").is_empty());
    }
}
