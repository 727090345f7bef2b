//! What was acknowledged outlives `kill -9`, and no commit is found half done.
//!
//! The test starts its own binary again to run only [`child_writer`], in a directory that holds a marker file, and
//! kills it while it writes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise"
)]

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use keycard_domain::audit::{AuditLog, AuditRecord, SignIn};
use keycard_domain::store::{Commit, Expectation, Store, StoreKey, Write};
use keycard_store::audit_log::{self, FileAuditLog};
use keycard_store::sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::task::JoinSet;

const MARKER: &str = "child-writes-here";
const ACKNOWLEDGED: &str = "acknowledged ";
const WRITERS: u32 = 8;
const KILLS: u32 = 4;
const ACKNOWLEDGED_BEFORE_KILL: usize = 150;
const SEGMENT_BYTES_MAX: u64 = 16_384;

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join(MARKER), "").unwrap();
    let mut acknowledged = Vec::new();
    for kill in 1..=KILLS {
        acknowledged.extend(acknowledged_before_kill(directory.path()));
        let store = SqliteStore::open(&directory.path().join("store")).unwrap();
        for name in &acknowledged {
            let found = store.get(&key("left", name)).await.unwrap();
            assert!(found.is_some(), "kill {kill} lost {name}");
        }
        assert_commits_are_whole(&store).await;

        // Opening removes what the kill may have torn; everything before it must be in place.
        let audit = directory.path().join("audit");
        drop(FileAuditLog::open(&audit, SEGMENT_BYTES_MAX).unwrap());
        let records = audit_log::verify(&audit).unwrap().records;
        assert!(records >= acknowledged.len() as u64, "kill {kill} left {records} audit records");
    }
}

/// Runs a child until it has acknowledged enough, kills it, and answers all that it acknowledged.
fn acknowledged_before_kill(directory: &Path) -> Vec<String> {
    let mut child = start_child(directory);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    while acknowledged.len() < ACKNOWLEDGED_BEFORE_KILL {
        acknowledged.extend(next_name(&mut lines).expect("the child ended by itself"));
    }
    child.kill().unwrap();
    while let Some(name) = next_name(&mut lines) {
        acknowledged.extend(name);
    }
    child.wait().unwrap();
    acknowledged
}

fn start_child(directory: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_writer", "--nocapture"])
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The next line's acknowledged name, if it is such a line (the test harness writes to the same pipe).
fn next_name(lines: &mut std::io::Lines<BufReader<ChildStdout>>) -> Option<Option<String>> {
    let line = lines.next()?.unwrap();
    // A kill may cut the last line; a whole name ends with a full stop.
    let name = line.split(ACKNOWLEDGED).nth(1).and_then(|rest| rest.strip_suffix('.'));
    Some(name.map(str::to_owned))
}

async fn assert_commits_are_whole(store: &SqliteStore) {
    let names = async |side: &str| {
        let page = store.list(side, None, usize::MAX).await.unwrap();
        let entries = page.entries.iter();
        entries
            .map(|entry| (entry.key.as_str().replace(side, ""), entry.revision))
            .collect::<Vec<_>>()
    };
    assert_eq!(names("left").await, names("right").await);
}

/// In an ordinary test run there is no marker, and nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn child_writer() {
    if !Path::new(MARKER).exists() {
        return;
    }
    let store = Arc::new(SqliteStore::open(Path::new("store")).unwrap());
    let audit = Arc::new(FileAuditLog::open(Path::new("audit"), SEGMENT_BYTES_MAX).unwrap());
    let life = store.list("", None, 0).await.unwrap().revision;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, audit) = (store.clone(), audit.clone());
        writers.spawn(async move {
            for number in 0.. {
                let name = format!("{life}-{writer}-{number}");
                store.commit(both_sides(&name)).await.unwrap();
                audit.append(sign_in(&name)).await.unwrap();
                println!("{ACKNOWLEDGED}{name}.");
            }
        });
    }
    writers.join_all().await;
}

fn both_sides(name: &str) -> Commit {
    let (left, right) = (key("left", name), key("right", name));
    let value: Arc<[u8]> = vec![7; 500].into();
    Commit {
        expectations: vec![Expectation::Absent(left.clone())],
        writes: vec![Write::Put(left, value.clone()), Write::Put(right, value)],
    }
}

fn key(side: &str, name: &str) -> StoreKey {
    StoreKey::new(format!("{side}/{name}"))
}

fn sign_in(name: &str) -> AuditRecord {
    AuditRecord::ManagedIdentitySignIn(SignIn {
        correlation_id: name.to_owned(),
        result_type: "0".to_owned(),
        ..SignIn::default()
    })
}
