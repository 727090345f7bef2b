//! The members that every tracked resource's body has: location, tags, identity, properties, and what stands beside them.
//!
//! Member names ignore case, as in Resource Manager. Secrets are not kept: Azure never returns them.

use std::collections::BTreeMap;

use keycard_domain::directory::identity_block::IdentityRequest;
use serde_json::{Map, Value};

use super::error::ArmError;
use super::identity;

/// What the body of a PUT or PATCH says; an absent member says nothing.
pub(super) struct ResourceBody {
    pub(super) location: Option<String>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) identity: Option<IdentityRequest>,
    pub(super) properties: Option<Map<String, Value>>,
    /// Further top-level members that are kept and returned.
    pub(super) other: Map<String, Value>,
}

/// Further top-level members that are kept and returned.
const KEPT: &[&str] = &["kind", "sku", "zones", "plan", "extendedLocation", "managedBy"];

/// A member by its name, whose case means nothing.
pub(super) fn member(body: &Map<String, Value>, name: &str) -> Option<Value> {
    let found = body.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).filter(|value| !value.is_null()).cloned()
}

pub(super) fn read(body: &Map<String, Value>) -> Result<ResourceBody, ArmError> {
    let malformed = |error: serde_json::Error| ArmError::BodyMalformed(error.to_string());
    let kept = |name: &&str| member(body, name).map(|value| ((*name).to_owned(), value));
    Ok(ResourceBody {
        location: member(body, "location")
            .map(serde_json::from_value)
            .transpose()
            .map_err(malformed)?,
        tags: member(body, "tags")
            .map(serde_json::from_value::<BTreeMap<String, String>>)
            .transpose()
            .map_err(malformed)?,
        identity: identity::read(member(body, "identity").as_ref())?,
        properties: member(body, "properties")
            .map(serde_json::from_value::<Map<String, Value>>)
            .transpose()
            .map_err(malformed)?
            .map(without_secrets),
        other: without_secrets(KEPT.iter().filter_map(kept).collect()),
    })
}

/// How the names of members end that hold nothing but secrets, in lower case: they go with all that is in them.
const SECRET_ENDINGS: &[&str] = &[
    "password",
    "passwords",
    "passphrase",
    "secrets",
    "credentials",
    "connectionstrings",
    "appsettings",
    "customdata",
    "userdata",
    "additionalunattendcontent",
    "protectedsettings",
];

/// How the names of members end whose text is a secret; an object of such a name describes one. A member that only refers
/// to a secret, as `secretUri` does, ends otherwise.
const SECRET_TEXT_ENDINGS: &[&str] = &[
    "passwordhash",
    "pwd",
    "secret",
    "secretvalue",
    "securevalue",
    "credential",
    "token",
    "key",
    "key1",
    "key2",
    "keys",
    "keyvalue",
    "keypem",
    "certificatevalue",
    "encodedcertificate",
    "pfx",
    "connectionstring",
    "sasuri",
    "sasurl",
];

/// How the names of keys end that are no secrets: public ones, and those by which something is found.
const PLAIN_KEY_ENDINGS: &[&str] = &[
    "publickey",
    "publickeys",
    "partitionkey",
    "partitionkeys",
    "shardkey",
    "hashkey",
    "rowkey",
    "sortkey",
    "uniquekey",
    "uniquekeys",
    "encryptionkey",
    "activekey",
    "customermanagedkey",
];

/// Whether a member holds a secret. Names with dashes or underscores are a client's own, such as those of a workflow's
/// steps: Azure's members have none.
fn is_secret(name: &str, value: &Value) -> bool {
    if name.contains(['_', '-']) {
        return false;
    }
    let name = name.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let is_text = !matches!(value, Value::Object(_) | Value::Bool(_) | Value::Null);
    ends(SECRET_ENDINGS) || (is_text && ends(SECRET_TEXT_ENDINGS) && !ends(PLAIN_KEY_ENDINGS))
}

/// The properties without what is secret in them, however deep it stands.
pub(super) fn without_secrets(properties: Map<String, Value>) -> Map<String, Value> {
    // Beside its password, a certificate's data is its private part too; and a value may be said to be secure.
    let has_password = properties.keys().any(|name| name.eq_ignore_ascii_case("password"));
    let is_secure = properties.iter().any(|(name, value)| {
        let of = value.as_str().unwrap_or_default().to_ascii_lowercase();
        name.eq_ignore_ascii_case("type") && matches!(of.as_str(), "securestring" | "secureobject")
    });
    let is_lost = |name: &str, value: &Value| {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        is_secret(name, value)
            || (has_password && is("data"))
            || (is_secure && (is("value") || is("defaultValue")))
    };
    properties
        .into_iter()
        .filter(|(name, value)| !is_lost(name, value))
        .map(|(name, value)| (name, value_without_secrets(value)))
        .collect()
}

fn value_without_secrets(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(without_secrets(members)),
        Value::Array(items) => Value::Array(items.into_iter().map(value_without_secrets).collect()),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn member_names_ignore_case_and_secrets_are_not_kept() {
        let body = json!({
            "Location": "local",
            "Identity": { "type": "SystemAssigned" },
            "Properties": {
                "osProfile": { "AdminPassword": "x", "name": "n", "linuxConfiguration": { "disablePasswordAuthentication": true } },
                "UserData": "x",
                "administratorLoginPassword": "x",
                "list": [{ "customdata": "x", "secretUri": "https://v/secrets/s" }],
                "ssh": { "publicKeys": [{ "keyData": "k" }] },
                "actions": { "Get_secret": { "type": "Http" }, "schema": { "key": { "type": "string" } } },
                "parameters": { "p": { "type": "SecureString", "value": "x" }, "q": { "type": "String", "value": "y" } },
                "apiKeys": ["x"],
                "qnaAzureSearchEndpointKey": "x",
                "repositoryToken": "x",
                "partitionKey": { "paths": ["/id"] },
                "sslCertificates": [{ "properties": { "data": "x", "password": "x" } }],
                "data": "plain",
            },
            "sku": { "name": "S", "password": "x" },
            "systemData": {},
            "Kind": "app",
        });
        let request = read(body.as_object().unwrap()).unwrap();
        assert_eq!(request.location.as_deref(), Some("local"));
        assert!(request.identity.is_some());
        assert_eq!(
            Value::Object(request.properties.unwrap()),
            json!({
                "osProfile": { "name": "n", "linuxConfiguration": { "disablePasswordAuthentication": true } },
                "list": [{ "secretUri": "https://v/secrets/s" }],
                "ssh": { "publicKeys": [{ "keyData": "k" }] },
                "actions": { "Get_secret": { "type": "Http" }, "schema": { "key": { "type": "string" } } },
                "parameters": { "p": { "type": "SecureString" }, "q": { "type": "String", "value": "y" } },
                "partitionKey": { "paths": ["/id"] },
                "sslCertificates": [{ "properties": {} }],
                "data": "plain",
            })
        );
        assert_eq!(Value::Object(request.other), json!({ "kind": "app", "sku": { "name": "S" } }));
    }
}
