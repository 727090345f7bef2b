//! `docs/compatibility.md` against the rows of all faces: every row is in the table, what works has a witness, every
//! witness exists, and what is refused is refused.
//!
//! `docs/reference/operations.md` is made from both: `KEYCARD_UPDATE=1 cargo test -p keycard --test wire compatibility`.

mod operation;
pub(crate) mod reached;
mod table;

use std::fmt::Write as _;

use http::Method;
use keycard_wire::route::{Access, Row};
use serde_json::json;

use crate::harness::{ARM_AUDIENCE, Cloud, GRAPH_AUDIENCE};
use table::{Entry, PAGE, Page, root};

const OPERATIONS_PAGE: &str = "docs/reference/operations.md";

/// How to have the page of operations made anew.
const UPDATE: &str = "KEYCARD_UPDATE=1 cargo test -p keycard --test wire compatibility";

type Rows = [(&'static str, Row)];

/// Fails with all that is wrong at once.
fn require_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n\n{}\n", complaints.join("\n"));
}

fn complaints(page: &Page, rows: &Rows) -> Vec<String> {
    let mut complaints = page.complaints.clone();
    for entry in &page.entries {
        for witness in &entry.witnesses {
            complaints.extend(witness.absence().map(|absence| entry.complaint(&absence)));
        }
        let is_refused = entry.refusal().is_some();
        let is_asked = entry.refusal().flatten().is_some() && !entry.operations.is_empty();
        if entry.witnesses.is_empty() && !is_asked {
            complaints.push(entry.complaint(
                "has no witness: name a test that fails when this is no longer so, as in `wire: FILE::NAME`",
            ));
        }
        for operation in &entry.operations {
            let has_route =
                rows.iter().any(|(face, row)| entry.face == Some(*face) && operation.is_of(row));
            if !has_route && !is_refused {
                complaints.push(entry.complaint(&format!(
                    "{} is an operation of no route: a name that no route has, or too much in its `…`",
                    operation.said()
                )));
            }
            if has_route && entry.refusal() == Some(Some(404)) {
                complaints.push(
                    entry.complaint(&format!("{} has a route: say what works", operation.said())),
                );
            }
        }
    }
    let is_named = |face: &str, row: &Row| page.entries.iter().any(|entry| entry.names(face, row));
    let missing = rows.iter().filter(|(face, row)| !is_named(face, row));
    complaints.extend(missing.map(|(face, row)| {
        format!(
            "{PAGE}: face `{face}`: no row names `{}`: add one, as in `| GET …/things/{{name}} | works | – | `wire: FILE::NAME` |`",
            operation::written(row),
        )
    }));
    complaints
}

#[tokio::test]
async fn every_route_is_in_the_table_and_every_witness_exists() {
    let cloud = Cloud::start().await;
    let page = Page::read(&cloud.server.rows);
    assert!(page.entries.len() > 100, "the page is read: {} rows", page.entries.len());
    require_none(&complaints(&page, &cloud.server.rows));
}

/// What stands in no table as working is asked for, by the administrator, who may do everything.
#[tokio::test]
async fn what_the_table_refuses_is_refused() {
    let cloud = Cloud::start().await;
    cloud.govern().await;
    let vault_token = cloud.open_vault("kv1").await;
    let arm_token = cloud.admin_token(ARM_AUDIENCE).await;
    let graph_token = cloud.admin_token(GRAPH_AUDIENCE).await;
    cloud.put_vm("vm1", true, &[]).await;
    let metadata = cloud.imds("vm1").await;
    let mut complaints = Vec::new();
    let mut asked = 0;
    for entry in Page::read(&cloud.server.rows).entries {
        let Some(Some(expected)) = entry.refusal() else { continue };
        for operation in &entry.operations {
            let (method, path) = operation.example(&cloud.group());
            let endpoints = &cloud.description().endpoints;
            let (url, token) = match entry.face {
                Some("arm") => {
                    let base = &endpoints.resource_manager;
                    (format!("{base}{path}?api-version=2024-11-01"), Some(&arm_token))
                }
                Some("graph") => (format!("{}/v1.0{path}", endpoints.graph), Some(&graph_token)),
                Some("key_vault") => {
                    let path = format!("{path}?api-version=7.4");
                    (cloud.vault_url("kv1", &path), Some(&vault_token))
                }
                Some("imds") => (format!("{metadata}{path}?api-version=2018-02-01"), None),
                _ => (format!("{}{path}", endpoints.token_service), None),
            };
            let has_body = method == Method::PUT || method == Method::POST;
            let body = has_body.then(|| json!({}));
            let mut request = keycard::client::request(method, &url, token, body.as_ref());
            request.headers_mut().insert("metadata", http::HeaderValue::from_static("true"));
            let answer = cloud.client.send(request).await.unwrap();
            asked += 1;
            if answer.status.as_u16() != expected {
                complaints.push(entry.complaint(&format!(
                    "{} answers {} and not {expected}: {}",
                    operation.said(),
                    answer.status,
                    answer.body
                )));
            }
        }
    }
    assert!(asked > 10, "the page names what is refused: {asked}");
    require_none(&complaints);
}

/// What a row of the page of operations says about who may.
fn needs(access: Access) -> String {
    match access {
        Access::Rbac(action) => format!("`{action}`"),
        Access::Directory(action) => format!("`{action}`, in the directory"),
        Access::OwnProof => "a proof of who asks".to_owned(),
        Access::LocalCaller => "to be the workload of the endpoint".to_owned(),
        Access::Public => "nothing".to_owned(),
    }
}

/// The rows of the table that name a route most exactly.
fn about<'a>(page: &'a Page, face: &str, row: &Row) -> Vec<&'a Entry> {
    let precision = |entry: &Entry| entry.precision(face, row);
    let best = page.entries.iter().filter_map(precision).max();
    page.entries.iter().filter(|entry| precision(entry) == best && best.is_some()).collect()
}

fn operations_page(page: &Page, rows: &Rows) -> String {
    let mut text = format!(
        "# Operations\n\nEvery route of every face: what it needs, and which tests witness it. Made from `routes()` in \
         `crates/wire/src` and from the\n[compatibility](../compatibility.md) tables, which say what differs from Azure, by \
         `{UPDATE}`.\n\n\
         An action in `code` is one that a role has to grant; \"in the directory\" means Global Administrators, and in some \
         rows whoever\nasks about itself.\n"
    );
    let mut former = "";
    for (face, row) in rows {
        if *face != former {
            let heading = table::heading(face);
            let _ =
                write!(text, "\n## {heading}\n\n| operation | needs | witness |\n|---|---|---|\n");
            former = face;
        }
        let entries = about(page, face, row);
        let witnesses: Vec<String> = entries
            .iter()
            .map(|entry| match (entry.refusal(), entry.witnesses.is_empty()) {
                (None, _) => entry.witnesses_written.clone(),
                (Some(_), true) => entry.status.clone(),
                (Some(_), false) => format!("{}: {}", entry.status, entry.witnesses_written),
            })
            .collect();
        let operation = operation::written(row);
        let _ =
            writeln!(text, "| `{operation}` | {} | {} |", needs(row.access), witnesses.join(", "));
    }
    text
}

#[tokio::test]
async fn the_page_of_operations_is_that_of_the_routes() {
    let cloud = Cloud::start().await;
    let made = operations_page(&Page::read(&cloud.server.rows), &cloud.server.rows);
    let path = root().join(OPERATIONS_PAGE);
    if std::env::var_os("KEYCARD_UPDATE").is_some() {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs =
        made.lines().zip(found.lines().chain(std::iter::repeat(""))).find(|(a, b)| a != b);
    assert!(
        made == found,
        "{OPERATIONS_PAGE} is not what the routes and {PAGE} make of it; run `{UPDATE}`. {differs:#?}"
    );
}
