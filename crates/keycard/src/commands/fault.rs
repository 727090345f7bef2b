//! `keycard fault`: trouble for the programs that run as resources of a running `up`.

use clap::ValueEnum;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::clock::seconds;
use super::env::attachment;
use crate::cli::{Failure, Output, ServerChoice, print};
use crate::client::{Administration, text_at};
use crate::description::Description;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Fault {
    /// Set a fault on a resource, or on all of them. Set again, it begins from the start.
    ///
    /// Times run on the clock of the server, which `keycard clock advance` turns.
    Set(Box<Set>),
    /// List the faults that are set.
    List(List),
    /// Clear one fault, or all.
    Clear(Clear),
}

/// Where, and how the answer is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// A resource, by id or by a name that is unique, or a resource group or subscription by its path; by default the
    /// whole subscription.
    #[arg(long = "on", value_name = "SCOPE")]
    scope: Option<String>,
    #[command(flatten)]
    server: ServerChoice,
    /// Write JSON for programs, or a table for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// What is to happen.
    #[arg(value_enum, value_name = "FAULT")]
    kind: Kind,
    /// What the fault is called, where a scope is to have several of a kind; by default as its kind.
    #[arg(long)]
    name: Option<String>,
    /// How many requests are disturbed; by default 3 of `server-error`, and all of the others.
    #[arg(long, value_name = "N")]
    requests: Option<u32>,
    /// How long the fault holds, as in `70s` or `1h`; by default 70s of `updating`, and the others until they are cleared.
    #[arg(long = "for", value_name = "DURATION", value_parser = seconds)]
    duration: Option<i64>,
    /// Of `too-many-requests`: when clients are told to come again; by default 5s.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    retry_after: Option<i64>,
    /// Of `server-error`: 500, 502, 503 or 504; by default 500.
    #[arg(long, value_name = "STATUS")]
    status: Option<u16>,
    /// Of `slow-answer`: how late, as in `500ms` or `30s`, by default 5s. Of `replication-delay`: how long a new principal is
    /// hidden, by default 120s.
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    delay: Option<i64>,
    /// Of `connection-dropped`: before any byte of the answer, or in the middle of its body.
    #[arg(long, value_enum)]
    moment: Option<Moment>,
    /// Of `throttle`: requests per second; by default 20, as on Azure.
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Of `throttle`: requests at the same time; by default 5, as on Azure.
    #[arg(long, value_name = "N")]
    concurrent: Option<u32>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Clear {
    /// The fault's name; without it, all faults at the scope and below it are cleared.
    name: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// 429 with `Retry-After`.
    TooManyRequests,
    /// 410, as a metadata endpoint that is being updated says for up to 70 seconds.
    Updating,
    /// 500, 502, 503 or 504.
    ServerError,
    /// Answers come late.
    SlowAnswer,
    /// The connection breaks, before the answer or in the middle of it.
    ConnectionDropped,
    /// Azure's own throttle of each VM: 20 requests per second, 5 at the same time.
    Throttle,
    /// New service principals are hidden from role assignments and Microsoft Graph.
    ReplicationDelay,
}

impl Kind {
    const fn property(self) -> &'static str {
        match self {
            Self::TooManyRequests => "TooManyRequests",
            Self::Updating => "Updating",
            Self::ServerError => "ServerError",
            Self::SlowAnswer => "SlowAnswer",
            Self::ConnectionDropped => "ConnectionDropped",
            Self::Throttle => "Throttle",
            Self::ReplicationDelay => "ReplicationDelay",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Moment {
    /// No byte of an answer is sent.
    BeforeAnswer,
    /// The answer breaks off in its body.
    MidAnswer,
}

impl Moment {
    const fn property(self) -> &'static str {
        match self {
            Self::BeforeAnswer => "BeforeAnswer",
            Self::MidAnswer => "MidAnswer",
        }
    }
}

impl Fault {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Set(set) => set.run().await,
            Self::List(list) => list.run().await,
            Self::Clear(clear) => clear.run().await,
        }
    }
}

impl Common {
    /// Who talks to the server, and the path of the scope.
    async fn open(&self) -> Result<(Administration, String), Failure> {
        let (description, administration) = self.server.sign_in().await?;
        let scope = scope(&description, &administration, self.scope.as_deref()).await?;
        Ok((administration, scope))
    }
}

/// A path is taken as it is; a name is that of a resource with a local endpoint.
async fn scope(
    description: &Description,
    administration: &Administration,
    named: Option<&str>,
) -> Result<String, Failure> {
    match named {
        None => Ok(format!("/subscriptions/{}", description.subscription_id)),
        Some(path) if path.starts_with('/') => Ok(path.trim_end_matches('/').to_owned()),
        Some(name) => {
            let found = attachment(administration, name, None).await?;
            Ok(text_at(&found, "/resourceId").to_owned())
        }
    }
}

const VERSION: &str = "api-version=2026-11-01";

fn path(scope: &str, name: &str) -> String {
    format!("{scope}/providers/Keycard.Testing/faults/{name}?{VERSION}")
}

async fn all(administration: &Administration, scope: &str) -> Result<Vec<Value>, Failure> {
    let first = format!("{scope}/providers/Keycard.Testing/faults?{VERSION}");
    Ok(administration.list(&first).await?)
}

impl Set {
    async fn run(&self) -> Result<(), Failure> {
        let (administration, scope) = self.common.open().await?;
        let kind = self.kind.to_possible_value();
        let kind_name = kind.as_ref().map_or("fault", |value| value.get_name());
        let name = self.name.as_deref().unwrap_or(kind_name);
        let body = json!({ "properties": self.properties() });
        let answer = administration.arm(Method::PUT, &path(&scope, name), Some(&body)).await?;
        match self.common.output {
            Output::Json => print(&answer.body.to_string()),
            Output::Table => print(&table(&[answer.body])),
        }
    }

    /// What does not belong to the kind is sent too, and refused by the server.
    fn properties(&self) -> Value {
        let is_replication = self.kind == Kind::ReplicationDelay;
        let delay = self.delay.filter(|_| !is_replication);
        let seconds = self.delay.filter(|_| is_replication);
        let members = [
            ("requests", self.requests.map(|it| json!(it))),
            ("durationSeconds", self.duration.map(|it| json!(it))),
            ("retryAfterSeconds", self.retry_after.map(|it| json!(it))),
            ("statusCode", self.status.map(|it| json!(it))),
            ("delayMilliseconds", delay.map(|it| json!(it))),
            // A part of a second counts as a whole one.
            ("delaySeconds", seconds.map(|it| json!((it + 999) / 1000))),
            ("moment", self.moment.map(|it| json!(it.property()))),
            ("requestsPerSecond", self.rate.map(|it| json!(it))),
            ("concurrentRequests", self.concurrent.map(|it| json!(it))),
        ];
        let given = members.into_iter().filter_map(|(name, it)| Some((name.to_owned(), it?)));
        let mut properties: Map<String, Value> = given.collect();
        properties.insert("kind".to_owned(), json!(self.kind.property()));
        Value::Object(properties)
    }
}

impl List {
    async fn run(&self) -> Result<(), Failure> {
        let (administration, scope) = self.common.open().await?;
        let faults = all(&administration, &scope).await?;
        match self.common.output {
            Output::Json => print(&serde_json::to_string(&faults)?),
            Output::Table if faults.is_empty() => print("No fault is set."),
            Output::Table => print(&table(&faults)),
        }
    }
}

impl Clear {
    async fn run(&self) -> Result<(), Failure> {
        let (administration, scope) = self.common.open().await?;
        let ids: Vec<String> = match &self.name {
            Some(name) => vec![format!("{scope}/providers/Keycard.Testing/faults/{name}")],
            None => {
                let faults = all(&administration, &scope).await?;
                faults.iter().map(|fault| text_at(fault, "/id").to_owned()).collect()
            }
        };
        let mut cleared = Vec::new();
        for id in ids {
            let path = format!("{id}?{VERSION}");
            let answer = administration.arm(Method::DELETE, &path, None).await?;
            if answer.status == StatusCode::OK {
                cleared.push(id);
            }
        }
        if let (Some(name), true) = (&self.name, cleared.is_empty()) {
            return Err(Failure(format!("there is no fault `{name}` on {scope}")));
        }
        match self.common.output {
            Output::Json => print(&serde_json::to_string(&cleared)?),
            Output::Table if cleared.is_empty() => print("No fault was set."),
            Output::Table => print(&cleared.join("\n")),
        }
    }
}

fn table(faults: &[Value]) -> String {
    let mut lines =
        vec![format!("{:<20} {:<20} {:<8} {:<22} ON", "NAME", "KIND", "HOLDS", "UNTIL")];
    lines.extend(faults.iter().map(|fault| {
        let is_over = fault.pointer("/properties/isOver").and_then(Value::as_bool);
        let id = text_at(fault, "/id");
        let on = id.split_once("/providers/Keycard.Testing/").map_or(id, |(scope, _)| scope);
        format!(
            "{:<20} {:<20} {:<8} {:<22} {on}",
            text_at(fault, "/name"),
            text_at(fault, "/properties/kind"),
            if is_over == Some(true) { "no" } else { "yes" },
            text_at(fault, "/properties/endsAt"),
        )
    }));
    lines.join("\n")
}

/// The milliseconds of `500ms`, or of a duration in whole seconds.
fn milliseconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no duration such as 500ms or 30s");
    match text.strip_suffix("ms") {
        Some(number) => number.parse::<u32>().map(i64::from).map_err(|_| wrong()),
        None => seconds(text).and_then(|it| it.checked_mul(1000).ok_or_else(wrong)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_read_in_milliseconds_or_seconds() {
        for (text, expected) in [("500ms", 500), ("30s", 30_000), ("1m30s", 90_000), ("0ms", 0)] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        for wrong in ["", "ms", "5", "-1ms", "1.5s", "99999999999999ms"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
    }
}
