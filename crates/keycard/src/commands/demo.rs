//! `keycard demo`: the main job once, whole and for real, with every request and answer.
//!
//! A private cloud is started in this process on ports of its own; everything after that goes over the wire.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use keycard_crypto::secret::Secret;
use keycard_domain::limits::Profile;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::{Failure, client, print};
use crate::client::{Administration, Answer, Client, request};
use crate::config::Places;
use crate::description::Description;
use crate::entropy::DerivedIds;
use crate::issuer_trust::IssuerTrust;
use crate::server::{self, DEFAULT_DOMAIN, Options, Server};
use crate::system_clock::SystemClock;

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {}

/// Key Vault Secrets User and Key Vault Secrets Officer.
const SECRETS_USER: &str = "4633458b-17de-408a-b874-0445c86b69e6";
const SECRETS_OFFICER: &str = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7";

const INTRODUCTION: &str = "\
A managed identity is an account for software. You switch it on for a machine; the machine's programs ask a local
address for a token, and no password is stored anywhere. What the identity may do is decided by role assignments,
at the moment it knocks. Here is the whole story, for real: a private cloud starts in this process, and everything
below goes over the wire.";

impl Demo {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        print(INTRODUCTION)?;
        let server = start().await?;
        let told = tell(&server).await;
        server.stop().await;
        told?;
        print(
            "\nThat was all of it: no password was stored, and what was revoked was refused at once.",
        )
    }
}

async fn start() -> Result<Server, Failure> {
    Ok(server::start(Options {
        port: 0,
        metrics_port: 0,
        domain: DEFAULT_DOMAIN.to_owned(),
        profile: Profile::Standard,
        data_directory: None,
        master_key_file: None,
        uses_azure_issuer: false,
        link_local: None,
        administrator_certificate: None,
        places: Places::from_environment(),
        clock: Arc::new(SystemClock),
        issuers: IssuerTrust::default(),
        turnable_clock: None,
        for_development: false,
        entropy: Arc::new(DerivedIds),
        tls_clock: Arc::new(SystemClock),
    })
    .await?)
}

async fn tell(server: &Server) -> Result<(), Failure> {
    let mut story = Story::begin(&server.description).await?;
    story.create_resources().await?;
    story.put_a_secret().await?;
    story.grant_and_read().await?;
    story.be_refused_next_door().await?;
    story.use_the_user_assigned_identity().await?;
    story.revoke().await
}

/// The demo as it goes on: who talks, and what came of it so far.
struct Story<'a> {
    server: &'a Description,
    client: Client,
    administration: Administration,
    group: String,
    step: u32,
    vm: Value,
    user_identity: Value,
    metadata_endpoint: String,
    vm_assignment: String,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl<'a> Story<'a> {
    async fn begin(server: &'a Description) -> Result<Self, Failure> {
        let client = client(server)?;
        let administration = Administration::sign_in(client.clone(), server).await?;
        let group = format!("/subscriptions/{}/resourceGroups/hotel", server.subscription_id);
        Ok(Self {
            server,
            client,
            administration,
            group,
            step: 0,
            vm: Value::Null,
            user_identity: Value::Null,
            metadata_endpoint: String::new(),
            vm_assignment: String::new(),
        })
    }

    fn title(&mut self, title: &str) -> Result<(), Failure> {
        self.step += 1;
        print(&format!("\n{}. {title}", self.step))
    }

    /// Sends a request as the administrator, shows both, and insists on the status.
    async fn arm(
        &self,
        method: Method,
        path: &str,
        version: &str,
        body: Option<&Value>,
        expected: StatusCode,
    ) -> Result<Value, Failure> {
        let url = format!("{}{path}?api-version={version}", self.server.endpoints.loopback);
        let token = self.administration.token();
        let answer = self.client.send(request(method.clone(), &url, Some(token), body)).await?;
        show(&method, &url, body, &answer)?;
        insist(&answer, expected)
    }

    async fn create_resources(&mut self) -> Result<(), Failure> {
        use StatusCode as S;
        self.title(
            "The administrator makes a resource group, a VM with two identities, and two vaults",
        )?;
        let location = json!({ "location": "local" });
        let group = self.group.clone();
        self.arm(Method::PUT, &group, "2024-11-01", Some(&location), S::CREATED).await?;
        let identity =
            format!("{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi-guests");
        self.user_identity =
            self.arm(Method::PUT, &identity, "2024-11-30", Some(&location), S::CREATED).await?;
        let vm = format!("{group}/providers/Microsoft.Compute/virtualMachines/reception");
        let body = json!({
            "location": "local",
            "identity": {
                "type": "SystemAssigned, UserAssigned",
                "userAssignedIdentities": { identity: {} },
            },
            "properties": { "hardwareProfile": { "vmSize": "Standard_B1s" } },
        });
        self.vm = self.arm(Method::PUT, &vm, "2024-07-01", Some(&body), S::CREATED).await?;
        for name in ["kv-lobby", "kv-office"] {
            let body = json!({ "location": "local", "properties": {
                "tenantId": self.server.tenant_id,
                "sku": { "family": "A", "name": "standard" },
                "enableRbacAuthorization": true,
            }});
            self.arm(Method::PUT, &vault_id(&group, name), "2023-07-01", Some(&body), S::OK)
                .await?;
        }
        Ok(())
    }

    async fn assign(&self, scope: &str, role: &str, principal: &str) -> Result<String, Failure> {
        let name =
            Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{scope}{role}{principal}").as_bytes());
        let path = format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}");
        let role = format!(
            "/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/{role}",
            self.server.subscription_id
        );
        let body = json!({ "properties": {
            "roleDefinitionId": role, "principalId": principal, "principalType": "ServicePrincipal",
        }});
        self.arm(Method::PUT, &path, "2022-04-01", Some(&body), StatusCode::CREATED).await?;
        Ok(path)
    }

    async fn put_a_secret(&mut self) -> Result<(), Failure> {
        self.title("The administrator may manage vaults, but not open them: being Owner is no data role. It gives itself one, and puts a secret in")?;
        let url = self.secret_url("kv-lobby");
        let token = self.administrator_vault_token().await?;
        let body = json!({ "value": "the code of the safe is 4711" });
        self.vault(Method::PUT, &url, &token, Some(&body), StatusCode::FORBIDDEN).await?;
        let administrator = self.server.administrator.object_id.clone();
        for name in ["kv-lobby", "kv-office"] {
            self.assign(&vault_id(&self.group, name), SECRETS_OFFICER, &administrator).await?;
            let url = self.secret_url(name);
            self.vault(Method::PUT, &url, &token, Some(&body), StatusCode::OK).await?;
        }
        Ok(())
    }

    async fn administrator_vault_token(&self) -> Result<Secret, Failure> {
        let url = format!(
            "{}/{}/oauth2/v2.0/token",
            self.server.endpoints.loopback, self.server.tenant_id
        );
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope=https://vault.azure.net/.default",
            self.server.administrator.client_id,
            self.server.administrator.client_secret.expose()
        );
        let mut request = request(Method::POST, &url, None, None);
        *request.body_mut() = form.into();
        request.headers_mut().insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let answer = self.client.send(request).await?;
        let body = insist(&answer, StatusCode::OK)?;
        Ok(Secret::new(text(&body, "/access_token").to_owned()))
    }

    fn secret_url(&self, vault: &str) -> String {
        format!(
            "https://{vault}{}/secrets/safe?api-version=7.4",
            self.server.suffixes.key_vault_dns
        )
    }

    /// Sends a request to a vault, shows both, and insists on the status.
    async fn vault(
        &self,
        method: Method,
        url: &str,
        token: &Secret,
        body: Option<&Value>,
        expected: StatusCode,
    ) -> Result<Value, Failure> {
        let answer = self.client.send(request(method.clone(), url, Some(token), body)).await?;
        show(&method, url, body, &answer)?;
        insist(&answer, expected)
    }

    /// Asks the VM's own metadata endpoint for a token, as any program on it would.
    async fn token_from_metadata(&self, selector: &str) -> Result<Secret, Failure> {
        let url = format!(
            "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net{selector}",
            self.metadata_endpoint
        );
        let mut request = request(Method::GET, &url, None, None);
        request
            .headers_mut()
            .insert(HeaderName::from_static("metadata"), HeaderValue::from_static("true"));
        let answer = self.client.send(request).await?;
        print("   (with the header Metadata: true, from a program on the VM)")?;
        show(&Method::GET, &url, None, &answer)?;
        let body = insist(&answer, StatusCode::OK)?;
        Ok(Secret::new(text(&body, "/access_token").to_owned()))
    }

    async fn grant_and_read(&mut self) -> Result<(), Failure> {
        self.title(
            "The VM asks its metadata endpoint for a token. It has no password, and needs none",
        )?;
        let attachments = self.administration.attachments().await?;
        let endpoint = attachments.first().map(|first| text(first, "/url").to_owned());
        self.metadata_endpoint =
            endpoint.ok_or_else(|| Failure("the VM has no endpoint".to_owned()))?;
        let token = self.token_from_metadata("").await?;
        let url = self.secret_url("kv-lobby");
        self.title(
            "A token says who the VM is, not what it may do: without a role the vault refuses",
        )?;
        self.vault(Method::GET, &url, &token, None, StatusCode::FORBIDDEN).await?;
        self.title("The administrator grants Key Vault Secrets User on this one vault; the same token now opens it")?;
        let principal = text(&self.vm, "/identity/principalId").to_owned();
        let scope = vault_id(&self.group, "kv-lobby");
        self.vm_assignment = self.assign(&scope, SECRETS_USER, &principal).await?;
        self.vault(Method::GET, &url, &token, None, StatusCode::OK).await?;
        Ok(())
    }

    async fn be_refused_next_door(&mut self) -> Result<(), Failure> {
        self.title("The role counts on that vault only: the next one refuses the same token")?;
        let token = self.token_from_metadata("").await?;
        let url = self.secret_url("kv-office");
        self.vault(Method::GET, &url, &token, None, StatusCode::FORBIDDEN).await?;
        Ok(())
    }

    async fn use_the_user_assigned_identity(&mut self) -> Result<(), Failure> {
        self.title("The VM's other identity is a resource of its own. It is asked for by its client id, and has its own rights")?;
        let principal = text(&self.user_identity, "/properties/principalId").to_owned();
        self.assign(&vault_id(&self.group, "kv-office"), SECRETS_USER, &principal).await?;
        let selector = format!("&client_id={}", text(&self.user_identity, "/properties/clientId"));
        let token = self.token_from_metadata(&selector).await?;
        let url = self.secret_url("kv-office");
        self.vault(Method::GET, &url, &token, None, StatusCode::OK).await?;
        Ok(())
    }

    async fn revoke(&mut self) -> Result<(), Failure> {
        self.title("The administrator takes the VM's role away: the token it still holds opens nothing any more")?;
        let token = self.token_from_metadata("").await?;
        let url = self.secret_url("kv-lobby");
        self.vault(Method::GET, &url, &token, None, StatusCode::OK).await?;
        let assignment = self.vm_assignment.clone();
        self.arm(Method::DELETE, &assignment, "2022-04-01", None, StatusCode::OK).await?;
        self.vault(Method::GET, &url, &token, None, StatusCode::FORBIDDEN).await?;
        self.title(
            "The user-assigned identity is deleted: its token, hours from its end, is refused",
        )?;
        let selector = format!("&client_id={}", text(&self.user_identity, "/properties/clientId"));
        let token = self.token_from_metadata(&selector).await?;
        let id = text(&self.user_identity, "/id").to_owned();
        self.arm(Method::DELETE, &id, "2024-11-30", None, StatusCode::OK).await?;
        let url = self.secret_url("kv-office");
        self.vault(Method::GET, &url, &token, None, StatusCode::UNAUTHORIZED).await?;
        Ok(())
    }
}

fn vault_id(group: &str, name: &str) -> String {
    format!("{group}/providers/Microsoft.KeyVault/vaults/{name}")
}

/// The body of an answer with the expected status; anything else ends the demo.
fn insist(answer: &Answer, expected: StatusCode) -> Result<Value, Failure> {
    if answer.status == expected {
        return Ok(answer.body.clone());
    }
    Err(Failure(format!(
        "expected {expected}, got {}: {}",
        answer.status,
        String::from_utf8_lossy(&answer.bytes)
    )))
}

fn show(method: &Method, url: &str, body: Option<&Value>, answer: &Answer) -> Result<(), Failure> {
    print(&format!("\n   → {method} {url}"))?;
    if let Some(body) = body {
        print(&format!("     {}", shortened(body)))?;
    }
    print(&format!("   ← {} {}", answer.status, shortened(&answer.body)))
}

/// Characters of a body that are shown; tokens only by their beginning, as a key is shown by its tag.
const SHOWN_CHARS_MAX: usize = 400;
const SHOWN_TOKEN_CHARS: usize = 24;

fn shortened(body: &Value) -> String {
    let mut shown = body.clone();
    if let Some(token) = shown.get_mut("access_token") {
        let head: String =
            token.as_str().unwrap_or_default().chars().take(SHOWN_TOKEN_CHARS).collect();
        *token = json!(format!("{head}…"));
    }
    let text = if shown.is_null() { String::new() } else { shown.to_string() };
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return text;
    }
    let head: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    format!("{head}…")
}
