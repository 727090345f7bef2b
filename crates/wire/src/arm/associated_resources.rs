//! The resources that an identity is assigned to: `POST …/userAssignedIdentities/{name}/listAssociatedResources`.
//!
//! Reading the identity is the right to see all of them. SDKs follow `nextLink` with GET, so that is taken too.
//! Source: Microsoft.ManagedIdentity REST API, 2022-01-31-preview; Microsoft Learn, "View associated Azure resources for a
//! user-assigned managed identity".

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::directory::associated_resource::{
    self, AssociatedResource, Direction, Field, Filter, Selection,
};
use keycard_domain::resource_id::ArmResourceId;
use serde_json::{Value, json};

use super::body::next_link;
use super::error::ArmError;
use super::filter::{self, Comparison, Expression, Operator};
use super::{Arm, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route, Unread};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let path = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}/listAssociatedResources";
    // Differs from Azure: the provider lists `listAssociatedResources/action`, which no role but those of all actions has;
    // its documentation says that whoever may read the identity may ask, and that holds here.
    let read = "Microsoft.ManagedIdentity/userAssignedIdentities/read";
    vec![row(Method::POST, path, read, list), row(Method::GET, path, read, list)]
}

async fn list(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let id: ArmResourceId = params.resource().parse().map_err(|_| ArmError::PathMalformed)?;
    let listing = associated_resource::list(&arm.state, &operation, &id, &selection(&uri)?)?;
    let values: Vec<Value> = listing.shown.iter().map(resource_json).collect();
    let mut body = json!({ "totalCount": listing.total, "value": values });
    if let (Some(next), Some(members)) = (listing.next, body.as_object_mut()) {
        // The token says how many resources were shown or passed over, and counts where `$skip` is still there.
        let link = next_link(&uri, &arm.names.url("management"), &next.to_string());
        members.insert("nextLink".to_owned(), json!(link));
    }
    Ok(Json(body))
}

fn resource_json(resource: &AssociatedResource) -> Value {
    json!({
        "id": resource.id,
        "name": resource.name,
        "type": resource.resource_type,
        "resourceGroup": resource.resource_group,
        "subscriptionId": resource.subscription_id,
        "subscriptionDisplayName": resource.subscription_name,
    })
}

fn selection(uri: &Uri) -> Result<Selection, ArmError> {
    let query = Parameters::of(uri);
    let number = |name: &'static str| match query.non_empty(name) {
        None => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|_| filter::unsupported(&format!("{name}={text}")))
        }
    };
    Ok(Selection {
        filter: query.non_empty("$filter").map(parse_filter).transpose()?,
        order: query.non_empty("$orderby").map_or_else(|| Ok(Vec::new()), parse_order)?,
        skip: number("$skiptoken")?.or(number("$skip")?).unwrap_or(0),
        top: number("$top")?,
    })
}

fn field(name: &str) -> Option<Field> {
    match name.trim().to_ascii_lowercase().as_str() {
        "name" => Some(Field::Name),
        "type" => Some(Field::Type),
        "resourcegroup" => Some(Field::ResourceGroup),
        "subscriptionid" => Some(Field::SubscriptionId),
        "subscriptiondisplayname" => Some(Field::SubscriptionDisplayName),
        _ => None,
    }
}

/// `name`, `name asc`, `type desc,name`.
fn parse_order(text: &str) -> Result<Vec<(Field, Direction)>, ArmError> {
    let term = |term: &str| {
        let mut words = term.split_whitespace();
        let field = field(words.next()?)?;
        let direction = match words.next().map(str::to_ascii_lowercase).as_deref() {
            None | Some("asc") => Direction::Ascending,
            Some("desc") => Direction::Descending,
            Some(_) => return None,
        };
        words.next().is_none().then_some((field, direction))
    };
    let terms: Option<Vec<(Field, Direction)>> = text.split(',').map(term).collect();
    // A member that stands again orders nothing: more than there are members is nonsense, and work.
    terms.filter(|it| it.len() <= 5).ok_or_else(|| filter::unsupported(text))
}

fn parse_filter(text: &str) -> Result<Filter, ArmError> {
    narrowing(filter::expression(text)?).ok_or_else(|| filter::unsupported(text))
}

fn narrowing(expression: Expression) -> Option<Filter> {
    let all = |parts: Vec<Expression>| parts.into_iter().map(narrowing).collect::<Option<Vec<_>>>();
    match expression {
        Expression::Any(parts) => Some(Filter::Any(all(parts)?)),
        Expression::All(parts) => Some(Filter::All(all(parts)?)),
        Expression::One(Comparison { field: name, operator, value }) => match operator {
            Operator::Equals => Some(Filter::Equals(field(&name)?, value)),
            Operator::Contains => Some(Filter::Contains(field(&name)?, value)),
            Operator::AtLeast | Operator::AtMost => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_about_the_members_of_the_listing() {
        let equals = |value: &str| Filter::Equals(Field::Name, value.to_owned());
        assert_eq!(
            parse_filter("name eq 'a' and (NAME eq 'b' or contains(resourceGroup,'rg'))"),
            Ok(Filter::All(vec![
                equals("a"),
                Filter::Any(vec![
                    equals("b"),
                    Filter::Contains(Field::ResourceGroup, "rg".to_owned())
                ]),
            ]))
        );
        for wrong in ["location eq 'a'", "name ge 'a'", "name eq 'a' or plan eq 'b'"] {
            assert!(parse_filter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_order_is_of_members_and_directions() {
        assert_eq!(
            parse_order("type desc, name"),
            Ok(vec![(Field::Type, Direction::Descending), (Field::Name, Direction::Ascending)])
        );
        for wrong in
            ["", "name up", "name asc asc", "location", "name,", "name,name,name,name,name,name"]
        {
            assert!(parse_order(wrong).is_err(), "{wrong}");
        }
    }
}
