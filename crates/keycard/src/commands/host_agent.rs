//! `keycard host-agent run`: a resource's metadata endpoint, at the address where every client of Azure looks for it.

use keycard_host_agent::metadata_address::{LinkChoice, METADATA, MetadataAddress};
use keycard_host_agent::sandbox::HostEndpoint;
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::cli::{Failure, Output, ServerChoice, print};
use crate::commands::up::Interrupts;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum HostAgent {
    Run(Run),
}

/// Serve a resource's metadata endpoint at 169.254.169.254 on this host until interrupted.
///
/// The address is put on a link, which takes `CAP_NET_ADMIN`, and taken away again at the end. Every program in this network
/// namespace that asks there then asks as this resource; never do it where a cloud's own metadata service is needed.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The resource, by its whole id or a name that only it has.
    #[arg(long = "as", value_name = "RESOURCE")]
    resource: String,
    /// The link that gets the address, or `dummy` for a link of its own.
    #[arg(long, value_name = "LINK", default_value = "lo")]
    interface: LinkChoice,
    #[command(flatten)]
    server: ServerChoice,
    /// Write one line of JSON for programs when it is served, or a sentence for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl HostAgent {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Self::Run(run) = self;
        run.run().await
    }
}

impl Run {
    async fn run(self) -> Result<(), Failure> {
        let control = self
            .server
            .description()?
            .control_socket
            .ok_or_else(|| Failure("the running keycard has no control socket".to_owned()))?;
        let mut interrupts = Interrupts::listen()?;
        // Dropped last, so that nobody finds the address without its endpoint longer than it takes.
        let (_address, listener) = MetadataAddress::listen(&self.interface)?;
        let resource = self.resource.clone();
        let opening =
            spawn_blocking(move || HostEndpoint::open(control.as_ref(), &resource, &listener));
        let mut endpoint = tokio::select! {
            opened = opening => opened??,
            () = interrupts.wait() => return Ok(()),
        };
        let resource = endpoint.resource();
        let url = format!("http://{}", METADATA.ip());
        match self.output {
            Output::Json => print(&json!({ "resourceId": resource, "url": url }).to_string())?,
            Output::Table => print(&format!("{url} is the metadata endpoint of {resource}"))?,
        }
        tokio::select! {
            () = interrupts.wait() => Ok(()),
            () = endpoint.ended() => Err(Failure("the running keycard has stopped".to_owned())),
        }
    }
}
