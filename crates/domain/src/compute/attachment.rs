//! An attachment binds one workload to one local listener and one kind of endpoint.
//!
//! Listeners belong to the node, so attachments are not stored; this is the port through which a face sees them.

use async_trait::async_trait;
use keycard_crypto::secret::Secret;

use crate::ids::ClientId;
use crate::resource_id::ArmResourceId;

/// The protocol of a local token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKind {
    /// The metadata endpoint of a VM.
    Imds,
    /// The endpoint of App Service and Functions.
    AppService,
    /// The endpoint of the agent on a server outside Azure.
    Arc,
    /// The endpoint of a Service Fabric node.
    ServiceFabric,
    /// The endpoint of Cloud Shell.
    CloudShell,
    /// The endpoint of Azure Machine Learning's compute.
    AzureMl,
}

impl EndpointKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Imds,
        Self::AppService,
        Self::Arc,
        Self::ServiceFabric,
        Self::CloudShell,
        Self::AzureMl,
    ];

    /// The kind as commands and answers write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Imds => "imds",
            Self::AppService => "app-service",
            Self::Arc => "arc",
            Self::ServiceFabric => "service-fabric",
            Self::CloudShell => "cloud-shell",
            Self::AzureMl => "azure-ml",
        }
    }

    /// Whether a request has to carry a secret that only the workload was given.
    pub const fn has_secret(self) -> bool {
        match self {
            Self::Imds | Self::Arc | Self::CloudShell => false,
            Self::AppService | Self::ServiceFabric | Self::AzureMl => true,
        }
    }

    /// Whether it is spoken to over TLS.
    pub const fn is_over_tls(self) -> bool {
        match self {
            Self::ServiceFabric => true,
            Self::Imds | Self::AppService | Self::Arc | Self::CloudShell | Self::AzureMl => false,
        }
    }

    /// The kind with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A local token endpoint.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Whose endpoint it is.
    pub resource_id: ArmResourceId,
    /// Its protocol.
    pub kind: EndpointKind,
    /// Where it listens: the base for a metadata endpoint, the whole address for the others.
    pub url: String,
    /// What a request has to carry, where the protocol asks for it.
    pub header: Option<Secret>,
    /// What else its workload is told.
    pub hints: Hints,
}

/// What a workload is told besides an address and a secret, where its kind of endpoint has such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The identity that counts when none is named, by client id.
    pub default_client_id: Option<ClientId>,
    /// Where the files are whose content it has to present.
    pub challenge_directory: Option<String>,
    /// The SHA-1 of the certificate that the endpoint shows, in 40 hexadecimal digits.
    pub certificate_thumbprint: Option<String>,
}

/// Why there is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// There is no such resource.
    #[error("{0} does not exist")]
    ResourceNotFound(ArmResourceId),
    /// No listener could be opened.
    #[error("no local endpoint can be opened: {0}")]
    Unavailable(String),
}

/// The local endpoints of this node.
#[async_trait]
pub trait Attachments: std::fmt::Debug + Send + Sync + 'static {
    /// The endpoints that listen, in the order of resources; each one's own kind is its first.
    async fn list(&self) -> Vec<Attachment>;

    /// The resource's endpoint of this kind; opens it when it does not listen yet.
    async fn attach(
        &self,
        resource: &ArmResourceId,
        kind: EndpointKind,
    ) -> Result<Attachment, AttachmentError>;
}
