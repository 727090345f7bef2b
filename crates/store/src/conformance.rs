//! The promises of the store port as tests that every backend runs: [`all`], [`compaction`] and [`faults`].
//!
//! Each promise is a function that gets an empty store and panics when the promise is broken.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::sync::Arc;

use keycard_domain::store::{
    Change, Commit, Entry, Expectation, Revision, Store, StoreError, StoreKey, Write,
};
use tokio::task::{self, JoinSet};

use crate::faulty::{FaultPlan, FaultyStore};

/// Writers that race for one key.
const WRITERS: u32 = 32;

/// Every promise but [`compaction`] and [`faults`], each on a store of its own that `make` must return empty.
///
/// Needs a tokio runtime, best one with several threads.
pub async fn all(make: impl AsyncFn() -> Arc<dyn Store>) {
    an_empty_store_has_nothing(&*make().await).await;
    a_commit_is_read_back(&*make().await).await;
    a_commit_is_one_revision(&*make().await).await;
    revisions_grow(&*make().await).await;
    expectations_hold_or_refuse(&*make().await).await;
    a_conflict_leaves_nothing(&*make().await).await;
    a_deleted_key_is_absent(&*make().await).await;
    a_listing_is_in_key_order(&*make().await).await;
    a_listing_keeps_to_its_prefix(&*make().await).await;
    a_listing_goes_on_after_a_key(&*make().await).await;
    changes_are_in_commit_order(&*make().await).await;
    changes_may_skip_what_was_overwritten(&*make().await).await;
    changes_tell_deletions(&*make().await).await;
    changes_keep_to_their_prefix(&*make().await).await;
    changes_wait(make().await).await;
    changes_wake_every_reader(make().await).await;
    concurrent_writers_lose_nothing(make().await).await;
    a_reader_sees_commits_whole(make().await).await;
    a_large_value_is_kept(&*make().await).await;
}

async fn an_empty_store_has_nothing(store: &dyn Store) {
    assert_eq!(store.get(&key("a")).await, Ok(None));
    let page = store.list("", None, 10).await.unwrap();
    assert_eq!((page.entries, page.revision), (vec![], Revision::ZERO));
}

async fn a_commit_is_read_back(store: &dyn Store) {
    for (at, value) in [("a", "1"), ("b", ""), ("ключ/🔑", "значение"), ("nul\0inside", "\0")]
    {
        let revision = store.commit(writes([put(at, value)])).await.unwrap();
        let entry = Entry { key: key(at), value: bytes(value), revision };
        assert_eq!(store.get(&key(at)).await, Ok(Some(entry.clone())));
        assert_eq!(store.list(at, None, 1).await.unwrap().entries, [entry]);
    }
}

async fn a_commit_is_one_revision(store: &dyn Store) {
    store.commit(writes([put("gone", "1")])).await.unwrap();
    let commit = writes([put("a", "1"), put("b", "2"), delete("gone"), delete("never-there")]);
    let revision = store.commit(commit).await.unwrap();
    let page = store.list("", None, 10).await.unwrap();
    let found: Vec<_> = page.entries.iter().map(|e| (e.key.as_str(), e.revision)).collect();
    assert_eq!(found, [("a", revision), ("b", revision)]);
    assert_eq!(page.revision, revision);
}

async fn revisions_grow(store: &dyn Store) {
    let mut last = Revision::ZERO;
    for round in 0..10 {
        let revision = store.commit(writes([put("a", &round.to_string())])).await.unwrap();
        assert!(revision > last, "{revision} does not follow {last}");
        last = revision;
    }
    let page = store.list("nothing/", None, 10).await.unwrap();
    assert_eq!(page.revision, last, "a page tells the revision of the store, not of its entries");
}

async fn expectations_hold_or_refuse(store: &dyn Store) {
    let old = store.commit(writes([put("a", "1"), put("b", "1")])).await.unwrap();
    let new = store.commit(writes([put("a", "2")])).await.unwrap();
    let ahead = Revision(new.0 + 1);
    let cases = [
        (vec![], None),
        (vec![absent("c")], None),
        (vec![unchanged("a", new)], None),
        (vec![unchanged("a", new), unchanged("b", old), absent("c")], None),
        (vec![absent("a")], Some("a")),
        (vec![unchanged("a", old)], Some("a")),
        (vec![unchanged("a", ahead)], Some("a")),
        (vec![unchanged("a", Revision(u64::MAX))], Some("a")),
        (vec![unchanged("c", new)], Some("c")),
        (vec![unchanged("c", Revision::ZERO)], Some("c")),
        (vec![unchanged("a", new), absent("b"), absent("c")], Some("b")),
    ];
    for (expectations, refused_at) in cases {
        let commit =
            Commit { expectations: expectations.clone(), writes: vec![put("unrelated", "")] };
        let refusal = store.commit(commit).await.err();
        let expected = refused_at.map(|at| StoreError::Conflict(key(at)));
        assert_eq!(refusal, expected, "{expectations:?}");
    }
}

async fn a_conflict_leaves_nothing(store: &dyn Store) {
    let before = store.commit(writes([put("a", "1")])).await.unwrap();
    let refused = Commit {
        expectations: vec![absent("b"), absent("a")],
        writes: vec![put("b", "2"), delete("a"), put("c", "2")],
    };
    assert_eq!(store.commit(refused).await, Err(StoreError::Conflict(key("a"))));
    let page = store.list("", None, 10).await.unwrap();
    assert_eq!(page.entries, [entry("a", "1", before)]);
    assert_eq!(page.revision, before);
}

async fn a_deleted_key_is_absent(store: &dyn Store) {
    let first = store.commit(writes([put("a", "1")])).await.unwrap();
    store.commit(writes([delete("a")])).await.unwrap();
    assert_eq!(store.get(&key("a")).await, Ok(None));
    let stale = Commit { expectations: vec![unchanged("a", first)], writes: vec![put("a", "2")] };
    assert_eq!(store.commit(stale).await, Err(StoreError::Conflict(key("a"))));
    let fresh = Commit { expectations: vec![absent("a")], writes: vec![put("a", "3")] };
    let revision = store.commit(fresh).await.unwrap();
    assert_eq!(store.get(&key("a")).await, Ok(Some(entry("a", "3", revision))));
}

async fn a_listing_is_in_key_order(store: &dyn Store) {
    // Byte order: upper case before lower case, and what is beyond the basic plane after what is within.
    let order = ["A", "a", "a/b", "a0", "aa", "b", "\u{ffff}", "\u{10000}"];
    for at in order.iter().rev() {
        store.commit(writes([put(at, "")])).await.unwrap();
    }
    assert_eq!(listed(store, "", None, 100).await, order);
    assert_eq!(listed(store, "", None, 3).await, order[..3]);
    assert_eq!(listed(store, "", None, 0).await, [""; 0]);
    assert_eq!(listed(store, "", None, usize::MAX).await, order);
}

async fn a_listing_keeps_to_its_prefix(store: &dyn Store) {
    let keys =
        ["a", "a/", "a/1", "a/\u{10ffff}", "a0", "a_1", "a%", "b", "\u{10ffff}", "\u{10ffff}1"];
    store.commit(writes(keys.map(|at| put(at, "")))).await.unwrap();
    let cases: [(&str, &[&str]); 8] = [
        ("a/", &["a/", "a/1", "a/\u{10ffff}"]),
        ("a/1", &["a/1"]),
        ("a/\u{10ffff}", &["a/\u{10ffff}"]),
        ("a_", &["a_1"]),
        ("a%", &["a%"]),
        ("A", &[]),
        ("c", &[]),
        ("\u{10ffff}", &["\u{10ffff}", "\u{10ffff}1"]),
    ];
    for (prefix, expected) in cases {
        assert_eq!(listed(store, prefix, None, 100).await, expected, "{prefix:?}");
    }
}

async fn a_listing_goes_on_after_a_key(store: &dyn Store) {
    let keys = ["a/1", "a/2", "a/2\0", "a/3", "b/1"];
    store.commit(writes(keys.map(|at| put(at, "")))).await.unwrap();
    let cases: [(&str, &str, &[&str]); 7] = [
        ("a/", "a/1", &["a/2", "a/2\0", "a/3"]),
        ("a/", "a/2", &["a/2\0", "a/3"]),
        ("a/", "a/25", &["a/3"]),
        ("a/", "a/3", &[]),
        ("a/", "", &["a/1", "a/2", "a/2\0", "a/3"]),
        ("b/", "a/3", &["b/1"]),
        ("a/", "c", &[]),
    ];
    for (prefix, after, expected) in cases {
        assert_eq!(listed(store, prefix, Some(after), 100).await, expected, "{prefix} {after}");
    }
}

async fn changes_are_in_commit_order(store: &dyn Store) {
    let first = store.commit(writes([put("z", "1"), put("y", "1")])).await.unwrap();
    let second = store.commit(writes([put("a", "2")])).await.unwrap();
    let batch = store.changes("", Revision::ZERO).await.unwrap();
    let mut changes = batch.changes;
    // Within one commit there is no order.
    changes.sort_by(|a, b| (a.revision, &a.key).cmp(&(b.revision, &b.key)));
    let expected = [changed("y", "1", first), changed("z", "1", first), changed("a", "2", second)];
    assert_eq!(changes, expected);
    assert_eq!(batch.revision, second);
    let batch = store.changes("", first).await.unwrap();
    assert_eq!(batch.changes, [changed("a", "2", second)]);
}

async fn changes_may_skip_what_was_overwritten(store: &dyn Store) {
    let mut last = Revision::ZERO;
    for value in ["1", "2", "3"] {
        last = store.commit(writes([put("a", value)])).await.unwrap();
    }
    let batch = store.changes("", Revision::ZERO).await.unwrap();
    assert_eq!(batch.changes.last(), Some(&changed("a", "3", last)));
    assert!(batch.changes.is_sorted_by_key(|change| change.revision));
    assert_eq!(batch.revision, last);
}

async fn changes_tell_deletions(store: &dyn Store) {
    let put_at = store.commit(writes([put("a", "1"), put("b", "1")])).await.unwrap();
    let deleted_at = store.commit(writes([delete("a")])).await.unwrap();
    let batch = store.changes("", put_at).await.unwrap();
    assert_eq!(batch.changes, [Change { key: key("a"), value: None, revision: deleted_at }]);
    let again_at = store.commit(writes([put("a", "2")])).await.unwrap();
    let batch = store.changes("", put_at).await.unwrap();
    assert_eq!(batch.changes.last(), Some(&changed("a", "2", again_at)));
    let batch = store.changes("", deleted_at).await.unwrap();
    assert_eq!(batch.changes, [changed("a", "2", again_at)]);
}

async fn changes_keep_to_their_prefix(store: &dyn Store) {
    let first =
        store.commit(writes([put("a/1", ""), put("a0", ""), put("b/1", "")])).await.unwrap();
    let last = store.commit(writes([put("b/2", ""), delete("b/1")])).await.unwrap();
    let batch = store.changes("a/", Revision::ZERO).await.unwrap();
    assert_eq!(batch.changes, [changed("a/1", "", first)]);
    assert_eq!(batch.revision, last, "commits that touched other keys are passed");
    let batch = store.changes("a/", first).await.unwrap();
    assert_eq!((batch.changes, batch.revision), (vec![], last));
}

async fn changes_wait(store: Arc<dyn Store>) {
    let now = store.commit(writes([put("a", "1")])).await.unwrap();
    let reader = store.clone();
    let waiting = task::spawn(async move { reader.changes("", now).await });
    for _ in 0..100 {
        task::yield_now().await;
    }
    assert!(!waiting.is_finished(), "nothing has changed yet");
    let next = store.commit(writes([put("a", "2")])).await.unwrap();
    let batch = waiting.await.unwrap().unwrap();
    assert_eq!((batch.changes, batch.revision), (vec![changed("a", "2", next)], next));
}

async fn changes_wake_every_reader(store: Arc<dyn Store>) {
    let mut readers = JoinSet::new();
    for _ in 0..WRITERS {
        let store = store.clone();
        readers.spawn(async move { store.changes("a", Revision::ZERO).await.unwrap() });
    }
    task::yield_now().await;
    let revision = store.commit(writes([put("a", "1")])).await.unwrap();
    for batch in readers.join_all().await {
        assert_eq!(batch.changes, [changed("a", "1", revision)]);
    }
}

async fn concurrent_writers_lose_nothing(store: Arc<dyn Store>) {
    let at = key("counter");
    store.commit(writes([put("counter", "0")])).await.unwrap();
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (store, at) = (store.clone(), at.clone());
        writers.spawn(async move {
            for _ in 0..4 {
                while let Err(error) = increment(&*store, &at).await {
                    assert_eq!(error, StoreError::Conflict(at.clone()));
                }
            }
        });
    }
    writers.join_all().await;
    assert_eq!(count(&*store, &at).await, WRITERS * 4);
}

async fn a_reader_sees_commits_whole(store: Arc<dyn Store>) {
    let last = 100;
    let writer = store.clone();
    let writing = task::spawn(async move {
        for round in 0..=last {
            let value = round.to_string();
            writer.commit(writes([put("a", &value), put("b", &value)])).await.unwrap();
        }
    });
    let (mut after, mut seen) = (Revision::ZERO, None);
    while seen != Some(last) {
        let page = store.list("", None, 2).await.unwrap();
        assert!(page.entries.iter().all(|entry| entry.value == page.entries[0].value));
        let batch = store.changes("", after).await.unwrap();
        assert!(batch.revision > after);
        let values: Vec<_> = batch.changes.iter().rev().take(2).map(|c| c.value.clone()).collect();
        assert_eq!(values.len(), 2);
        assert_eq!(values[0], values[1], "half of a commit");
        seen = Some(text(values[0].as_ref().unwrap()).parse::<u32>().unwrap());
        after = batch.revision;
    }
    writing.await.unwrap();
}

async fn a_large_value_is_kept(store: &dyn Store) {
    let value: Arc<[u8]> = (0..=u8::MAX).cycle().take(1 << 20).collect();
    store.commit(writes([Write::Put(key("a"), value.clone())])).await.unwrap();
    assert!(store.get(&key("a")).await.unwrap().unwrap().value == value);
}

/// A reader that is further behind than `deletions_kept_max` deletions must list again, and one that is not need not.
pub async fn compaction(store: &dyn Store, deletions_kept_max: usize) {
    let names: Vec<_> = (0..deletions_kept_max + 2).map(|n| format!("k/{n}")).collect();
    let first = store.commit(writes(names.iter().map(|name| put(name, "1")))).await.unwrap();
    let mut deleted = Vec::new();
    for name in &names {
        deleted.push(store.commit(writes([delete(name)])).await.unwrap());
    }
    for after in [Revision::ZERO, first, deleted[0]] {
        assert_eq!(store.changes("", after).await, Err(StoreError::Compacted), "{after}");
        assert_eq!(store.changes("elsewhere", after).await, Err(StoreError::Compacted), "{after}");
    }
    let batch = store.changes("k/", deleted[1]).await.unwrap();
    let told: Vec<_> = batch.changes.iter().map(|change| change.revision).collect();
    assert_eq!(told, deleted[2..]);

    // A key that stands again is no deletion any more and makes room for another one.
    store.commit(writes([put(&names[2], "2")])).await.unwrap();
    store.commit(writes([put("k/other", "")])).await.unwrap();
    store.commit(writes([delete("k/other")])).await.unwrap();
    store.changes("k/", deleted[1]).await.unwrap();
}

/// What holds when calls fail or their replies are lost: what was acknowledged stands, what was refused does not,
/// and retrying with expectations never does a thing twice.
pub async fn faults(make: impl AsyncFn() -> Arc<dyn Store>) {
    for seed in 0..8 {
        let plan = FaultPlan { seed, fail_percent: 15, lose_reply_percent: 15 };
        let inner = make().await;
        let faulty = Arc::new(FaultyStore::new(inner.clone(), plan));
        acknowledged_stands_and_refused_does_not(faulty.clone(), &*inner).await;
        retries_count_once_each(faulty, &*inner).await;
    }
}

async fn acknowledged_stands_and_refused_does_not(store: Arc<dyn Store>, inner: &dyn Store) {
    inner.commit(writes([put("taken", "")])).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let (good, bad) = (format!("good/{writer}"), format!("bad/{writer}"));
            let refused =
                Commit { expectations: vec![absent("taken")], writes: vec![put(&bad, "")] };
            assert_eq!(insist(&*store, refused).await, Err(StoreError::Conflict(key("taken"))));
            insist(&*store, writes([put(&good, "")])).await.unwrap();
        });
    }
    writers.join_all().await;
    assert_eq!(listed(inner, "good/", None, usize::MAX).await.len(), WRITERS as usize);
    assert_eq!(listed(inner, "bad/", None, usize::MAX).await, [""; 0]);
}

async fn retries_count_once_each(store: Arc<dyn Store>, inner: &dyn Store) {
    let at = key("counter");
    inner.commit(writes([put("counter", "0")])).await.unwrap();
    let (mut done, mut unknown) = (0, 0);
    for _ in 0..100 {
        match increment(&*store, &at).await {
            Ok(_) => done += 1,
            Err(StoreError::Unavailable(_)) => unknown += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let counted = count(inner, &at).await;
    assert!((done..=done + unknown).contains(&counted), "{done} + {unknown}: {counted}");
}

/// Commits until the store answers; only for commits that may take effect twice.
async fn insist(store: &dyn Store, commit: Commit) -> Result<Revision, StoreError> {
    loop {
        match store.commit(commit.clone()).await {
            Err(StoreError::Unavailable(_)) => {}
            answer => return answer,
        }
    }
}

async fn increment(store: &dyn Store, at: &StoreKey) -> Result<Revision, StoreError> {
    let entry = store.get(at).await?.unwrap();
    let next = text(&entry.value).parse::<u32>().unwrap() + 1;
    let expectations = vec![Expectation::Unchanged(at.clone(), entry.revision)];
    let writes = vec![Write::Put(at.clone(), bytes(&next.to_string()))];
    store.commit(Commit { expectations, writes }).await
}

async fn count(store: &dyn Store, at: &StoreKey) -> u32 {
    text(&store.get(at).await.unwrap().unwrap().value).parse().unwrap()
}

async fn listed(store: &dyn Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let page = store.list(prefix, after.map(StoreKey::new).as_ref(), limit).await.unwrap();
    page.entries.iter().map(|entry| entry.key.to_string()).collect()
}

fn key(text: &str) -> StoreKey {
    StoreKey::new(text)
}

fn bytes(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

fn entry(at: &str, value: &str, revision: Revision) -> Entry {
    Entry { key: key(at), value: bytes(value), revision }
}

fn changed(at: &str, value: &str, revision: Revision) -> Change {
    Change { key: key(at), value: Some(bytes(value)), revision }
}

fn put(at: &str, value: &str) -> Write {
    Write::Put(key(at), bytes(value))
}

fn delete(at: &str) -> Write {
    Write::Delete(key(at))
}

fn absent(at: &str) -> Expectation {
    Expectation::Absent(key(at))
}

fn unchanged(at: &str, revision: Revision) -> Expectation {
    Expectation::Unchanged(key(at), revision)
}

fn writes(writes: impl IntoIterator<Item = Write>) -> Commit {
    Commit { expectations: vec![], writes: writes.into_iter().collect() }
}
