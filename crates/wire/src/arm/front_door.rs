//! What the front door looks at before any handler does: what the path names, whether it is there, and what the request
//! requires of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, Uri};
use keycard_domain::directory::directory_role;
use keycard_domain::ids::SubscriptionId;
use keycard_domain::operation::Principal;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::{ResourceError, provider_registration, resource_group};
use keycard_domain::snapshot::Snapshot;
use keycard_domain::target::{Precondition, Target, place_of};

use super::condition;
use super::error::ArmError;
use crate::request::{Parameters, Segments};
use crate::route::{Access, Params, Route, Row};

/// The namespaces of the resource providers that the rows serve, in lower case.
#[derive(Clone, Debug)]
pub(super) struct Namespaces(BTreeSet<String>);

impl Namespaces {
    pub(super) fn of<S>(routes: &[Route<S>]) -> Self {
        let after_providers = |path: &'static str| {
            let mut segments = path.split('/').skip_while(|it| !is_providers(it)).skip(1);
            segments.next().filter(|namespace| !namespace.starts_with('{'))
        };
        let namespaces = routes.iter().filter_map(|route| after_providers(route.row().path));
        Self(namespaces.map(str::to_ascii_lowercase).collect())
    }

    /// What a path names that no row matches: a namespace nobody knows, a type that is not served, or nothing.
    pub(super) fn unknown_path(&self, uri: &Uri) -> ArmError {
        let Ok(segments) = Segments::of(uri) else { return ArmError::PathMalformed };
        let segments = segments.as_slice();
        // What stands last is asked for: an extension of whatever stands before it.
        let Some(providers) = segments.iter().rposition(|segment| is_providers(segment)) else {
            return ArmError::PathUnknown;
        };
        let mut rest = segments.iter().skip(providers + 1);
        let Some(namespace) = rest.next() else { return ArmError::PathUnknown };
        if !self.0.contains(&namespace.to_ascii_lowercase()) {
            return ArmError::NamespaceUnknown(namespace.clone());
        }
        let types: Vec<&str> = rest.step_by(2).map(String::as_str).collect();
        if types.is_empty() {
            return ArmError::PathUnknown;
        }
        let query = Parameters::of(uri);
        ArmError::ResourceTypeUnknown {
            namespace: namespace.clone(),
            resource_type: types.join("/"),
            api_version: query.get("api-version").unwrap_or_default().to_owned(),
        }
    }
}

fn is_providers(segment: &str) -> bool {
    segment.eq_ignore_ascii_case("providers")
}

/// The text that stands in a path where a subscription's id belongs.
pub(super) fn subscription_text(path: &str) -> Option<&str> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.next().filter(|first| first.eq_ignore_ascii_case("subscriptions"))?;
    segments.next()
}

/// The subscription that a path names or lies in, which may not exist; refused when the text is no id.
pub(super) fn subscription(path: &str) -> Result<Option<SubscriptionId>, ArmError> {
    let Some(text) = subscription_text(path) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| ArmError::SubscriptionIdInvalid(text.to_owned()))
}

/// A subscription that does not exist is forbidden to everybody. Who governs the whole directory hears which of both it is.
// Differs from Azure: there everybody does.
pub(super) fn missing_subscription(
    snapshot: &Snapshot,
    path: &str,
    principal: &Principal,
) -> Option<ArmError> {
    let id = subscription(path).ok().flatten()?;
    let is_missing = snapshot.subscription(id).is_none();
    (is_missing && directory_role::is_global_administrator(snapshot, principal))
        .then_some(ResourceError::SubscriptionNotFound(id).into())
}

/// Refuses what would be done in a group, or to a part of a resource, that is not there. Only for who may do it: others
/// do not hear what there is.
pub(super) fn require_above(
    snapshot: &Snapshot,
    row: &Row,
    params: &Params,
) -> Result<(), ArmError> {
    const IN_GROUP: &str = "/subscriptions/{subscription}/resourceGroups/{group}/";
    // Only a row's own rule says who may do it: where the handler asks, it also answers for what is not there.
    if !row.path.starts_with(IN_GROUP) || !matches!(row.access, Access::Rbac(_)) {
        return Ok(());
    }
    if let Some(id) = subscription(params.resource())? {
        resource_group::find(snapshot, id, params.get("group"))?;
    }
    let parent = params.resource().parse::<ArmResourceId>().ok().and_then(|id| id.parent());
    // The identity provider words it itself when the identity of a federated credential is not there.
    let parent = parent
        .filter(|it| !it.is_of_type("Microsoft.ManagedIdentity/userAssignedIdentities"))
        .filter(|it| place_of(snapshot, it.as_str()).is_some_and(|place| place.version.is_none()));
    match parent {
        Some(missing) => Err(ResourceError::ParentNotFound(missing).into()),
        None => Ok(()),
    }
}

/// Refuses what would be made of a provider that the subscription is not registered for.
pub(super) fn require_registration(
    snapshot: &Snapshot,
    row: &Row,
    params: &Params,
) -> Result<(), ArmError> {
    let Access::Rbac(action) = row.access else { return Ok(()) };
    if row.method != Method::PUT || snapshot.unregistered_providers.is_empty() {
        return Ok(());
    }
    let namespace = action.split('/').next().unwrap_or_default();
    match subscription(params.resource())? {
        Some(id) if !provider_registration::is_registered(snapshot, id, namespace) => {
            Err(ArmError::ProviderUnregistered(namespace.to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the row's path ends in the name of what the request is about, or in an action on it.
fn names_its_target(row: &Row) -> bool {
    let is_name = |path: &str| path.ends_with('}');
    let is_action = |path: &str| path.rsplit_once('/').is_some_and(|(above, _)| is_name(above));
    matches!(row.access, Access::Rbac(_))
        && !row.path.starts_with("/{*scope}")
        && (is_name(row.path) || (row.method == Method::POST && is_action(row.path)))
}

/// What the request is about with what it requires of it. A read is decided on here; a write where it is committed.
pub(super) fn target(
    snapshot: &Snapshot,
    row: &Row,
    params: &Params,
    parts: &Parts,
) -> Result<Option<Arc<Target>>, ArmError> {
    if !names_its_target(row) {
        return Ok(None);
    }
    let required = condition::read(&parts.headers)?;
    let target = Target::new(params.canonical_resource().to_owned(), required);
    if row.method.is_safe()
        && let Some(version) = target.read(snapshot)
    {
        let required = Precondition { matches_none: None, ..target.required().clone() };
        if !required.holds(Some(version)) {
            return Err(ArmError::PreconditionFailed);
        }
    }
    Ok(Some(Arc::new(target)))
}

/// The answer to a read of a version that the client has already.
pub(super) fn unchanged(row: &Row, target: &Target) -> Option<Response> {
    let version = target.version().filter(|_| row.method.is_safe())?;
    if target.required().holds(Some(version)) {
        return None;
    }
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    condition::write(response.headers_mut(), version);
    Some(response)
}

/// Whether an answer to this method shows the resource that the path names.
pub(super) fn shows_target(method: &Method, status: StatusCode) -> bool {
    status.is_success() && [Method::GET, Method::HEAD, Method::PUT, Method::PATCH].contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &ArmError) {
        let namespaces =
            Namespaces(["microsoft.compute", "microsoft.web"].map(str::to_owned).into());
        let uri: Uri = format!("{path}?api-version=2024-07-01").parse().unwrap();
        assert_eq!(namespaces.unknown_path(&uri), *expected, "{path}");
    }

    #[test]
    fn an_unknown_path_is_refused_for_what_in_it_is_unknown() {
        let resource_type = |namespace: &str, resource_type: &str| ArmError::ResourceTypeUnknown {
            namespace: namespace.to_owned(),
            resource_type: resource_type.to_owned(),
            api_version: "2024-07-01".to_owned(),
        };
        let namespace = |text: &str| ArmError::NamespaceUnknown(text.to_owned());
        check("/subscriptions/s/nothing", &ArmError::PathUnknown);
        check("/subscriptions/s/providers", &ArmError::PathUnknown);
        check("/s/PROVIDERS/Microsoft.Kitchen/toasters/t", &namespace("Microsoft.Kitchen"));
        check("/s//providers/microsoft.Compute", &ArmError::PathUnknown);
        check(
            "/s/providers/microsoft.Compute/toasters/t",
            &resource_type("microsoft.Compute", "toasters"),
        );
        check(
            "/s/providers/Microsoft.Compute/virtualMachines/v/extensions/e",
            &resource_type("Microsoft.Compute", "virtualMachines/extensions"),
        );
        check(
            "/s/providers/Microsoft.Compute/virtualMachines/v/providers/Microsoft.Kitchen/x/y",
            &namespace("Microsoft.Kitchen"),
        );
        check("/s/providers/%2e%2e/x", &ArmError::PathMalformed);
    }

    #[test]
    fn a_text_that_is_no_subscription_is_refused_as_such() {
        let id = "11111111-2222-3333-4444-555555555555";
        assert_eq!(subscription(&format!("/SUBSCRIPTIONS/{id}/x")), Ok(id.parse().ok()));
        assert_eq!(subscription("/providers/x"), Ok(None));
        assert_eq!(subscription("/subscriptions"), Ok(None));
        let invalid = ArmError::SubscriptionIdInvalid("mine".to_owned());
        assert_eq!(subscription("/subscriptions/mine/x"), Err(invalid));
    }
}
