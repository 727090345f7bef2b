//! The Entra administrator of a SQL server: one principal, kept in the `administrators` member of the server's properties,
//! where a PUT of the server may write it too.
//!
//! Source: Microsoft.Sql REST API, server Azure AD administrators.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::operation::OperationContext;
use crate::resource_id::ArmResourceId;
use crate::resources::ResourceError;
use crate::resources::generic::{self, GenericResource};
use crate::snapshot::Snapshot;
use crate::state::State;

/// The member of a server's properties.
const MEMBER: &str = "administrators";

/// Who administers a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Administrator {
    /// What people call it.
    pub login: String,
    /// The object id, or of an application the client id.
    pub sid: Uuid,
    /// The tenant; `None` for the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<Uuid>,
    /// Whether SQL logins with passwords are switched off.
    #[serde(
        default,
        rename = "azureADOnlyAuthentication",
        skip_serializing_if = "Option::is_none"
    )]
    pub is_only_way_in: Option<bool>,
}

/// The administrator of a server, if it has one.
fn of_server(server: &GenericResource) -> Option<Administrator> {
    serde_json::from_value(server.properties.get(MEMBER)?.clone()).ok()
}

/// The administrator of the server with this id.
pub fn find(
    snapshot: &Snapshot,
    server: &ArmResourceId,
) -> Result<Option<Administrator>, ResourceError> {
    generic::find(snapshot, server).map(|server| of_server(server))
}

/// Makes a principal the administrator of a server, or leaves the server without; the administrator before it.
pub async fn set(
    state: &State,
    operation: &OperationContext,
    server: &ArmResourceId,
    administrator: Option<&Administrator>,
) -> Result<Option<Administrator>, ResourceError> {
    state
        .transact(operation, |snapshot, changes| {
            let existing = generic::find(snapshot, server)?;
            let former = of_server(existing);
            let mut changed = existing.record.as_ref().clone();
            changed.properties.remove(MEMBER);
            if let Some(administrator) = administrator {
                let mut member = json!(administrator);
                if let Some(members) = member.as_object_mut() {
                    let kind = Value::from("ActiveDirectory");
                    members.insert("administratorType".to_owned(), kind);
                }
                changed.properties.insert(MEMBER.to_owned(), member);
            }
            if changed != *existing.record {
                changes.put(snapshot, &changed);
            }
            Ok(former)
        })
        .await
}
