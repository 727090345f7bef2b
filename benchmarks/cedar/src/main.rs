//! Answers questions with cedar-policy behind an index by principal, and prints how long an answer takes.
//!
//! Each principal has a policy set of its own assignments: `permit` policies linked from one template per role, with the
//! scope in the slot and the role's patterns in the `when`. The scopes are entities, each below the one that holds it.
//! Requests are made before the clock starts. The input is what `crates/keycard/benches/budgets` writes.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId,
    PolicySet, Request, RestrictedExpression, SlotId, Template,
};
use serde::Deserialize;
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Input {
    roles: Vec<Vec<Grant>>,
    principals: Vec<Vec<(usize, String)>>,
    questions: Vec<Question>,
}

#[derive(Deserialize)]
struct Grant {
    plane: String,
    actions: Vec<String>,
    not_actions: Vec<String>,
}

#[derive(Deserialize)]
struct Question {
    principal: usize,
    plane: String,
    action: String,
    scopes: Vec<String>,
}

/// Makes entity ids of the few types there are.
struct Names {
    principal: EntityTypeName,
    action: EntityTypeName,
    scope: EntityTypeName,
}

impl Names {
    fn new() -> Outcome<Self> {
        Ok(Self {
            principal: "Principal".parse()?,
            action: "Action".parse()?,
            scope: "Scope".parse()?,
        })
    }

    fn scope(&self, text: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.scope.clone(), EntityId::new(text))
    }

    fn request(&self, question: &Question) -> Outcome<Request> {
        let named = |kind: &EntityTypeName, id: &str| {
            EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
        };
        let scope = question.scopes.last().ok_or("a question without a scope")?;
        let action = RestrictedExpression::new_string(question.action.clone());
        Ok(Request::new(
            named(&self.principal, &question.principal.to_string()),
            named(&self.action, &question.plane),
            self.scope(scope),
            Context::from_pairs([("action".to_owned(), action)])?,
            None,
        )?)
    }
}

fn main() -> Outcome<()> {
    let path = std::env::args().nth(1).ok_or("usage: keycard-bench-cedar INPUT")?;
    let input: Input = serde_json::from_slice(&std::fs::read(path)?)?;
    let names = Names::new()?;
    let templates = templates(&input.roles)?;
    let sets = input
        .principals
        .iter()
        .map(|assignments| policy_set(&names, &templates, assignments))
        .collect::<Outcome<Vec<_>>>()?;
    let entities = entities(&names, &input.questions)?;
    let requests: Vec<Request> =
        input.questions.iter().map(|it| names.request(it)).collect::<Outcome<_>>()?;

    let authorizer = Authorizer::new();
    let mut micros = Vec::with_capacity(requests.len());
    let mut allowed = 0;
    for (question, request) in input.questions.iter().zip(&requests) {
        let begin = Instant::now();
        let response = authorizer.is_authorized(request, &sets[question.principal], &entities);
        micros.push(begin.elapsed().as_secs_f64() * 1e6);
        allowed += usize::from(black_box(response).decision() == Decision::Allow);
    }
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    let answer = json!({
        "p50_micros": at(0.5), "p99_micros": at(0.99), "allowed": allowed, "questions": requests.len(),
    });
    println!("{answer}");
    Ok(())
}

/// For each role, a template for each of its grants.
fn templates(roles: &[Vec<Grant>]) -> Outcome<Vec<Vec<Template>>> {
    let template = |role: usize, number: usize, grant: &Grant| {
        let covers = |patterns: &[String]| {
            let tests: Vec<String> = patterns.iter().map(|it| test(it)).collect();
            tests.join(" || ")
        };
        let unless = match &*grant.not_actions {
            [] => String::new(),
            withheld => format!("unless {{ {} }}", covers(withheld)),
        };
        let text = format!(
            "permit(principal, action == Action::{:?}, resource in ?resource) when {{ {} }} {unless};",
            grant.plane,
            covers(&grant.actions),
        );
        Ok(Template::parse(Some(PolicyId::new(format!("{role}-{number}"))), text)?)
    };
    let templates_of = |(role, grants): (usize, &Vec<Grant>)| {
        grants.iter().enumerate().map(|(number, grant)| template(role, number, grant)).collect()
    };
    roles.iter().enumerate().map(templates_of).collect()
}

fn test(pattern: &str) -> String {
    if pattern.contains('*') {
        format!("context.action like {pattern:?}")
    } else {
        format!("context.action == {pattern:?}")
    }
}

fn policy_set(
    names: &Names,
    templates: &[Vec<Template>],
    assignments: &[(usize, String)],
) -> Outcome<PolicySet> {
    let mut set = PolicySet::new();
    let mut known = HashSet::new();
    for (number, (role, scope)) in assignments.iter().enumerate() {
        for template in &templates[*role] {
            if known.insert(template.id().clone()) {
                set.add_template(template.clone())?;
            }
            let id = PolicyId::new(format!("assignment-{number}-{}", template.id()));
            let slots = HashMap::from([(SlotId::resource(), names.scope(scope))]);
            set.link(template.id().clone(), id, slots)?;
        }
    }
    Ok(set)
}

/// Every scope that is asked about, and all that hold it by path.
fn entities(names: &Names, questions: &[Question]) -> Outcome<Entities> {
    let mut parents: HashMap<&str, Option<&str>> = HashMap::new();
    for question in questions {
        let mut above = None;
        for scope in &question.scopes {
            parents.insert(scope, above);
            above = Some(scope);
        }
    }
    let entities = parents.into_iter().map(|(scope, above)| {
        let above = above.map(|above| names.scope(above)).into_iter().collect();
        Entity::new_no_attrs(names.scope(scope), above)
    });
    Ok(Entities::from_entities(entities, None)?)
}
