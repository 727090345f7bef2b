//! The id of an Azure Resource Manager resource, parsed once.
//!
//! Comparison ignores case in every segment; the text keeps the case of creation.
//! Source: Azure Resource Manager, "Resource functions for ARM templates", resourceId.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::SubscriptionId;
use crate::limits;

/// `/subscriptions/{guid}/resourceGroups/{name}/providers/{namespace}/{type}/{name}[/{type}/{name}]…`
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArmResourceId(Arc<str>);

/// The text is no resource id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a resource id")]
pub struct NotAResourceId;

/// The segments of `/subscriptions/s/resourceGroups/g/providers/n/t/…`, by position.
const SUBSCRIPTION: usize = 1;
const GROUP: usize = 3;
const NAMESPACE: usize = 5;
const FIRST_TYPE: usize = 6;

impl ArmResourceId {
    /// The id below a resource group; `None` when a part has a character that no id has.
    pub fn in_group(
        subscription: SubscriptionId,
        group: &str,
        namespace: &str,
        types_and_names: &[&str],
    ) -> Option<Self> {
        let tail = types_and_names.join("/");
        format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{namespace}/{tail}")
            .parse()
            .ok()
    }

    /// The id as it was written at creation.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that equal ids share, for keys.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    fn segment(&self, position: usize) -> &str {
        self.0.split('/').skip(1).nth(position).unwrap_or_default()
    }

    /// The subscription that holds the resource.
    pub fn subscription(&self) -> SubscriptionId {
        self.segment(SUBSCRIPTION).parse().unwrap_or(SubscriptionId::new(uuid::Uuid::nil()))
    }

    /// The resource group's name.
    pub fn resource_group(&self) -> &str {
        self.segment(GROUP)
    }

    /// The provider's namespace, such as `Microsoft.Compute`.
    pub fn namespace(&self) -> &str {
        self.segment(NAMESPACE)
    }

    /// The full type, such as `Microsoft.Compute/virtualMachines`.
    pub fn resource_type(&self) -> String {
        let types = self.0.split('/').skip(1 + FIRST_TYPE).step_by(2);
        std::iter::once(self.namespace()).chain(types).collect::<Vec<_>>().join("/")
    }

    /// Whether the resource is of this type; case is ignored.
    pub fn is_of_type(&self, resource_type: &str) -> bool {
        self.resource_type().eq_ignore_ascii_case(resource_type)
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// What the resource is called within its group, type and namespace aside: of a part, as `app/slots/staging`.
    pub fn name_in_group(&self) -> &str {
        self.0.splitn(FIRST_TYPE + 3, '/').last().unwrap_or_default()
    }

    /// The resource that this one is a part of; `None` when it is no part.
    pub fn parent(&self) -> Option<Self> {
        let (rest, _name) = self.0.rsplit_once('/')?;
        rest.rsplit_once('/')?.0.parse().ok()
    }

    /// The id of a numbered part of this resource.
    pub fn numbered_part(&self, part_type: &'static str, number: u64) -> Self {
        Self(format!("{self}/{part_type}/{number}").into())
    }

    /// Whether this is a part of the other resource, however deep.
    pub fn is_part_of(&self, other: &Self) -> bool {
        let (own, whole) = (self.0.as_bytes(), other.0.as_bytes());
        own.get(whole.len()) == Some(&b'/')
            && own.get(..whole.len()).is_some_and(|start| start.eq_ignore_ascii_case(whole))
    }

    /// The id that this part has when what it is a part of is at another place.
    pub fn moved_along(&self, whole: &Self, present: &Self) -> Option<Self> {
        let part = self.0.get(whole.0.len()..).filter(|_| self.is_part_of(whole))?;
        format!("{present}{part}").parse().ok()
    }

    /// The id with `resourcegroups` in lower case, as the managed identity provider writes it.
    pub fn with_lowercase_group_segment(&self) -> String {
        self.0.replacen("/resourceGroups/", "/resourcegroups/", 1)
    }
}

/// Characters that no segment of an id has.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '<' | '>' | '%' | '&' | '\\' | '?' | '#' | '"' | '\'' | '*')
}

fn is_segment(segment: &str) -> bool {
    !segment.is_empty() && segment != "." && segment != ".." && !segment.contains(is_forbidden)
}

impl FromStr for ArmResourceId {
    type Err = NotAResourceId;

    fn from_str(text: &str) -> Result<Self, NotAResourceId> {
        let body = text.strip_prefix('/').ok_or(NotAResourceId)?;
        let segments: Vec<&str> = body.split('/').collect();
        let has_shape = text.len() <= limits::RESOURCE_ID_BYTES_MAX
            && segments.len() >= FIRST_TYPE + 2
            && segments.len().is_multiple_of(2)
            && segments.iter().all(|segment| is_segment(segment));
        if !has_shape {
            return Err(NotAResourceId);
        }
        match segments.as_slice() {
            [subscriptions, subscription, groups, group, providers, tail @ ..]
                if subscriptions.eq_ignore_ascii_case("subscriptions")
                    && groups.eq_ignore_ascii_case("resourceGroups")
                    && providers.eq_ignore_ascii_case("providers") =>
            {
                let subscription: SubscriptionId =
                    subscription.parse().map_err(|_| NotAResourceId)?;
                let tail = tail.join("/");
                let text = format!(
                    "/subscriptions/{subscription}/resourceGroups/{group}/providers/{tail}"
                );
                Ok(Self(text.into()))
            }
            _ => Err(NotAResourceId),
        }
    }
}

impl TryFrom<String> for ArmResourceId {
    type Error = NotAResourceId;

    fn try_from(text: String) -> Result<Self, NotAResourceId> {
        text.parse()
    }
}

impl From<ArmResourceId> for String {
    fn from(id: ArmResourceId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl PartialEq for ArmResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for ArmResourceId {}

impl Hash for ArmResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.0.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl fmt::Display for ArmResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ArmResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VM: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/Rg1/providers/Microsoft.Compute/virtualMachines/vm1";

    #[test]
    fn parts_are_read_from_the_text() {
        let id: ArmResourceId = VM.parse().unwrap();
        assert_eq!(id.resource_group(), "Rg1");
        assert_eq!(id.resource_type(), "Microsoft.Compute/virtualMachines");
        assert_eq!(id.name(), "vm1");
        assert!(id.with_lowercase_group_segment().contains("/resourcegroups/Rg1/"));
    }

    #[test]
    fn case_makes_no_other_resource() {
        let id: ArmResourceId = VM.parse().unwrap();
        let shouted: ArmResourceId = VM.to_uppercase().parse().unwrap();
        assert_eq!(id, shouted);
        assert_eq!(id.key(), shouted.key());
    }

    #[test]
    fn a_part_names_its_whole() {
        let whole: ArmResourceId = VM.parse().unwrap();
        let part = whole.numbered_part("parts", 7);
        assert_eq!(part.as_str().parse::<ArmResourceId>().unwrap(), part);
        assert_eq!((part.parent(), whole.parent()), (Some(whole.clone()), None));
        assert_eq!((part.name_in_group(), whole.name_in_group()), ("vm1/parts/7", "vm1"));
        let longer: ArmResourceId = format!("{VM}0/parts/7").parse().unwrap();
        for (one, other, expected) in [
            (&part, &whole, true),
            (
                &VM.to_uppercase().parse::<ArmResourceId>().unwrap().numbered_part("p", 1),
                &whole,
                true,
            ),
            (&whole, &whole, false),
            (&whole, &part, false),
            (&longer, &whole, false),
        ] {
            assert_eq!(one.is_part_of(other), expected, "{one} of {other}");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for wrong in [
            "",
            "/",
            "vm1",
            "/subscriptions/not-a-guid/resourceGroups/g/providers/n/t/x",
            "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g",
            &VM.replace("/vm1", ""),
            &VM.replace("vm1", ".."),
            &VM.replace("vm1", ""),
            &VM.replace("vm1", "a%2fb"),
            &format!("{VM}/extensions"),
            &VM.replace("vm1", &"x".repeat(5000)),
        ] {
            assert!(wrong.parse::<ArmResourceId>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn an_id_survives_its_text(name in "[a-zA-Z0-9_.()-]{1,40}") {
            prop_assume!(name != "." && name != "..");
            let id: ArmResourceId = VM.replace("vm1", &name).parse().unwrap();
            prop_assert_eq!(id.name(), &name);
            prop_assert_eq!(id.as_str().parse::<ArmResourceId>().unwrap(), id);
        }
    }
}
