//! `keycard record start|stop`: watches what a run asks of the authorization engine, and prints the least-privilege role
//! assignments that cover it.

use http::Method;
use serde_json::{Value, json};

use crate::cli::{Failure, Output, ServerChoice, print};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Record {
    /// Begin to watch; what was watched before is forgotten.
    Start(Start),
    /// End, and print the least-privilege role assignments that cover what was asked.
    ///
    /// The administrator's own requests are left out.
    Stop(Stop),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    #[command(flatten)]
    server: ServerChoice,
    /// Write JSON for programs, or words for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    /// Print the assignments as an ARM template for `az deployment sub create`.
    #[arg(long)]
    template: bool,
    #[command(flatten)]
    server: ServerChoice,
    /// Write JSON for programs, or words for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

const VERSION: &str = "api-version=2026-11-01";

impl Record {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Start(start) => start.run().await,
            Self::Stop(stop) => stop.run().await,
        }
    }
}

impl Start {
    async fn run(self) -> Result<(), Failure> {
        let (_, administration) = self.server.sign_in().await?;
        let path = format!("/providers/Keycard.Local/startRecording?{VERSION}");
        let answer = administration.arm(Method::POST, &path, Some(&json!({}))).await?;
        match self.output {
            Output::Json => print(&answer.body.to_string()),
            Output::Table => print("Recording. End with: keycard record stop"),
        }
    }
}

impl Stop {
    async fn run(self) -> Result<(), Failure> {
        let (_, administration) = self.server.sign_in().await?;
        let path = format!("/providers/Keycard.Local/stopRecording?{VERSION}");
        let recording = administration.arm(Method::POST, &path, Some(&json!({}))).await?.body;
        match (self.template, self.output) {
            (true, _) => {
                let template = recording.get("template").unwrap_or(&Value::Null);
                print(&serde_json::to_string_pretty(template)?)
            }
            (false, Output::Json) => print(&recording.to_string()),
            (false, Output::Table) => print(&words(&recording)),
        }
    }
}

fn items<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn words(recording: &Value) -> String {
    let questions = items(recording, "questions");
    let refused =
        questions.iter().filter(|it| it.get("wasAllowed") == Some(&Value::Bool(false))).count();
    let assignments = items(recording, "assignments");
    let policies = items(recording, "accessPolicies");
    let mut lines = vec![format!(
        "# {} questions, {refused} of them refused, need {} role assignments and {} access policies:",
        questions.len(),
        assignments.len(),
        policies.len()
    )];
    lines.extend(assignments.iter().chain(policies).map(|it| text(it, "/command").to_owned()));
    for question in items(recording, "uncovered") {
        lines.push(format!(
            "# no built-in role grants {} at {}",
            text(question, "/action"),
            text(question, "/scope")
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_reads_as_commands() {
        let words = words(&json!({
            "questions": [{ "wasAllowed": false }, { "wasAllowed": true }],
            "assignments": [{ "command": "az role assignment create" }],
            "uncovered": [{ "action": "A/b", "scope": "/s" }],
        }));
        assert_eq!(
            words,
            "# 2 questions, 1 of them refused, need 1 role assignments and 0 access policies:\n\
             az role assignment create\n\
             # no built-in role grants A/b at /s"
        );
    }
}
