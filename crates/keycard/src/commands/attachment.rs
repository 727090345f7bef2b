//! `keycard attachment list`: the local token endpoints.

use serde_json::Value;

use crate::cli::{Failure, Output, ServerChoice, print};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Attachment {
    /// List every local endpoint, with its address and, for App Service, its secret header.
    List(List),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    server: ServerChoice,
    /// Write JSON for programs, or a table for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Attachment {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Self::List(list) = self;
        let (_, administration) = list.server.sign_in().await?;
        let attachments = administration.attachments().await?;
        match list.output {
            Output::Json => print(&serde_json::to_string(&attachments)?),
            Output::Table => print(&table(&attachments)),
        }
    }
}

/// The secret headers are for programs only.
fn table(attachments: &[Value]) -> String {
    if attachments.is_empty() {
        return "There are no local endpoints yet: they open with the first VM or site.".to_owned();
    }
    let text = |item: &Value, member: &str| {
        item.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut lines = vec![format!("{:<12} {:<36} RESOURCE", "KIND", "URL")];
    lines.extend(attachments.iter().map(|item| {
        format!("{:<12} {:<36} {}", text(item, "kind"), text(item, "url"), text(item, "resourceId"))
    }));
    lines.join("\n")
}
