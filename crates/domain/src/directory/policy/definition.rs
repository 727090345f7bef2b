//! Reading the definition of a policy: JSON in a text, of which everything has to be understood.
//!
//! Source: Microsoft Graph, "tokenLifetimePolicy resource type", "claimsMappingPolicy resource type".

use serde::Deserialize;
use serde_json::Value;
use time::Duration;

use super::{ClaimValue, MappedClaim, PolicyKind, PolicyRule};
use crate::limits::{self, Limits};

/// Why a definition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// It is no JSON of this form, or says something that is not known.
    #[error("the definition cannot be read: {0}")]
    Malformed(String),
    /// It is longer than allowed.
    #[error("the definition is too long")]
    TooLong,
    /// It is of another version.
    #[error("the version has to be 1")]
    VersionUnknown,
    /// The lifetime is not written as `[D.]HH:MM:SS`.
    #[error("`{0}` is no lifetime")]
    LifetimeMalformed(String),
    /// The lifetime is shorter or longer than allowed.
    #[error("the lifetime has to be from {min} to {max}")]
    LifetimeOutOfRange {
        /// The shortest that is allowed.
        min: Duration,
        /// The longest that is allowed.
        max: Duration,
    },
    /// The claim is one that the token service writes itself.
    #[error("claim `{0}` is reserved")]
    ClaimReserved(String),
    /// A claim has no name, or a name or value that is too long.
    #[error("claim `{0}` is not allowed")]
    ClaimInvalid(String),
    /// The claim stands twice.
    #[error("claim `{0}` stands twice")]
    ClaimDuplicate(String),
    /// The claim has no value, two, or one from a source that is not known.
    #[error("the source of claim `{0}` is not known")]
    ClaimSourceUnknown(String),
    /// There are more claims than allowed.
    #[error("there are too many claims")]
    TooManyClaims,
}

/// Reads a definition.
pub fn read(
    kind: PolicyKind,
    definition: &str,
    limits: &Limits,
) -> Result<PolicyRule, DefinitionError> {
    if definition.len() > limits::POLICY_DEFINITION_BYTES_MAX {
        return Err(DefinitionError::TooLong);
    }
    match kind {
        PolicyKind::TokenLifetime => read_lifetime(definition, limits),
        PolicyKind::ClaimsMapping => read_claims(definition),
    }
}

fn malformed(error: &serde_json::Error) -> DefinitionError {
    DefinitionError::Malformed(error.to_string())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct LifetimeDefinition {
    token_lifetime_policy: Lifetime,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Lifetime {
    version: u32,
    access_token_lifetime: String,
}

fn read_lifetime(definition: &str, limits: &Limits) -> Result<PolicyRule, DefinitionError> {
    let LifetimeDefinition { token_lifetime_policy: policy } =
        serde_json::from_str(definition).map_err(|error| malformed(&error))?;
    check_version(policy.version)?;
    let text = policy.access_token_lifetime;
    let lifetime = parse_lifetime(&text)
        .ok_or_else(|| DefinitionError::LifetimeMalformed(text.chars().take(40).collect()))?;
    let (min, max) = (limits.policy_token_lifetime_min, limits.policy_token_lifetime_max);
    if !(min..=max).contains(&lifetime) {
        return Err(DefinitionError::LifetimeOutOfRange { min, max });
    }
    Ok(PolicyRule::TokenLifetime { access_token_seconds: lifetime.whole_seconds() })
}

const fn check_version(version: u32) -> Result<(), DefinitionError> {
    if version == 1 { Ok(()) } else { Err(DefinitionError::VersionUnknown) }
}

/// `[D.]HH:MM:SS`, in which the hours may have one digit.
fn parse_lifetime(text: &str) -> Option<Duration> {
    let (days, clock) = text.split_once('.').unwrap_or(("0", text));
    let mut parts = clock.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>, max: i64| {
        let is_number = digits.contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten().filter(|number| *number <= max)
    };
    let days = number(days, 1..=3, 999)?;
    let hours = number(hours, 1..=2, 23)?;
    let minutes = number(minutes, 2..=2, 59)?;
    let seconds = number(seconds, 2..=2, 59)?;
    let total = Duration::days(days) + Duration::hours(hours) + Duration::minutes(minutes);
    parts.next().is_none().then_some(total + Duration::seconds(seconds))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ClaimsDefinition {
    claims_mapping_policy: Claims,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Claims {
    version: u32,
    /// Which claims there are for people; a program's token has none of them.
    #[serde(rename = "IncludeBasicClaimSet")]
    _include_basic_claim_set: Option<Flag>,
    #[serde(default)]
    claims_schema: Vec<ClaimEntry>,
}

/// A boolean, which the documentation writes as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Boolean(#[expect(dead_code, reason = "only its form is checked")] bool),
    Text(#[expect(dead_code, reason = "only its form is checked")] FlagText),
}

#[derive(Deserialize)]
enum FlagText {
    #[serde(alias = "True")]
    #[serde(rename = "true")]
    True,
    #[serde(alias = "False")]
    #[serde(rename = "false")]
    False,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimEntry {
    #[serde(rename = "JwtClaimType")]
    name: String,
    /// For SAML, which keycard does not speak.
    #[serde(rename = "SamlClaimType")]
    _saml_name: Option<String>,
    #[serde(rename = "Value")]
    value: Option<Value>,
    #[serde(rename = "Source")]
    source: Option<String>,
    #[serde(rename = "ID")]
    id: Option<String>,
}

fn read_claims(definition: &str) -> Result<PolicyRule, DefinitionError> {
    let ClaimsDefinition { claims_mapping_policy: policy } =
        serde_json::from_str(definition).map_err(|error| malformed(&error))?;
    check_version(policy.version)?;
    if policy.claims_schema.len() > limits::MAPPED_CLAIMS_MAX {
        return Err(DefinitionError::TooManyClaims);
    }
    let mut claims: Vec<MappedClaim> = Vec::new();
    for entry in policy.claims_schema {
        let claim = read_claim(entry)?;
        if claims.iter().any(|other| other.name.eq_ignore_ascii_case(&claim.name)) {
            return Err(DefinitionError::ClaimDuplicate(claim.name));
        }
        claims.push(claim);
    }
    Ok(PolicyRule::ClaimsMapping { claims })
}

fn read_claim(entry: ClaimEntry) -> Result<MappedClaim, DefinitionError> {
    let name = entry.name;
    let is_name = !name.is_empty()
        && name.len() <= limits::MAPPED_CLAIM_NAME_BYTES_MAX
        && name.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\');
    if !is_name {
        return Err(DefinitionError::ClaimInvalid(name.chars().take(40).collect()));
    }
    if is_reserved(&name) {
        return Err(DefinitionError::ClaimReserved(name));
    }
    let of_client = |source: &str, id: &str| match id.to_ascii_lowercase().as_str() {
        _ if !source.eq_ignore_ascii_case("application") => None,
        "displayname" => Some(ClaimValue::ClientDisplayName),
        "objectid" => Some(ClaimValue::ClientObjectId),
        _ => None,
    };
    let value = match (entry.value, entry.source, entry.id) {
        (Some(Value::String(value)), None, None) => {
            if value.len() > limits::MAPPED_CLAIM_VALUE_BYTES_MAX {
                return Err(DefinitionError::ClaimInvalid(name));
            }
            Some(ClaimValue::Constant(value))
        }
        (None, Some(source), Some(id)) => of_client(&source, &id),
        _ => None,
    };
    match value {
        Some(value) => Ok(MappedClaim { name, value }),
        None => Err(DefinitionError::ClaimSourceUnknown(name)),
    }
}

/// What the token service writes, or a verifier could take for a word of its: nobody can set these, nor names that are
/// addresses, as assertions of other protocols have.
///
/// `scope` is not among them: brokers and stores elsewhere read their permissions there.
/// Source: Microsoft identity platform, "Claims customization", table "JSON Web Token (JWT) restricted claim set".
const RESERVED: &[&str] = &[
    "_claim_names",
    "_claim_sources",
    "acct",
    "acr",
    "acrs",
    "act",
    "actor",
    "actortoken",
    "aio",
    "amr",
    "app_displayname",
    "appctx",
    "appid",
    "appidacr",
    "assertion",
    "at_hash",
    "aud",
    "auth_data",
    "auth_time",
    "azp",
    "azpacr",
    "c_hash",
    "capolids",
    "cc",
    "client_id",
    "cloud_instance_name",
    "cnf",
    "credential_keys",
    "deviceid",
    "exp",
    "groups",
    "hasgroups",
    "home_oid",
    "iat",
    "identityprovider",
    "idhash",
    "idp",
    "idtyp",
    "in_corp",
    "inviteticket",
    "ipaddr",
    "is_device_managed",
    "isbrowserhostedapp",
    "iss",
    "jti",
    "jwk",
    "kid",
    "login_hint",
    "may_act",
    "name",
    "nameid",
    "nbf",
    "nonce",
    "oid",
    "onprem_sid",
    "onpremsid",
    "p2p",
    "pop_jwk",
    "preferred_username",
    "primarysid",
    "puid",
    "refreshtoken",
    "rh",
    "role",
    "roles",
    "scp",
    "sid",
    "signin_state",
    "sub",
    "tenant_ctry",
    "tenant_region_scope",
    "tid",
    "tokenautologonenabled",
    "ttr",
    "typ",
    "unique_name",
    "upn",
    "uti",
    "ver",
    "verified_primary_email",
    "verified_secondary_email",
    "wids",
    "win_ver",
    "x5c",
    "x5c_ca",
    "x5t",
];

fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["xms_", "http://", "https://"].iter().any(|start| name.starts_with(start))
        || RESERVED.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Profile;

    fn lifetime(profile: Profile, text: &str) -> Result<i64, DefinitionError> {
        let policy = serde_json::json!({ "TokenLifetimePolicy": {
            "Version": 1, "AccessTokenLifetime": text,
        }});
        let kind = PolicyKind::TokenLifetime;
        match read(kind, &policy.to_string(), &Limits::of(profile))? {
            PolicyRule::TokenLifetime { access_token_seconds } => Ok(access_token_seconds),
            PolicyRule::ClaimsMapping { .. } => panic!("of another kind"),
        }
    }

    #[test]
    fn a_lifetime_lies_within_the_profiles_range() {
        let range = |profile| {
            let limits = Limits::of(profile);
            let (min, max) = (limits.policy_token_lifetime_min, limits.policy_token_lifetime_max);
            Err(DefinitionError::LifetimeOutOfRange { min, max })
        };
        for (profile, text, expected) in [
            (Profile::Standard, "8:00:00", Ok(8 * 3600)),
            (Profile::Standard, "01:00:00", Ok(3600)),
            (Profile::Standard, "00:59:59", range(Profile::Standard)),
            (Profile::Standard, "1.00:00:00", Ok(24 * 3600)),
            (Profile::Standard, "1.00:00:01", range(Profile::Standard)),
            (Profile::Azure, "00:10:00", Ok(600)),
            (Profile::Azure, "00:09:59", range(Profile::Azure)),
            (Profile::Azure, "23:59:59", Ok(24 * 3600 - 1)),
            (Profile::Azure, "1.00:00:00", Ok(24 * 3600)),
            (Profile::Azure, "2.00:00:00", range(Profile::Azure)),
        ] {
            assert_eq!(lifetime(profile, text), expected, "{profile:?} {text}");
        }
        for wrong in [
            "",
            "8",
            "8:00",
            "8:0:0",
            "24:00:00",
            "8:60:00",
            "8:00:60",
            "-1:00:00",
            "8:00:00:00",
            "1.2.00:00:00",
            ".08:00:00",
            "1000.00:00:00",
            "+8:00:00",
            "8h",
        ] {
            let expected = Err(DefinitionError::LifetimeMalformed(wrong.to_owned()));
            assert_eq!(lifetime(Profile::Azure, wrong), expected, "{wrong}");
        }
    }

    fn claims(schema: &str) -> Result<Vec<MappedClaim>, DefinitionError> {
        let policy = format!(
            r#"{{"ClaimsMappingPolicy":{{"Version":1,"IncludeBasicClaimSet":"true","ClaimsSchema":{schema}}}}}"#
        );
        match read(PolicyKind::ClaimsMapping, &policy, &Limits::of(Profile::Standard))? {
            PolicyRule::ClaimsMapping { claims } => Ok(claims),
            PolicyRule::TokenLifetime { .. } => panic!("of another kind"),
        }
    }

    #[test]
    fn claims_are_constants_or_of_the_client() {
        let read = claims(
            r#"[{"Value":"b","JwtClaimType":"a"},
                {"Source":"application","ID":"displayname","JwtClaimType":"c","SamlClaimType":"s"},
                {"Source":"Application","ID":"ObjectId","JwtClaimType":"d"}]"#,
        );
        let values: Vec<_> = read.unwrap().into_iter().map(|claim| claim.value).collect();
        assert_eq!(
            values,
            [
                ClaimValue::Constant("b".into()),
                ClaimValue::ClientDisplayName,
                ClaimValue::ClientObjectId
            ]
        );
        assert_eq!(claims("[]"), Ok(vec![]));
        let unknown = Err(DefinitionError::ClaimSourceUnknown("a".into()));
        for wrong in [
            r#"[{"JwtClaimType":"a"}]"#,
            r#"[{"JwtClaimType":"a","Value":1}]"#,
            r#"[{"JwtClaimType":"a","Source":"user","ID":"displayname"}]"#,
            r#"[{"JwtClaimType":"a","Source":"application"}]"#,
            r#"[{"JwtClaimType":"a","Source":"application","ID":"tags"}]"#,
            r#"[{"JwtClaimType":"a","Value":"x","Source":"application","ID":"objectid"}]"#,
        ] {
            assert_eq!(claims(wrong), unknown, "{wrong}");
        }
        let twice = r#"[{"JwtClaimType":"a","Value":"1"},{"JwtClaimType":"A","Value":"2"}]"#;
        assert_eq!(claims(twice), Err(DefinitionError::ClaimDuplicate("A".into())));
    }

    #[test]
    fn nobody_sets_a_claim_that_the_token_service_writes() {
        for name in RESERVED.iter().chain(&[
            "xms_mirid",
            "XMS_anything",
            "Roles",
            "https://schemas.example/claims/name",
        ]) {
            let entry = format!(r#"[{{"JwtClaimType":"{name}","Value":"x"}}]"#);
            let expected = Err(DefinitionError::ClaimReserved((*name).to_owned()));
            assert_eq!(claims(&entry), expected, "{name}");
        }
        for name in ["", "a b", "ä", &"x".repeat(129)] {
            let entry = format!(r#"[{{"JwtClaimType":"{name}","Value":"x"}}]"#);
            assert!(matches!(claims(&entry), Err(DefinitionError::ClaimInvalid(_))), "{name}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let limits = Limits::of(Profile::Standard);
        for (kind, wrong) in [
            (PolicyKind::TokenLifetime, "{}"),
            (PolicyKind::TokenLifetime, "8:00:00"),
            (PolicyKind::TokenLifetime, r#"{"ClaimsMappingPolicy":{"Version":1}}"#),
            (
                PolicyKind::TokenLifetime,
                r#"{"TokenLifetimePolicy":{"Version":1,"AccessTokenLifetime":"8:00:00","MaxInactiveTime":"1:00:00"}}"#,
            ),
            (
                PolicyKind::ClaimsMapping,
                r#"{"ClaimsMappingPolicy":{"Version":1,"ClaimsTransformation":[]}}"#,
            ),
        ] {
            let outcome = read(kind, wrong, &limits);
            assert!(matches!(outcome, Err(DefinitionError::Malformed(_))), "{wrong}: {outcome:?}");
        }
        let version = r#"{"TokenLifetimePolicy":{"Version":2,"AccessTokenLifetime":"8:00:00"}}"#;
        let outcome = read(PolicyKind::TokenLifetime, version, &limits);
        assert_eq!(outcome, Err(DefinitionError::VersionUnknown));
        let long = "x".repeat(limits::POLICY_DEFINITION_BYTES_MAX + 1);
        let outcome = read(PolicyKind::ClaimsMapping, &long, &limits);
        assert_eq!(outcome, Err(DefinitionError::TooLong));
    }
}
