//! The token of a request, for every face that takes one, and the certificate that a token may be bound to.
//!
//! Source: RFC 6750, section 2.1; RFC 8705, section 3; the scheme `mtls_pop` as MSAL's clients write it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use keycard_crypto::digest::sha256;
use keycard_domain::token::verify::PresentedToken;

/// The certificate (DER) of a client's connection, whose key it proved to hold. Travels as an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate(Arc<[u8]>);

impl ClientCertificate {
    /// The certificate of a connection.
    pub fn new(der: &[u8]) -> Self {
        Self(der.into())
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

/// The certificate of the connection on which a request came, where the client presented one.
#[derive(Clone, Debug)]
pub(crate) struct OfConnection(pub(crate) Option<ClientCertificate>);

impl<S: Send + Sync> FromRequestParts<S> for OfConnection {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

/// The token of a request with the certificate of its connection; `None` when there is no token, or more than one.
pub fn presented(parts: &Parts) -> Option<PresentedToken<'_>> {
    let (scheme, text) = authorization(&parts.headers)?;
    let claims_binding = scheme.eq_ignore_ascii_case("mtls_pop");
    if !claims_binding && !scheme.eq_ignore_ascii_case("Bearer") {
        return None;
    }
    let certificate = parts.extensions.get::<ClientCertificate>();
    let certificate_sha256 = certificate.map(|certificate| sha256(certificate.der()));
    Some(PresentedToken { text, certificate_sha256, claims_binding })
}

/// The token in `Authorization: Bearer …`; `None` when there is no such header, or more than one.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    authorization(headers)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, token)| token)
}

/// Scheme and token of the one `Authorization` header.
fn authorization(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (!token.is_empty()).then_some((scheme, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(values: &[&str]) -> Parts {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        for value in values {
            parts.headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        parts
    }

    fn check(values: &[&str], expected: Option<&str>) {
        let parts = parts(values);
        assert_eq!(token(&parts.headers), expected, "{values:?}");
        let presented = presented(&parts).filter(|token| !token.claims_binding);
        assert_eq!(presented.map(|token| token.text), expected, "{values:?}");
    }

    #[test]
    fn one_bearer_header_holds_the_token() {
        check(&["Bearer abc"], Some("abc"));
        check(&["bearer  abc "], Some("abc"));
        check(&["Basic abc"], None);
        check(&["Bearer "], None);
        check(&["Bearerabc"], None);
        check(&["Bearer a", "Bearer b"], None);
        check(&["mtls_pop abc"], None);
        check(&[], None);
    }

    #[test]
    fn a_token_comes_with_the_certificate_of_its_connection() {
        let mut parts = parts(&["mtls_pop abc"]);
        let token = presented(&parts).unwrap();
        assert!(token.claims_binding && token.certificate_sha256.is_none());
        parts.extensions.insert(ClientCertificate::new(b"der"));
        let token = presented(&parts).unwrap();
        assert_eq!((token.text, token.certificate_sha256), ("abc", Some(sha256(b"der"))));
    }
}
