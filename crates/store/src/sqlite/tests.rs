//! What SQLite adds to the promises of the port: it outlasts the process, and keeps others out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use keycard_domain::store::{Expectation, Write};
use tempfile::TempDir;

use super::*;
use crate::conformance;

fn put(key: &str, value: &[u8]) -> Commit {
    let write = Write::Put(StoreKey::new(key), value.into());
    Commit { expectations: vec![], writes: vec![write] }
}

/// Makes stores in directories that live as long as the value.
#[derive(Default)]
struct Directories(Mutex<Vec<TempDir>>);

impl Directories {
    fn open(&self) -> Arc<dyn Store> {
        let directory = TempDir::new().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        self.0.lock().unwrap().push(directory);
        Arc::new(store)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_promises() {
    let directories = Directories::default();
    conformance::all(async || directories.open()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_promises_under_faults() {
    let directories = Directories::default();
    conformance::faults(async || directories.open()).await;
}

#[tokio::test]
async fn forgets_old_deletions_and_remembers_that() {
    let directory = TempDir::new().unwrap();
    let open = || SqliteStore::open_with_deletions_kept_max(directory.path(), 4).unwrap();
    conformance::compaction(&open(), 4).await;
    assert_eq!(open().changes("", Revision::ZERO).await, Err(StoreError::Compacted));
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    store.commit(put("a", b"1")).await.unwrap();
    let delete = vec![Write::Delete(StoreKey::new("a"))];
    let before = store.commit(put("b", b"2")).await.unwrap();
    store.commit(Commit { expectations: vec![], writes: delete }).await.unwrap();
    let page = store.list("", None, 10).await.unwrap();
    let changes = store.changes("", before).await.unwrap();
    drop(store);

    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.list("", None, 10).await.unwrap(), page);
    assert_eq!(store.changes("", before).await.unwrap(), changes);
    assert!(store.commit(put("c", b"3")).await.unwrap() > page.revision);
}

#[tokio::test]
async fn a_closed_store_is_one_file() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    store.commit(put("a", b"1")).await.unwrap();
    store.get(&StoreKey::new("a")).await.unwrap();
    drop(store);
    let files = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [LOCK_NAME, DATABASE_NAME]);
}

#[tokio::test]
async fn a_second_keycard_is_kept_out() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let refusal = SqliteStore::open(directory.path()).unwrap_err();
    assert!(refusal.to_string().ends_with("is in use by another keycard"), "{refusal}");
    drop(store);
    SqliteStore::open(directory.path()).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let directory = TempDir::new().unwrap();
    drop(SqliteStore::open(directory.path()).unwrap());
    let connection = rusqlite::Connection::open(directory.path().join(DATABASE_NAME)).unwrap();
    connection.execute("UPDATE meta SET value = 2 WHERE name = 'schema_version'", []).unwrap();
    drop(connection);
    let refusal = SqliteStore::open(directory.path()).unwrap_err();
    assert!(matches!(refusal, OpenError::NewerSchema { found: 2, known: 1, .. }), "{refusal}");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join(DATABASE_NAME), "no database at all").unwrap();
    let refusal = SqliteStore::open(directory.path()).unwrap_err();
    assert!(matches!(refusal, OpenError::Database { .. }), "{refusal}");
}

#[tokio::test]
async fn only_the_owner_can_read_it() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("data");
    let store = SqliteStore::open(&directory).unwrap();
    store.commit(put("a", b"1")).await.unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.clone()), 0o700);
    let mut files = 0;
    for file in fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(path.clone()), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 4, "database, log, shared memory, lock");
}

#[test]
fn a_refused_commit_does_not_spoil_its_neighbours() {
    let directory = TempDir::new().unwrap();
    let mut writer = writer(&directory);
    let absent = vec![Expectation::Absent(StoreKey::new("a"))];
    let commits =
        [put("a", b"1"), Commit { expectations: absent, ..put("b", b"2") }, put("c", b"3")];
    let outcomes = writer.commit_group(&commits);
    let conflict = Err(StoreError::Conflict(StoreKey::new("a")));
    assert_eq!(outcomes, [Ok(Revision(1)), conflict, Ok(Revision(2))]);
}

#[test]
fn the_writer_outlives_a_full_disk() {
    let directory = TempDir::new().unwrap();
    let mut writer = writer(&directory);
    assert_eq!(writer.commit_group(&[put("a", b"1")]), [Ok(Revision(1))]);
    writer.limit_pages(20);
    let outcomes = writer.commit_group(&[put("b", b"2"), put("c", &[0; 1 << 20])]);
    let full = Err(StoreError::Unavailable("database or disk is full".to_owned()));
    assert_eq!(outcomes, [full.clone(), full]);
    assert_eq!(*writer.subscribe().borrow(), Revision(1));
    writer.limit_pages(10_000);
    assert_eq!(writer.commit_group(&[put("c", &[0; 1 << 20])]), [Ok(Revision(2))]);
    let readers = Readers::new(directory.path().join(DATABASE_NAME));
    let read = readers.run(|connection| reader::get(connection, &StoreKey::new("b")));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(read), Ok(None));
}

fn writer(directory: &TempDir) -> Writer {
    let path = directory.path().join(DATABASE_NAME);
    fs::write(&path, "").unwrap();
    Writer::new(schema::open_to_write(&path).unwrap(), 10).unwrap()
}
