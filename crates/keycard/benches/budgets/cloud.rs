//! What a benchmark makes in a running keycard, all of it over the wire as the administrator.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::Outcome;
use crate::process::Keycard;
use crate::wire::{Connection, Target, request};

pub(crate) const VAULT_AUDIENCE: &str = "https://vault.azure.net";
/// Key Vault Secrets Officer and Key Vault Secrets User.
const SECRETS_OFFICER: &str = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7";
pub(crate) const SECRETS_USER: &str = "4633458b-17de-408a-b874-0445c86b69e6";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// The administrator, signed in.
pub(crate) struct Cloud<'a> {
    keycard: &'a Keycard,
    connection: Connection,
    pub(crate) requests: Requests,
}

/// The administrator's requests to Resource Manager as bytes.
pub(crate) struct Requests {
    authority: String,
    token: String,
    /// The resource group in which everything is.
    group: String,
}

pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> Outcome<&'v str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("the answer has no {pointer}: {value}").into())
}

/// The request for a token with a proof, such as `client_secret=…`.
pub(crate) fn token_request(keycard: &Keycard, audience: &str, proof: &str) -> Vec<u8> {
    let description = &keycard.description;
    let path = format!("/{}/oauth2/v2.0/token", description.tenant_id);
    let client = &description.administrator.client_id;
    let body = format!(
        "grant_type=client_credentials&client_id={client}&scope={audience}/.default&{proof}"
    );
    request("POST", &keycard.loopback().authority(), &path, &[FORM], &body)
}

/// The administrator's secret as a proof.
pub(crate) fn secret_proof(keycard: &Keycard) -> String {
    format!("client_secret={}", keycard.description.administrator.client_secret.expose())
}

impl Requests {
    /// The bytes of a Resource Manager request.
    fn arm(&self, method: &str, path: &str, version: &str, body: &Value) -> Vec<u8> {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let path = format!("{path}?api-version={version}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        request(method, &self.authority, &path, &headers, &body)
    }

    fn identity_id(&self, name: &str) -> String {
        format!("{}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}", self.group)
    }

    /// The request that makes a user-assigned identity.
    pub(crate) fn put_identity(&self, name: &str) -> Vec<u8> {
        let body = json!({ "location": "local" });
        self.arm("PUT", &self.identity_id(name), "2024-11-30", &body)
    }

    fn vm_id(&self, name: &str) -> String {
        format!("{}/providers/Microsoft.Compute/virtualMachines/{name}", self.group)
    }
}

impl<'a> Cloud<'a> {
    /// Signs in and makes a resource group.
    pub(crate) fn begin(keycard: &'a Keycard) -> Outcome<Self> {
        let loopback = keycard.loopback();
        let mut connection = loopback.connect()?;
        let audience = &keycard.description.endpoints.resource_manager;
        let wanted = token_request(keycard, audience, &secret_proof(keycard));
        let token = text(&connection.accepted(&wanted)?, "/access_token")?.to_owned();
        let subscription = &keycard.description.subscription_id;
        let group = format!("/subscriptions/{subscription}/resourceGroups/bench");
        let authority = loopback.authority();
        let requests = Requests { authority, token, group: group.clone() };
        let mut cloud = Self { keycard, connection, requests };
        cloud.arm("PUT", &group, "2024-11-01", &json!({ "location": "local" }))?;
        Ok(cloud)
    }

    /// Sends a Resource Manager request that must succeed.
    pub(crate) fn arm(
        &mut self,
        method: &str,
        path: &str,
        version: &str,
        body: &Value,
    ) -> Outcome<Value> {
        let request = self.requests.arm(method, path, version, body);
        self.connection.accepted(&request)
    }

    pub(crate) fn put_identity(&mut self, name: &str) -> Outcome<Value> {
        let request = self.requests.put_identity(name);
        self.connection.accepted(&request)
    }

    /// Makes a VM with a system-assigned identity; its answer.
    pub(crate) fn put_vm(&mut self, name: &str) -> Outcome<Value> {
        let body = json!({
            "location": "local",
            "identity": { "type": "SystemAssigned" },
            "properties": { "hardwareProfile": { "vmSize": "Standard_B1s" } },
        });
        let id = self.requests.vm_id(name);
        self.arm("PUT", &id, "2024-07-01", &body)
    }

    /// Gives a VM a user-assigned identity beside its own.
    pub(crate) fn assign_identity(&mut self, vm: &str, identity: &str) -> Outcome<Value> {
        let identity = self.requests.identity_id(identity);
        self.patch_identity(
            vm,
            &json!({
                "type": "SystemAssigned, UserAssigned",
                "userAssignedIdentities": { identity: {} },
            }),
        )
    }

    /// Takes all user-assigned identities from a VM.
    pub(crate) fn unassign_identities(&mut self, vm: &str) -> Outcome<Value> {
        self.patch_identity(vm, &json!({ "type": "SystemAssigned" }))
    }

    fn patch_identity(&mut self, vm: &str, identity: &Value) -> Outcome<Value> {
        let id = self.requests.vm_id(vm);
        self.arm("PATCH", &id, "2024-07-01", &json!({ "identity": identity }))
    }

    /// The metadata endpoint of a VM.
    pub(crate) fn metadata_endpoint(&mut self, vm: &str) -> Outcome<Target> {
        let subscription = &self.keycard.description.subscription_id;
        let path = format!("/subscriptions/{subscription}/providers/Keycard.Local/listAttachments");
        let answer = self.arm("POST", &path, "2026-11-01", &json!({}))?;
        let id = self.requests.vm_id(vm);
        let all = answer.pointer("/value").and_then(Value::as_array).ok_or("no attachments")?;
        let mine = all.iter().find(|attachment| {
            text(attachment, "/resourceId").is_ok_and(|other| other.eq_ignore_ascii_case(&id))
        });
        let url = text(mine.ok_or("the VM has no endpoint")?, "/url")?;
        Ok(Target::plain(url.rsplit(':').next().unwrap_or_default().parse()?))
    }

    /// Makes a vault with the secret `safe`; the connection to it.
    pub(crate) fn put_vault(&mut self, name: &str) -> Outcome<Vault> {
        let scope = format!("{}/providers/Microsoft.KeyVault/vaults/{name}", self.requests.group);
        let body = json!({ "location": "local", "properties": {
            "tenantId": self.keycard.description.tenant_id,
            "sku": { "family": "A", "name": "standard" },
            "enableRbacAuthorization": true,
        }});
        self.arm("PUT", &scope, "2023-07-01", &body)?;
        let administrator = self.keycard.description.administrator.object_id.clone();
        self.put_role_assignment(&scope, SECRETS_OFFICER, &administrator)?;
        let wanted = token_request(self.keycard, VAULT_AUDIENCE, &secret_proof(self.keycard));
        let token = text(&self.connection.accepted(&wanted)?, "/access_token")?.to_owned();
        let suffix = &self.keycard.description.suffixes.key_vault_dns;
        let host = format!("{name}{}", suffix.split(':').next().unwrap_or_default());
        let target = self.keycard.target(&host);
        let mut vault =
            Vault { connection: target.connect()?, authority: target.authority(), scope };
        let put = vault.request("PUT", &token, &json!({ "value": "4711" }).to_string());
        vault.connection.accepted(&put)?;
        Ok(vault)
    }

    /// Grants a role; the id of the assignment.
    pub(crate) fn put_role_assignment(
        &mut self,
        scope: &str,
        role: &str,
        principal: &str,
    ) -> Outcome<String> {
        let name =
            Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{scope} {role} {principal}").as_bytes());
        let id = format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}");
        let subscription = &self.keycard.description.subscription_id;
        let definitions = "providers/Microsoft.Authorization/roleDefinitions";
        let body = json!({ "properties": {
            "roleDefinitionId": format!("/subscriptions/{subscription}/{definitions}/{role}"),
            "principalId": principal,
            "principalType": "ServicePrincipal",
        }});
        self.arm("PUT", &id, "2022-04-01", &body)?;
        Ok(id)
    }

    pub(crate) fn delete_role_assignment(&mut self, id: &str) -> Outcome<Value> {
        self.arm("DELETE", id, "2022-04-01", &Value::Null)
    }
}

/// A vault with one secret.
pub(crate) struct Vault {
    pub(crate) connection: Connection,
    authority: String,
    /// The vault's resource id.
    pub(crate) scope: String,
}

impl Vault {
    /// The bytes of a request for its secret.
    pub(crate) fn request(&self, method: &str, token: &str, body: &str) -> Vec<u8> {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        request(method, &self.authority, "/secrets/safe?api-version=7.4", &headers, body)
    }
}

/// The request of a program on a VM for a token to vaults; `more` is appended to the query.
pub(crate) fn metadata_request(endpoint: &Target, more: &str) -> Vec<u8> {
    let path = format!(
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net{more}"
    );
    let headers =
        [("Metadata", "true"), ("User-Agent", "keycard-bench/1"), ("Accept", "application/json")];
    request("GET", &endpoint.authority(), &path, &headers, "")
}
