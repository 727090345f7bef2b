//! The `identity` member of resources, in requests and answers.
//!
//! Source: specs of Microsoft.Compute and Microsoft.Web; the type is always answered as `SystemAssigned, UserAssigned`
//! with one blank, since az drops the system identity otherwise.

use keycard_domain::directory::identity_block::{
    IdentityBlock, IdentityRequest, IdentityType, MapEntry,
};
use keycard_domain::ids::TenantId;
use keycard_domain::resource_id::ArmResourceId;
use serde_json::{Map, Value, json};

use super::error::ArmError;

/// Reads the member; `None` when the request has none, or `null`.
pub(super) fn read(member: Option<&Value>) -> Result<Option<IdentityRequest>, ArmError> {
    let members = match member {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(malformed("'identity' is not an object. Path 'identity'.")),
    };
    let identity_type = match find(members, "type").and_then(Value::as_str) {
        Some(text) => read_type(text)?,
        None => {
            return Err(malformed("Required property 'type' not found in JSON. Path 'identity'."));
        }
    };
    let has_ids = |ids: &Value| ids.as_array().is_none_or(|ids| !ids.is_empty());
    if find(members, "identityIds").is_some_and(|ids| !ids.is_null() && has_ids(ids)) {
        return Err(ArmError::IdentityIds(identity_type));
    }
    let user_assigned = match find(members, "userAssignedIdentities") {
        None | Some(Value::Null) => None,
        Some(Value::Object(map)) => Some(map.iter().map(entry).collect::<Result<_, _>>()?),
        Some(_) => {
            return Err(malformed("'userAssignedIdentities' is not an object. Path 'identity'."));
        }
    };
    Ok(Some(IdentityRequest { identity_type, user_assigned }))
}

fn malformed(reason: &str) -> ArmError {
    ArmError::BodyMalformed(reason.to_owned())
}

fn find<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn read_type(text: &str) -> Result<IdentityType, ArmError> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    match bare.to_ascii_lowercase().as_str() {
        "none" => Ok(IdentityType::None),
        "systemassigned" => Ok(IdentityType::SystemAssigned),
        "userassigned" => Ok(IdentityType::UserAssigned),
        "systemassigned,userassigned" | "userassigned,systemassigned" => {
            Ok(IdentityType::SystemAndUserAssigned)
        }
        _ => Err(malformed(&format!(
            "Error converting value \"{text}\" to type 'ResourceIdentityType'. Path 'identity.type'."
        ))),
    }
}

fn entry((id, value): (&String, &Value)) -> Result<(ArmResourceId, MapEntry), ArmError> {
    let id: ArmResourceId = id
        .parse()
        .ok()
        .filter(|id: &ArmResourceId| id.is_of_type("Microsoft.ManagedIdentity/userAssignedIdentities"))
        .ok_or_else(|| {
            malformed(&format!("'{id}' is not the id of a user assigned identity. Path 'identity.userAssignedIdentities'."))
        })?;
    let entry = if value.is_null() { MapEntry::Remove } else { MapEntry::Assign };
    Ok((id, entry))
}

/// Writes the member; `None` when the resource has no identity.
pub(super) fn write(block: &IdentityBlock, tenant: TenantId) -> Option<Value> {
    let name = match (block.system_assigned.is_some(), !block.user_assigned.is_empty()) {
        (false, false) => return None,
        (true, false) => "SystemAssigned",
        (false, true) => "UserAssigned",
        (true, true) => "SystemAssigned, UserAssigned",
    };
    let mut identity = Map::new();
    identity.insert("type".to_owned(), json!(name));
    if let Some(system) = &block.system_assigned {
        identity.insert("principalId".to_owned(), json!(system.principal_id));
        identity.insert("tenantId".to_owned(), json!(tenant));
    }
    if !block.user_assigned.is_empty() {
        let map: Map<String, Value> = block
            .user_assigned
            .iter()
            .map(|assigned| {
                let ids =
                    json!({ "principalId": assigned.principal_id, "clientId": assigned.client_id });
                (assigned.identity.with_lowercase_group_segment(), ids)
            })
            .collect();
        identity.insert("userAssignedIdentities".to_owned(), Value::Object(map));
    }
    Some(Value::Object(identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/abc";

    #[test]
    fn an_identity_without_a_type_is_refused_in_azures_words() {
        assert_eq!(
            read(Some(&json!({}))),
            Err(malformed("Required property 'type' not found in JSON. Path 'identity'."))
        );
    }

    /// Compute's versions before 2018-06-01 had a list of ids. One that is dropped would be an identity less.
    #[test]
    fn the_former_list_of_ids_is_refused_and_an_empty_one_means_nothing() {
        for (name, read_type) in [
            ("SystemAssigned", IdentityType::SystemAssigned),
            ("UserAssigned", IdentityType::UserAssigned),
        ] {
            let read = |ids: Value| read(Some(&json!({ "type": name, "identityIds": ids })));
            assert_eq!(read(json!([IDENTITY])), Err(ArmError::IdentityIds(read_type)));
            assert_eq!(read(json!("x")), Err(ArmError::IdentityIds(read_type)));
            for nothing in [json!([]), Value::Null] {
                assert_eq!(read(nothing).unwrap().unwrap().identity_type, read_type);
            }
        }
    }

    #[test]
    fn types_are_read_in_every_spelling() {
        for spelling in [
            "SystemAssigned, UserAssigned",
            "SystemAssigned,UserAssigned",
            "systemassigned, userassigned",
        ] {
            let read = read(Some(&json!({ "type": spelling }))).unwrap().unwrap();
            assert_eq!(read.identity_type, IdentityType::SystemAndUserAssigned);
            assert_eq!(read.user_assigned, None);
        }
        assert!(read(Some(&json!({ "type": "Both" }))).is_err());
        assert_eq!(read(None), Ok(None));
    }

    #[test]
    fn the_map_says_what_comes_and_what_goes() {
        let read = read(Some(
            &json!({ "type": "UserAssigned", "userAssignedIdentities": { IDENTITY: null } }),
        ));
        let expected = vec![(IDENTITY.parse().unwrap(), MapEntry::Remove)];
        assert_eq!(read.unwrap().unwrap().user_assigned, Some(expected));
        let foreign = IDENTITY.replace(
            "Microsoft.ManagedIdentity/userAssignedIdentities",
            "Microsoft.Compute/virtualMachines",
        );
        assert!(
            super::read(Some(
                &json!({ "type": "UserAssigned", "userAssignedIdentities": { foreign: {} } })
            ))
            .is_err()
        );
    }
}
