//! A server, its administrator, and shorthands for what the tests ask of it.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use keycard::client::{Administration, Answer, Client, request};
use keycard::config::Places;
use keycard::description::Description;
use keycard::issuer_trust::IssuerTrust;
use keycard::server::{self, DEFAULT_DOMAIN, Options, Server};
use keycard::system_clock::{SystemClock, TurnableClock};
use keycard_crypto::secret::Secret;
use keycard_domain::clock::{Clock, ManualClock};
use keycard_domain::entropy::SeededEntropy;
use keycard_domain::limits::Profile;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::UtcDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::compatibility::reached::Witnessing;

pub(crate) const SECRETS_USER: &str = "4633458b-17de-408a-b874-0445c86b69e6";
pub(crate) const SECRETS_OFFICER: &str = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7";
pub(crate) const OWNER: &str = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
pub(crate) const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
pub(crate) const VM_CONTRIBUTOR: &str = "9980e02c-c2be-4d73-94e8-173b1dc7cf3c";
pub(crate) const IDENTITY_OPERATOR: &str = "f1a07417-d97a-45cb-824c-7a7467783830";

pub(crate) const VAULT_AUDIENCE: &str = "https://vault.azure.net";
pub(crate) const GRAPH_AUDIENCE: &str = "https://graph.microsoft.com";
pub(crate) const ARM_AUDIENCE: &str = "https://management.azure.com/";

/// A running server with what the tests need of it.
pub(crate) struct Cloud {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) administration: Administration,
    pub(crate) clock: Arc<ManualClock>,
    _directory: TempDir,
    _witnessing: Witnessing,
}

/// What a test chooses about its server.
pub(crate) struct Choice {
    pub(crate) profile: Profile,
    pub(crate) uses_azure_issuer: bool,
    pub(crate) administrator_certificate: Option<Vec<u8>>,
    /// Real time that the wire may turn forward, instead of the manual clock.
    pub(crate) turnable_clock: Option<Arc<TurnableClock>>,
    /// Whether faults can be set, and what else only servers for development have; those with a turnable clock are.
    pub(crate) for_development: bool,
    /// Which issuers of federated credentials are asked.
    pub(crate) issuers: IssuerTrust,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            profile: Profile::Standard,
            uses_azure_issuer: false,
            administrator_certificate: None,
            turnable_clock: None,
            for_development: false,
            issuers: IssuerTrust::default(),
        }
    }
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        Self::start_with(Choice::default()).await
    }

    pub(crate) async fn start_with(choice: Choice) -> Self {
        let directory = TempDir::new().unwrap();
        let clock =
            Arc::new(ManualClock::at(UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap()));
        let server = server::start(Options {
            port: 0,
            metrics_port: 0,
            domain: DEFAULT_DOMAIN.to_owned(),
            profile: choice.profile,
            data_directory: None,
            master_key_file: None,
            uses_azure_issuer: choice.uses_azure_issuer,
            link_local: None,
            administrator_certificate: choice.administrator_certificate,
            places: Places::below(directory.path()),
            clock: match &choice.turnable_clock {
                Some(turnable) => turnable.clone(),
                None => clock.clone(),
            },
            for_development: choice.for_development || choice.turnable_clock.is_some(),
            turnable_clock: choice.turnable_clock,
            issuers: choice.issuers,
            entropy: Arc::new(SeededEntropy::new(1)),
            tls_clock: Arc::new(SystemClock),
        })
        .await
        .unwrap();
        let pem = std::fs::read_to_string(&server.description.ca_file).unwrap();
        let client = Client::new(&pem).unwrap();
        let administration =
            Administration::sign_in(client.clone(), &server.description).await.unwrap();
        let _witnessing = Witnessing::begin(server.rows.clone());
        let cloud =
            Self { server, client, administration, clock, _directory: directory, _witnessing };
        let group = cloud.group();
        cloud.put(&group, "2024-11-01", json!({ "location": "local" })).await;
        cloud
    }

    pub(crate) fn description(&self) -> &Description {
        &self.server.description
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().unix_timestamp()
    }

    pub(crate) fn subscription(&self) -> String {
        format!("/subscriptions/{}", self.description().subscription_id)
    }

    pub(crate) fn group(&self) -> String {
        format!("{}/resourceGroups/rg1", self.subscription())
    }

    pub(crate) fn vm_id(&self, name: &str) -> String {
        format!("{}/providers/Microsoft.Compute/virtualMachines/{name}", self.group())
    }

    pub(crate) fn site_id(&self, name: &str) -> String {
        format!("{}/providers/Microsoft.Web/sites/{name}", self.group())
    }

    pub(crate) fn vault_id(&self, name: &str) -> String {
        format!("{}/providers/Microsoft.KeyVault/vaults/{name}", self.group())
    }

    pub(crate) fn identity_id(&self, name: &str) -> String {
        format!(
            "{}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}",
            self.group()
        )
    }

    /// Sends a Resource Manager request with a token, or none.
    pub(crate) async fn arm(
        &self,
        token: Option<&Secret>,
        method: Method,
        path: &str,
        version: &str,
        body: Option<Value>,
    ) -> Answer {
        let separator = if path.contains('?') { '&' } else { '?' };
        let version = if version.is_empty() {
            String::new()
        } else {
            format!("{separator}api-version={version}")
        };
        let url = format!("{}{path}{version}", self.description().endpoints.loopback);
        self.client.send(request(method, &url, token, body.as_ref())).await.unwrap()
    }

    /// Sends a Resource Manager request as the administrator.
    pub(crate) async fn admin(
        &self,
        method: Method,
        path: &str,
        version: &str,
        body: Option<Value>,
    ) -> Answer {
        self.arm(Some(self.administration.token()), method, path, version, body).await
    }

    /// A PUT as the administrator, which has to succeed.
    pub(crate) async fn put(&self, path: &str, version: &str, body: Value) -> Value {
        let answer = self.admin(Method::PUT, path, version, Some(body)).await;
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.body);
        answer.body
    }

    pub(crate) async fn put_identity(&self, name: &str) -> Value {
        self.put(&self.identity_id(name), "2024-11-30", json!({ "location": "local" })).await
    }

    /// A VM with a system-assigned identity, if wanted, and these user-assigned ones.
    pub(crate) async fn put_vm(&self, name: &str, system: bool, identities: &[&str]) -> Value {
        self.put(
            &self.vm_id(name),
            "2024-07-01",
            json!({
                "location": "local",
                "identity": self.identity_block(system, identities),
                "properties": {},
            }),
        )
        .await
    }

    pub(crate) fn identity_block(&self, system: bool, identities: &[&str]) -> Value {
        let map: serde_json::Map<String, Value> =
            identities.iter().map(|name| (self.identity_id(name), json!({}))).collect();
        match (system, map.is_empty()) {
            (true, true) => json!({ "type": "SystemAssigned" }),
            (false, true) => json!({ "type": "None" }),
            (true, false) => {
                json!({ "type": "SystemAssigned, UserAssigned", "userAssignedIdentities": map })
            }
            (false, false) => json!({ "type": "UserAssigned", "userAssignedIdentities": map }),
        }
    }

    pub(crate) async fn put_vault(&self, name: &str, uses_rbac: bool) -> Value {
        self.put(
            &self.vault_id(name),
            "2023-07-01",
            json!({
                "location": "local",
                "properties": {
                    "tenantId": self.description().tenant_id,
                    "sku": { "family": "A", "name": "standard" },
                    "enableRbacAuthorization": uses_rbac,
                    "accessPolicies": [],
                },
            }),
        )
        .await
    }

    /// Grants a role; returns the assignment's path.
    pub(crate) async fn grant(&self, scope: &str, role: &str, principal: &str) -> String {
        let name =
            Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{scope}{role}{principal}").as_bytes());
        let path = format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}");
        self.put(&path, "2022-04-01", json!({ "properties": {
            "roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{role}"),
            "principalId": principal,
            "principalType": "ServicePrincipal",
        }}))
        .await;
        path
    }

    /// A management group's path.
    pub(crate) fn management_group(name: &str) -> String {
        format!("/providers/Microsoft.Management/managementGroups/{name}")
    }

    /// The tenant's root group.
    pub(crate) fn root_group(&self) -> String {
        Self::management_group(&self.description().tenant_id)
    }

    /// Makes the administrator Owner of all that its tenant has, by the documented way.
    pub(crate) async fn govern(&self) {
        let path = "/providers/Microsoft.Authorization/elevateAccess";
        let elevated = self.admin(Method::POST, path, "2016-07-01", None).await;
        assert_eq!(elevated.status, StatusCode::OK, "{}", elevated.body);
        self.grant("", OWNER, &self.description().administrator.object_id).await;
    }

    /// The url of the VM's metadata endpoint.
    pub(crate) async fn imds(&self, vm: &str) -> String {
        self.attachment(&self.vm_id(vm)).await["url"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn attachment(&self, resource: &str) -> Value {
        let all = self.administration.attachments().await.unwrap();
        let found = all
            .into_iter()
            .find(|item| item["resourceId"].as_str().unwrap().eq_ignore_ascii_case(resource));
        found.expect("the resource has an endpoint")
    }

    /// The resource's endpoint of this kind, opened where it does not listen yet.
    pub(crate) async fn attach(&self, resource: &str, kind: &str) -> Value {
        self.administration.attach(resource, kind).await.unwrap()
    }

    /// A request at any address with these headers and this body.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut builder = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let body = Full::new(Bytes::from(body.to_owned()));
        self.client.send(builder.body(body).unwrap()).await.unwrap()
    }

    /// A GET at any address with these headers.
    pub(crate) async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, url, headers, "").await
    }

    /// What the VM's metadata endpoint answers to a token request with this query.
    pub(crate) async fn metadata(&self, vm: &str, query: &str) -> Answer {
        let url = format!("{}/metadata/identity/oauth2/token?{query}", self.imds(vm).await);
        self.get(&url, &[("Metadata", "true")]).await
    }

    /// A token from the VM's metadata endpoint.
    pub(crate) async fn vm_token(&self, vm: &str, resource: &str, selector: &str) -> Secret {
        let query = format!("api-version=2018-02-01&resource={resource}{selector}");
        let answer = self.metadata(vm, &query).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        Secret::new(answer.body["access_token"].as_str().unwrap().to_owned())
    }

    /// A token of the administrator for any resource.
    pub(crate) async fn admin_token(&self, resource: &str) -> Secret {
        let answer = self.token_request("v2.0/", &format!("scope={resource}/.default")).await;
        Secret::new(answer.body["access_token"].as_str().expect("a token").to_owned())
    }

    /// A client credentials request of the administrator with further parameters.
    pub(crate) async fn token_request(&self, version: &str, more: &str) -> Answer {
        let administrator = &self.description().administrator;
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&{more}",
            administrator.client_id,
            administrator.client_secret.expose()
        );
        self.post_form(&format!("/{}/oauth2/{version}token", self.description().tenant_id), &form)
            .await
    }

    /// Posts a form to the token service.
    pub(crate) async fn post_form(&self, path: &str, form: &str) -> Answer {
        let request = Request::post(format!("{}{path}", self.description().endpoints.loopback))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("client-request-id", "11111111-2222-3333-4444-555555555555")
            .body(Full::new(Bytes::from(form.to_owned())))
            .unwrap();
        self.client.send(request).await.unwrap()
    }

    pub(crate) fn vault_url(&self, vault: &str, path: &str) -> String {
        format!("https://{vault}{}{path}", self.description().suffixes.key_vault_dns)
    }

    /// Sends a request to Microsoft Graph.
    pub(crate) async fn graph(
        &self,
        token: Option<&Secret>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let url = format!("{}/v1.0{path}", self.description().endpoints.graph);
        self.client.send(request(method, &url, token, body.as_ref())).await.unwrap()
    }

    /// Sends a request to a vault's data plane.
    pub(crate) async fn vault(
        &self,
        token: Option<&Secret>,
        method: Method,
        url: &str,
        body: Option<Value>,
    ) -> Answer {
        self.client.send(request(method, url, token, body.as_ref())).await.unwrap()
    }

    /// A vault in which the administrator may do everything with secrets, and its token for it.
    pub(crate) async fn open_vault(&self, name: &str) -> Secret {
        self.put_vault(name, true).await;
        self.grant(
            &self.vault_id(name),
            SECRETS_OFFICER,
            &self.description().administrator.object_id,
        )
        .await;
        self.admin_token(VAULT_AUDIENCE).await
    }
}

/// Bytes as they are on a connection, and what comes back until the server closes it.
pub(crate) async fn raw(url: &str, request: &str) -> String {
    let authority = url.trim_start_matches("http://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The claims of a token, unverified.
pub(crate) fn claims(token: &Secret) -> Value {
    part(token, 1)
}

/// The header of a token.
pub(crate) fn header(token: &Secret) -> Value {
    part(token, 0)
}

fn part(token: &Secret, index: usize) -> Value {
    let segment = token.expose().split('.').nth(index).unwrap();
    let bytes = keycard_crypto::encoding::base64_decode_any(segment, 65536).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}
