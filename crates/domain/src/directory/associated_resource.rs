//! The resources that a user-assigned identity is assigned to, as a listing shows them: chosen, ordered, counted.
//!
//! Whoever may read the identity sees all of them, whatever else it may see.
//! Source: Microsoft.ManagedIdentity/userAssignedIdentities, `listAssociatedResources`.

use super::bearer;
use super::user_assigned_identity::{self, UserAssignedIdentityError};
use crate::limits;
use crate::operation::OperationContext;
use crate::request_rates::RatedBy;
use crate::resource_id::ArmResourceId;
use crate::state::State;

/// A resource that the identity is assigned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociatedResource {
    /// Its resource id.
    pub id: ArmResourceId,
    /// Its name.
    pub name: String,
    /// Its type, in lower case.
    pub resource_type: String,
    /// The name of its group.
    pub resource_group: String,
    /// The subscription that it is in.
    pub subscription_id: String,
    /// The name of that.
    pub subscription_name: String,
}

/// A member that a listing can be narrowed and ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `name`.
    Name,
    /// `type`.
    Type,
    /// `resourceGroup`.
    ResourceGroup,
    /// `subscriptionId`.
    SubscriptionId,
    /// `subscriptionDisplayName`.
    SubscriptionDisplayName,
}

impl Field {
    fn of(self, resource: &AssociatedResource) -> String {
        let value = match self {
            Self::Name => &resource.name,
            Self::Type => &resource.resource_type,
            Self::ResourceGroup => &resource.resource_group,
            Self::SubscriptionId => &resource.subscription_id,
            Self::SubscriptionDisplayName => &resource.subscription_name,
        };
        value.to_ascii_lowercase()
    }
}

/// Which resources are meant; values are compared without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The member is this.
    Equals(Field, String),
    /// The member has this in it.
    Contains(Field, String),
    /// All of these hold.
    All(Vec<Self>),
    /// One of these holds.
    Any(Vec<Self>),
}

impl Filter {
    fn covers(&self, resource: &AssociatedResource) -> bool {
        match self {
            Self::Equals(field, value) => field.of(resource) == value.to_ascii_lowercase(),
            Self::Contains(field, value) => {
                field.of(resource).contains(&value.to_ascii_lowercase())
            }
            Self::All(parts) => parts.iter().all(|part| part.covers(resource)),
            Self::Any(parts) => parts.iter().any(|part| part.covers(resource)),
        }
    }
}

/// Which way a member orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// What part of the listing is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Which resources; all without one.
    pub filter: Option<Filter>,
    /// The members that order, the first counting most; what they leave equal is in the order of the ids.
    pub order: Vec<(Field, Direction)>,
    /// How many are passed over.
    pub skip: usize,
    /// How many are shown at most; none shows the count alone.
    pub top: Option<usize>,
}

/// A part of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// How many resources the filter covers.
    pub total: usize,
    /// Those that are shown.
    pub shown: Vec<AssociatedResource>,
    /// How many a request for the next part has to pass over, when there is one.
    pub next: Option<usize>,
}

/// The resources that the identity with this id is assigned to.
pub fn list(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
    selection: &Selection,
) -> Result<Listing, UserAssignedIdentityError> {
    if let (Some(rate), Some(caller)) = (state.limits.associated_resources, operation.principal()) {
        let by = RatedBy::AssociatedResources(caller.tenant_id);
        state.request_rates.admit(by, rate, operation.now)?;
    }
    let snapshot = state.snapshot_to_keep();
    let identity = user_assigned_identity::find(&snapshot, id)?;
    let name_of = |id: &ArmResourceId| {
        snapshot.subscription(id.subscription()).map(|it| it.display_name.clone())
    };
    let mut covered: Vec<AssociatedResource> = bearer::having(&snapshot, identity)
        .map(|bearer| AssociatedResource {
            id: bearer.id.clone(),
            name: bearer.id.name().to_owned(),
            resource_type: bearer.id.resource_type().to_ascii_lowercase(),
            resource_group: bearer.id.resource_group().to_owned(),
            subscription_id: bearer.id.subscription().to_string(),
            subscription_name: name_of(bearer.id).unwrap_or_default(),
        })
        .filter(|resource| selection.filter.as_ref().is_none_or(|it| it.covers(resource)))
        .collect();
    covered.sort_by_cached_key(|resource| resource.id.key());
    // Sorting is stable: the member that counts most comes last.
    for (field, direction) in selection.order.iter().rev() {
        match direction {
            Direction::Ascending => covered.sort_by_cached_key(|it| field.of(it)),
            Direction::Descending => {
                covered.sort_by_cached_key(|it| std::cmp::Reverse(field.of(it)));
            }
        }
    }
    Ok(part_of(covered, selection))
}

fn part_of(covered: Vec<AssociatedResource>, selection: &Selection) -> Listing {
    let total = covered.len();
    let most = selection.top.unwrap_or(limits::LIST_PAGE_MAX).min(limits::LIST_PAGE_MAX);
    let shown: Vec<AssociatedResource> =
        covered.into_iter().skip(selection.skip).take(most).collect();
    let passed = selection.skip.saturating_add(shown.len());
    let next = (!shown.is_empty() && passed < total).then_some(passed);
    Listing { total, shown, next }
}
