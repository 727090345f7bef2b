//! The templates that `keycard up` deploys before it is ready: through the public wire, as Azure CLI would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::cli::{Failure, client};
use crate::client::{Administration, text_at};
use crate::description::Description;

/// Templates with their parameters, and where they are put.
#[derive(Debug)]
pub(crate) struct Templates {
    all: Vec<Template>,
    resource_group: String,
}

#[derive(Debug)]
struct Template {
    /// The deployment's name: that of the file, as with Azure CLI.
    name: String,
    /// Perhaps with comments, as the server takes it.
    text: String,
    parameters: Value,
}

/// How a template names itself when it is one of a subscription.
const SUBSCRIPTION_SCHEMA: &str = "subscriptionDeploymentTemplate.json";
/// How often the end of a deployment is asked for.
const POLL_PAUSE: Duration = Duration::from_millis(100);
/// How long a deployment may take.
const DEPLOYMENT_TIME_MAX: Duration = Duration::from_secs(1800);

impl Templates {
    /// Reads the files: the first parameters belong to the first template.
    pub(crate) fn read(
        templates: &[PathBuf],
        parameters: &[PathBuf],
        resource_group: &str,
    ) -> Result<Self, Failure> {
        if parameters.len() > templates.len() {
            return Err(Failure("there are more files of parameters than templates".to_owned()));
        }
        let parameters = parameters.iter().map(Some).chain(std::iter::repeat(None));
        let all = templates.iter().zip(parameters);
        let all = all.map(|(template, parameters)| Template::read(template, parameters));
        Ok(Self { all: all.collect::<Result<_, _>>()?, resource_group: resource_group.to_owned() })
    }

    /// Deploys them in their order; the first that fails ends it.
    pub(crate) async fn deploy(&self, server: &Description) -> Result<(), Failure> {
        if self.all.is_empty() {
            return Ok(());
        }
        let administration = Administration::sign_in(client(server)?, server).await?;
        let subscription = format!("/subscriptions/{}", server.subscription_id);
        for template in &self.all {
            let scope = if template.is_of_subscription() {
                subscription.clone()
            } else {
                let group = format!("{subscription}/resourceGroups/{}", self.resource_group);
                ensure_group(&administration, &group).await?;
                group
            };
            let deploying = template.deploy(&administration, &scope);
            let deployed = tokio::time::timeout(DEPLOYMENT_TIME_MAX, deploying).await;
            let deployed =
                deployed.unwrap_or_else(|_| Err(Failure("it takes too long".to_owned())));
            deployed.map_err(|Failure(reason)| {
                Failure(format!("template {} was not deployed: {reason}", template.name))
            })?;
        }
        Ok(())
    }
}

/// A group that is there stays as it is, wherever it is.
async fn ensure_group(administration: &Administration, group: &str) -> Result<(), Failure> {
    let path = format!("{group}?api-version=2024-11-01");
    if administration.arm(Method::GET, &path, None).await.is_err() {
        administration.arm(Method::PUT, &path, Some(&json!({ "location": "local" }))).await?;
    }
    Ok(())
}

impl Template {
    fn read(template: &Path, parameters: Option<&PathBuf>) -> Result<Self, Failure> {
        let failed = |path: &Path, error: &dyn std::fmt::Display| {
            Failure(format!("{}: {error}", path.display()))
        };
        let text = std::fs::read_to_string(template).map_err(|error| failed(template, &error))?;
        let parameters = match parameters {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| failed(path, &error))?;
                let mut file: Value =
                    serde_json::from_str(&text).map_err(|error| failed(path, &error))?;
                // With the envelope of a file of parameters, or without.
                match file.get_mut("parameters").filter(|it| it.get("value").is_none()) {
                    Some(parameters) => parameters.take(),
                    None => file,
                }
            }
            None => json!({}),
        };
        let stem = template.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let name: String = stem
            .unwrap_or_default()
            .chars()
            .map(|c| if is_of_name(c) { c } else { '-' })
            .take(64)
            .collect();
        Ok(Self { name: name.trim_end_matches('.').to_owned(), text, parameters })
    }

    /// By the first schema that stands in it, which is the template's own.
    fn is_of_subscription(&self) -> bool {
        let schema =
            self.text.split_once("\"$schema\"").and_then(|(_, rest)| rest.split('"').nth(1));
        schema.is_some_and(|schema| schema.contains(SUBSCRIPTION_SCHEMA))
    }

    async fn deploy(&self, administration: &Administration, scope: &str) -> Result<(), Failure> {
        let path = format!(
            "{scope}/providers/Microsoft.Resources/deployments/{}?api-version=2025-04-01",
            self.name
        );
        let location =
            if self.is_of_subscription() { r#""location":"local","# } else { Default::default() };
        // The line break ends a comment that the text may end with.
        let body = format!(
            r#"{{{location}"properties":{{"mode":"Incremental","parameters":{},template:{}
}}}}"#,
            self.parameters, self.text
        );
        administration.arm_text(Method::PUT, &path, body).await?;
        loop {
            let answer = administration.arm(Method::GET, &path, None).await?.body;
            match text_at(&answer, "/properties/provisioningState") {
                "Succeeded" => return Ok(()),
                "Accepted" | "Running" => tokio::time::sleep(POLL_PAUSE).await,
                state => {
                    let error = answer.pointer("/properties/error").cloned().unwrap_or_default();
                    return Err(Failure(format!("{state}: {error}")));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: bool) {
        let template =
            Template { name: String::new(), text: text.to_owned(), parameters: json!({}) };
        assert_eq!(template.is_of_subscription(), expected, "{text}");
    }

    #[test]
    fn the_first_schema_says_where_a_template_belongs() {
        let of = |kind: &str| format!(r#"{{ "$schema": "https://x/2018-05-01/{kind}.json#" }}"#);
        let (group, subscription) =
            (of("deploymentTemplate"), of("subscriptionDeploymentTemplate"));
        check(&group, false);
        check(&subscription, true);
        check(&format!("{group}{subscription}"), false);
        check("{}", false);
    }
}
