//! cedar-policy behind an index by principal, in a process of its own: its crates stay out of this workspace's lock file
//! (`benchmarks/cedar`).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use keycard_domain::ids::{PrincipalId, RoleDefinitionId};
use keycard_domain::rbac::action::ActionPatterns;
use keycard_domain::rbac::{Plane, RbacScope};
use serde::{Deserialize, Serialize};

use super::questions::Asked;
use crate::world::World;
use crate::{Outcome, Settings};

/// Fewer than the engine is asked: each takes a hundred times as long.
const QUESTIONS: usize = 5_000;

/// What `benchmarks/cedar` reads. Actions and scopes are in lower case; numbers are places in the lists.
#[derive(Serialize)]
struct Input {
    roles: Vec<Vec<Grant>>,
    /// Per principal that is asked about, its own assignments.
    principals: Vec<Vec<(usize, String)>>,
    questions: Vec<CedarQuestion>,
}

/// What a permission object of a role grants on one plane.
#[derive(Serialize)]
struct Grant {
    plane: &'static str,
    actions: Vec<String>,
    not_actions: Vec<String>,
}

#[derive(Serialize)]
struct CedarQuestion {
    principal: usize,
    plane: &'static str,
    action: String,
    /// The scope and what holds it by path, the root's empty text first.
    scopes: Vec<String>,
}

/// What it prints.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) p50_micros: f64,
    p99_micros: f64,
    allowed: usize,
    questions: usize,
}

impl Answer {
    pub(super) fn note(&self) -> String {
        let Self { p50_micros, p99_micros, allowed, questions } = self;
        format!(
            "cedar-policy without groups, management groups, denies and conditions: p50 {p50_micros:.1} µs, p99 \
             {p99_micros:.1}; {allowed} of {questions} questions allowed"
        )
    }
}

/// The built reference.
pub(super) struct Cedar {
    binary: PathBuf,
    input: PathBuf,
}

impl Cedar {
    /// Builds it, which takes some minutes the first time.
    pub(super) fn build(settings: &Settings) -> Outcome<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benchmarks/cedar");
        let target = settings.output.join("cedar");
        eprintln!("bench:   building the reference cedar-policy");
        let status = Command::new("cargo")
            .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
            .arg(source.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .status()?;
        if !status.success() {
            return Err("cedar-policy could not be built".into());
        }
        let binary = target.join("release/keycard-bench-cedar");
        Ok(Self { binary, input: target.join("input.json") })
    }

    pub(super) fn measure(&self, world: &World, questions: &[Asked]) -> Outcome<Answer> {
        let input = input(world, &questions[..QUESTIONS]);
        serde_json::to_writer(BufWriter::new(File::create(&self.input)?), &input)?;
        let output = Command::new(&self.binary).arg(&self.input).output()?;
        fs::remove_file(&self.input)?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn input(world: &World, asked: &[Asked]) -> Input {
    let mut principals = Numbered::<PrincipalId>::default();
    let questions = asked.iter().map(|it| question(it, principals.number(it.principal))).collect();
    let mut roles = Numbered::<RoleDefinitionId>::default();
    let mut assignments = vec![Vec::new(); principals.items.len()];
    for assignment in world.assignments.iter().map(|placed| &placed.assignment) {
        if let Some(number) = principals.numbers.get(&assignment.principal_id) {
            let role = roles.number(assignment.role);
            assignments[*number].push((role, assignment.scope.key().to_owned()));
        }
    }
    let roles = roles.items.iter().map(|role| grants(world, *role)).collect();
    Input { roles, principals: assignments, questions }
}

/// Things in the order in which they were first met.
struct Numbered<T> {
    items: Vec<T>,
    numbers: HashMap<T, usize>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { items: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Copy + Eq + std::hash::Hash> Numbered<T> {
    fn number(&mut self, item: T) -> usize {
        *self.numbers.entry(item).or_insert_with(|| {
            self.items.push(item);
            self.items.len() - 1
        })
    }
}

const fn name(plane: Plane) -> &'static str {
    match plane {
        Plane::Control => "control",
        Plane::Data => "data",
    }
}

fn grants(world: &World, role: RoleDefinitionId) -> Vec<Grant> {
    let grant = |plane, actions, not_actions| Grant {
        plane: name(plane),
        actions: lowercase(actions),
        not_actions: lowercase(not_actions),
    };
    let permissions = world.role(role).permissions.iter().flat_map(|it| {
        [
            grant(Plane::Control, &it.actions, &it.not_actions),
            grant(Plane::Data, &it.data_actions, &it.not_data_actions),
        ]
    });
    permissions.filter(|grant| !grant.actions.is_empty()).collect()
}

fn lowercase(patterns: &ActionPatterns) -> Vec<String> {
    patterns.iter().map(|pattern| pattern.as_str().to_ascii_lowercase()).collect()
}

fn question(asked: &Asked, principal: usize) -> CedarQuestion {
    let scope = RbacScope::parse(&asked.scope).expect("questions are about scopes");
    CedarQuestion {
        principal,
        plane: name(asked.plane),
        action: asked.action.to_ascii_lowercase(),
        scopes: scope.path_ancestors().map(|key| key.text.to_owned()).collect(),
    }
}
