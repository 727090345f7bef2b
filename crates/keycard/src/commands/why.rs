//! `keycard why`: why something is allowed or refused, and what would be enough.

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::cli::{Failure, Output, ServerChoice, print};

/// Say why an identity may or may not do something, and what is the least that would be enough.
///
/// Ask about an identity, an action and a scope, or about a request that was refused, by the `x-ms-request-id` of its
/// answer.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "keycard why --as IDENTITY --action ACTION --scope SCOPE [OPTIONS]\n       keycard why REQUEST-ID [OPTIONS]"
)]
pub(crate) struct Why {
    /// The request that was refused.
    #[arg(value_name = "REQUEST-ID", conflicts_with_all = ["identity", "action", "scope"], required_unless_present = "identity")]
    request_id: Option<String>,
    /// Who: a resource id, an object or client id, or a name where it is unique.
    #[arg(long = "as", value_name = "IDENTITY", requires_all = ["action", "scope"])]
    identity: Option<String>,
    /// What, such as `Microsoft.KeyVault/vaults/secrets/getSecret/action`.
    #[arg(long, requires = "identity")]
    action: Option<String>,
    /// Where: a path such as `/subscriptions/…/resourceGroups/rg`.
    #[arg(long, requires = "identity")]
    scope: Option<String>,
    /// The action is one of the data plane; by default what the action is known as.
    #[arg(long, requires = "identity")]
    data: bool,
    /// What a condition asks about, as in `@Request[Microsoft.KeyVault/vaults/secrets:name]=db`.
    #[arg(long = "attribute", value_name = "NAME=VALUE", requires = "identity")]
    attributes: Vec<String>,
    #[command(flatten)]
    server: ServerChoice,
    /// Write JSON for programs, or words for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

const VERSION: &str = "api-version=2026-11-01";

impl Why {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (_, administration) = self.server.sign_in().await?;
        let explanations = match &self.request_id {
            Some(request_id) => {
                let id = utf8_percent_encode(request_id, NON_ALPHANUMERIC);
                let path = format!("/providers/Keycard.Local/refusals/{id}?{VERSION}");
                let answer = administration.arm(Method::GET, &path, None).await?;
                answer.body.get("value").and_then(Value::as_array).cloned().unwrap_or_default()
            }
            None => {
                let scope = path_of(self.scope.as_deref().unwrap_or_default())?;
                let path = format!("{scope}/providers/Keycard.Local/explainAccess?{VERSION}");
                vec![administration.arm(Method::POST, &path, Some(&self.question()?)).await?.body]
            }
        };
        match self.output {
            Output::Json => print(&serde_json::to_string(&explanations)?),
            Output::Table => explanations.iter().try_for_each(|it| print(&words(it))),
        }
    }

    fn question(&self) -> Result<Value, Failure> {
        let mut attributes = Map::new();
        for attribute in &self.attributes {
            let (name, value) = attribute.split_once("]=").ok_or_else(|| {
                Failure(format!("`{attribute}` has not the form @Source[name]=value"))
            })?;
            attributes.insert(format!("{name}]"), json!(value));
        }
        let mut question =
            json!({ "identity": self.identity, "action": self.action, "attributes": attributes });
        if let (true, Some(members)) = (self.data, question.as_object_mut()) {
            members.insert("isDataAction".to_owned(), json!(true));
        }
        Ok(question)
    }
}

/// What a path keeps as it is; whatever else a scope holds is encoded, so that it stays one.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'(')
    .remove(b')');

/// The scope as the beginning of a path: empty for the root.
fn path_of(scope: &str) -> Result<String, Failure> {
    if !scope.starts_with('/') {
        return Err(Failure(format!(
            "`{scope}` is no scope: it has to be a path such as /subscriptions/…"
        )));
    }
    Ok(utf8_percent_encode(scope.trim_end_matches('/'), PATH).to_string())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// An explanation in a few lines.
fn words(explanation: &Value) -> String {
    let is_allowed = text(explanation, "/decision") == "Allowed";
    let identity = match text(explanation, "/identity/displayName") {
        "" => text(explanation, "/identity/principalId"),
        name => name,
    };
    let plane = match explanation.get("isDataAction").and_then(Value::as_bool) {
        Some(true) => " (data)",
        Some(false) | None => "",
    };
    let mut lines = vec![
        format!(
            "{} {identity}: {}{plane}",
            if is_allowed { "allowed" } else { "refused" },
            text(explanation, "/action")
        ),
        format!("at      {}", text(explanation, "/scope")),
        format!("because {}", because(explanation)),
    ];
    let advice = explanation.get("advice").filter(|advice| !advice.is_null());
    if let Some(advice) = advice {
        let enough = match text(advice, "/kind") {
            "assignRole" => format!("{} at {}", text(advice, "/role/name"), text(advice, "/scope")),
            "liftDenyAssignment" => "without this deny assignment, or excluded from it".to_owned(),
            _ => format!(
                "the permission `{}` on secrets in an access policy of the vault",
                text(advice, "/secretPermission")
            ),
        };
        lines.push(format!("enough  {enough}"));
        lines.push(String::new());
        lines.push(format!("    {}", text(advice, "/command")));
    } else if !is_allowed {
        lines.push("enough  no built-in role grants this action; a custom role can".to_owned());
    }
    lines.join("\n")
}

fn because(explanation: &Value) -> String {
    let assignment = text(explanation, "/roleAssignment/id");
    let condition = text(explanation, "/roleAssignment/properties/condition");
    match text(explanation, "/reason") {
        "GrantedByRBAC" => format!("of the role assignment {assignment}"),
        "GrantedByABAC" => format!("of the role assignment {assignment}, whose condition is met"),
        "DeniedWithABACEvaluationInRA" => {
            format!("the condition of the role assignment {assignment} is not met: {condition}")
        }
        "DeniedWithMissingAttributesInRA" => format!(
            "the condition of the role assignment {assignment} asks for what the request does not have: {condition}"
        ),
        "DeniedByDenyAssignment" => format!(
            "the deny assignment '{}' forbids it: {}",
            text(explanation, "/denyAssignment/properties/denyAssignmentName"),
            text(explanation, "/denyAssignment/id")
        ),
        "GrantedByAccessPolicy" => "of an access policy of the vault".to_owned(),
        "DeniedByAccessPolicy" => {
            "the vault decides by access policies, and none grants it".to_owned()
        }
        _ => "no role assignment at the scope or above it covers the action".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_stays_a_path() {
        assert_eq!(path_of("/subscriptions/s/").unwrap(), "/subscriptions/s");
        assert_eq!(path_of("/").unwrap(), "");
        assert_eq!(path_of("/a b?c#d").unwrap(), "/a%20b%3Fc%23d");
        for wrong in ["", "nonsense", "@127.0.0.1:9999/x", "https://elsewhere/"] {
            assert!(path_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_ends_in_the_command_that_lifts_it() {
        let words = words(&json!({
            "identity": { "displayName": "vm1" },
            "action": "A/b/action",
            "isDataAction": true,
            "scope": "/subscriptions/s",
            "decision": "NotAllowed",
            "reason": "DeniedWithNoValidRBAC",
            "advice": { "kind": "assignRole", "role": { "name": "R" }, "scope": "/subscriptions/s", "command": "az x" },
        }));
        assert!(words.starts_with("refused vm1: A/b/action (data)\n"), "{words}");
        assert!(words.contains("enough  R at /subscriptions/s"), "{words}");
        assert!(words.ends_with("\n\n    az x"), "{words}");
    }
}
