//! What a token may be for: the services that are known, in every spelling that clients use.
//!
//! Source: Microsoft identity platform, "resource" of well-known services; keycard's own domains are added, and the
//! applications of each tenant.

use crate::directory::application::TokenVersion;
use crate::directory::{Application, ServicePrincipal};
use crate::ids::TenantId;
use crate::snapshot::Snapshot;

/// A service that accepts tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Azure Resource Manager.
    ResourceManager,
    /// Key Vault's data plane.
    KeyVault,
    /// Storage.
    Storage,
    /// Azure SQL Database.
    Sql,
    /// Azure Database for PostgreSQL and MySQL.
    OpenSourceDatabases,
    /// Microsoft Graph.
    Graph,
    /// The exchange of a token for another: tokens for it are presented as client assertions.
    TokenExchange,
}

impl Service {
    /// The form of tokens for it. Every service of the Microsoft cloud takes v1 tokens; an assertion is a v2 token.
    const fn token_version(self) -> TokenVersion {
        match self {
            Self::TokenExchange => TokenVersion::V2,
            Self::ResourceManager
            | Self::KeyVault
            | Self::Storage
            | Self::Sql
            | Self::OpenSourceDatabases
            | Self::Graph => TokenVersion::V1,
        }
    }

    /// The service's name in the sign-in log.
    pub const fn display_name(self) -> &'static str {
        match self {
            Self::ResourceManager => "Windows Azure Service Management API",
            Self::KeyVault => "Azure Key Vault",
            Self::Storage => "Azure Storage",
            Self::Sql => "Azure SQL Database",
            Self::OpenSourceDatabases => "Azure OSSRDBMS Database",
            Self::Graph => "Microsoft Graph",
            Self::TokenExchange => "Azure AD Token Exchange Endpoint",
        }
    }
}

/// The application id of [`Service::TokenExchange`]: the claim `aud` of assertions.
pub const TOKEN_EXCHANGE_ID: &str = "fb60f99c-7a34-4190-8149-302f77469936";

/// The public names of each service: URI without the final slash, and application id.
const PUBLIC_NAMES: &[(&str, Service)] = &[
    ("https://management.azure.com", Service::ResourceManager),
    ("https://management.core.windows.net", Service::ResourceManager),
    ("797f4846-ba00-4fd7-ba43-dac1f8f63013", Service::ResourceManager),
    ("https://vault.azure.net", Service::KeyVault),
    ("cfa8b339-82a2-471a-a3c9-0fc0be7a4093", Service::KeyVault),
    ("https://storage.azure.com", Service::Storage),
    ("e406a681-f3d4-42a8-90b6-c2b029497af1", Service::Storage),
    ("https://database.windows.net", Service::Sql),
    ("022907d3-0f1b-48f7-badc-1ba6abab6d66", Service::Sql),
    ("https://ossrdbms-aad.database.windows.net", Service::OpenSourceDatabases),
    ("123cd850-d9df-40bd-94d5-c9f07b7fa203", Service::OpenSourceDatabases),
    ("https://graph.microsoft.com", Service::Graph),
    ("00000003-0000-0000-c000-000000000000", Service::Graph),
    ("api://AzureADTokenExchange", Service::TokenExchange),
    (TOKEN_EXCHANGE_ID, Service::TokenExchange),
];

/// The audiences of this keycard: the public ones, and its own domain's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audiences {
    /// Own names without the final slash, such as `https://vault.keycard.localhost:8443`.
    own: Vec<(String, Service)>,
}

impl Audiences {
    /// The audiences under which this keycard's own faces are reached.
    pub fn new(own: Vec<(String, Service)>) -> Self {
        Self { own }
    }

    /// The service that a requested resource or an `aud` names, with or without one final slash.
    pub fn service(&self, name: &str) -> Option<Service> {
        let bare = name.strip_suffix('/').unwrap_or(name);
        let own = self.own.iter().map(|(own, service)| (own.as_str(), *service));
        own.chain(PUBLIC_NAMES.iter().copied())
            .find(|(known, _)| known.eq_ignore_ascii_case(bare))
            .map(|(_, service)| service)
            .or_else(|| is_storage_account(bare).then_some(Service::Storage))
    }
}

/// What a token is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A service that every tenant has.
    Service(Service),
    /// An application of the tenant.
    Application {
        /// The application.
        application: &'a Application,
        /// Its service principal.
        principal: &'a ServicePrincipal,
    },
}

impl<'a> Target<'a> {
    /// What a tenant's token is asked for under this name; `None` when nobody is called so there.
    pub fn named(
        audiences: &Audiences,
        snapshot: &'a Snapshot,
        tenant: TenantId,
        resource: &str,
    ) -> Option<Self> {
        if let Some(service) = audiences.service(resource) {
            return Some(Self::Service(service));
        }
        let application = snapshot.application_named(tenant, resource)?;
        let principal = snapshot
            .service_principal_of_client(application.client_id)
            .filter(|principal| principal.is_enabled)?;
        Some(Self::Application { application, principal })
    }

    /// What it is called, whichever of its names was used.
    pub fn name(&self) -> String {
        match self {
            Self::Service(service) => service.display_name().to_owned(),
            Self::Application { application, .. } => application.client_id.to_string(),
        }
    }

    /// The form of tokens for it.
    pub fn token_version(&self) -> TokenVersion {
        match self {
            Self::Service(service) => service.token_version(),
            Self::Application { application, .. } => application.accepted_token_version,
        }
    }

    /// The claim `aud` of a token that was asked for under this name: in v1 the name itself, in v2 an application id.
    pub fn audience(&self, resource: &str) -> String {
        match (self.token_version(), self) {
            (TokenVersion::V1, _) => resource.to_owned(),
            (TokenVersion::V2, Self::Application { application, .. }) => {
                application.client_id.to_string()
            }
            (TokenVersion::V2, Self::Service(_)) => TOKEN_EXCHANGE_ID.to_owned(),
        }
    }
}

/// `https://ACCOUNT.blob.core.windows.net` and its siblings.
fn is_storage_account(bare: &str) -> bool {
    let host = bare.strip_prefix("https://").unwrap_or_default();
    host.split_once('.').is_some_and(|(account, rest)| {
        let is_account = (3..=24).contains(&account.len())
            && account.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        is_account
            && matches!(
                rest,
                "blob.core.windows.net"
                    | "queue.core.windows.net"
                    | "table.core.windows.net"
                    | "file.core.windows.net"
            )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spelling_of_a_service_is_known_and_near_misses_are_not() {
        let audiences = Audiences::new(vec![(
            "https://vault.keycard.localhost:8443".into(),
            Service::KeyVault,
        )]);
        for (name, service) in [
            ("https://vault.azure.net", Some(Service::KeyVault)),
            ("https://vault.azure.net/", Some(Service::KeyVault)),
            ("https://vault.azure.net//", None),
            ("https://vault.azure.net.evil.example", None),
            ("http://vault.azure.net", None),
            ("https://vault.keycard.localhost:8443", Some(Service::KeyVault)),
            ("https://vault.keycard.localhost", None),
            ("cfa8b339-82a2-471a-a3c9-0fc0be7a4093", Some(Service::KeyVault)),
            ("https://acct1.blob.core.windows.net/", Some(Service::Storage)),
            ("https://a.b.blob.core.windows.net", None),
            ("api://AzureADTokenExchange", Some(Service::TokenExchange)),
            (TOKEN_EXCHANGE_ID, Some(Service::TokenExchange)),
            ("", None),
        ] {
            assert_eq!(audiences.service(name), service, "{name}");
        }
    }
}
