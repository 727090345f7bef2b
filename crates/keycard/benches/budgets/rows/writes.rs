//! Durable control-plane writes by many writers, beside the store's own group commit of the same rows.
//!
//! Nothing outside the store knows SQLite, so the reference is the store: the rows of one such request, read from the
//! data directory, are committed again under new keys by as many writers, on the same disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keycard_domain::store::{Commit, Entry, Expectation, Store, StoreKey, Write};
use keycard_store::sqlite::SqliteStore;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{SLICES, add, by_thread, micros};
use crate::cloud::{Cloud, Requests};
use crate::load::{median, side_by_side};
use crate::process::{Keycard, load_generator_nanos};
use crate::report::{Budget, Reference, Row};
use crate::wire::Connection;
use crate::{Outcome, Settings};

pub(crate) const WRITES: &str = "durable control-plane writes (PUT identity), 64 writers";

const WRITERS: usize = 64;
const SLICE: Duration = Duration::from_millis(500);

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let directory = settings.temporary_directory()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let model = runtime.block_on(rows_of_a_new_identity(settings, directory.path()))?;
    // The second start finds its master key only with the first one's configuration, so it gets new data.
    let fresh = directory.path().join("fresh").to_string_lossy().into_owned();
    let keycard = Keycard::up(settings, &["--data-dir", &fresh])?;
    let requests = Cloud::begin(&keycard)?.requests;
    let mut connections =
        (0..WRITERS).map(|_| keycard.loopback().connect()).collect::<Outcome<Vec<_>>>()?;
    let raw = Raw {
        store: Arc::new(SqliteStore::open(&directory.path().join("raw"))?),
        runtime,
        model,
        next: Arc::default(),
    };

    let next = AtomicUsize::new(0);
    let (mut rates, mut raw_rates) = (Vec::new(), Vec::new());
    let (mut used, mut generator, mut written) = (BTreeMap::new(), 0, 0);
    for _ in 0..SLICES {
        let (before, generator_before) = (keycard.cpu()?, load_generator_nanos()?);
        let (count, rate) = wire_slice(&requests, &mut connections, &next)?;
        add(&mut used, &keycard.cpu()?.since(&before));
        generator += load_generator_nanos()? - generator_before;
        written += count;
        rates.push(rate);
        raw_rates.push(raw.slice()?);
    }
    let bytes: usize = raw.model.iter().map(|entry| entry.value.len()).sum();
    Ok(vec![Row {
        name: WRITES,
        value: median(&rates),
        unit: "writes/s",
        reference: Reference::Measured { what: "SqliteStore::commit", value: median(&raw_rates) },
        budget: Budget::RatioAtLeast(0.5),
        notes: vec![
            format!("a write is {} rows of {bytes} bytes in all", raw.model.len()),
            by_thread("a write", &used, written as f64),
            format!(
                "the load generator takes {:.1} µs of the same CPUs for each",
                micros(generator, written as f64)
            ),
        ],
    }])
}

/// The rows that a server writes in a data directory when it makes an identity.
pub(super) async fn rows_of_a_new_identity(
    settings: &Settings,
    directory: &Path,
) -> Outcome<Vec<Entry>> {
    let data = directory.join("data");
    {
        let keycard = Keycard::up(settings, &["--data-dir", &data.to_string_lossy()])?;
        Cloud::begin(&keycard)?.put_identity("model")?;
    }
    last_commit(&data).await
}

/// The entries that the last commit in a data directory wrote.
async fn last_commit(data: &Path) -> Outcome<Vec<Entry>> {
    let store = SqliteStore::open(data)?;
    let entries = store.list("", None, 1000).await?.entries;
    let last = entries.iter().map(|entry| entry.revision).max().ok_or("nothing was written")?;
    Ok(entries.into_iter().filter(|entry| entry.revision == last).collect())
}

/// Writers over the wire for the time of a slice: how many writes, and how many a second.
fn wire_slice(
    requests: &Requests,
    connections: &mut [Connection],
    next: &AtomicUsize,
) -> Outcome<(usize, f64)> {
    let begin = Instant::now();
    let counts = side_by_side(connections, |_, connection| {
        let mut count = 0;
        while begin.elapsed() < SLICE {
            let number = next.fetch_add(1, Ordering::Relaxed);
            connection.accepted(&requests.put_identity(&format!("identity-{number}")))?;
            count += 1;
        }
        Ok(count)
    })?;
    let count: usize = counts.iter().sum();
    Ok((count, count as f64 / begin.elapsed().as_secs_f64()))
}

/// The store alone.
struct Raw {
    store: Arc<SqliteStore>,
    runtime: Runtime,
    model: Vec<Entry>,
    next: Arc<AtomicUsize>,
}

impl Raw {
    /// Commits a second.
    fn slice(&self) -> Outcome<f64> {
        let begin = Instant::now();
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (store, model) = (Arc::clone(&self.store), self.model.clone());
                let next = Arc::clone(&self.next);
                self.runtime.spawn(async move {
                    let mut count = 0;
                    while begin.elapsed() < SLICE {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        store.commit(copy(&model, number)).await?;
                        count += 1;
                    }
                    Outcome::Ok(count)
                })
            })
            .collect();
        let mut count = 0;
        for writer in writers {
            count += self.runtime.block_on(writer)??;
        }
        Ok(f64::from(count) / begin.elapsed().as_secs_f64())
    }
}

/// The same rows under new keys.
pub(super) fn copy(model: &[Entry], number: usize) -> Commit {
    let mut commit = Commit::default();
    for entry in model {
        let key = StoreKey::new(fresh_key(entry.key.as_str(), number));
        commit.expectations.push(Expectation::Absent(key.clone()));
        commit.writes.push(Write::Put(key, Arc::clone(&entry.value)));
    }
    commit
}

/// A key that lies where the next one of its kind would: ids anywhere, times behind each other, names as they are.
fn fresh_key(key: &str, number: usize) -> String {
    const ID_BYTES: usize = 36;
    const TIME_BYTES: usize = 15;
    let (head, tail) = key.split_at(key.len().saturating_sub(ID_BYTES));
    if Uuid::try_parse(tail).is_err() {
        return format!("{key}-{number}");
    }
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_le_bytes());
    match head.strip_suffix('-').and_then(|head| head.len().checked_sub(TIME_BYTES)) {
        Some(time) => format!("{}{number:0TIME_BYTES$}-{id}", &head[..time]),
        None => format!("{head}{id}"),
    }
}
