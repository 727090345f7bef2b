//! The bearer token of a request, for every face that takes one.
//!
//! Source: RFC 6750, section 2.1.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The token in `Authorization: Bearer …`; `None` when there is no such header, or more than one.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        assert_eq!(token(&headers), expected, "{values:?}");
    }

    #[test]
    fn one_bearer_header_holds_the_token() {
        check(&["Bearer abc"], Some("abc"));
        check(&["bearer  abc "], Some("abc"));
        check(&["Basic abc"], None);
        check(&["Bearer "], None);
        check(&["Bearerabc"], None);
        check(&["Bearer a", "Bearer b"], None);
        check(&[], None);
    }
}
