//! Ten thousand user-assigned identities, made over the wire: how fast, and what they weigh, beside the store's own commits
//! of the same rows.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use keycard_domain::store::Store;
use keycard_store::memory::MemoryStore;

use super::writes::{copy, rows_of_a_new_identity};
use crate::cloud::Cloud;
use crate::load::side_by_side;
use crate::process::Keycard;
use crate::report::{Budget, Reference, Row};
use crate::wire::Connection;
use crate::{Outcome, Settings};

pub(crate) const CREATION: &str = "identities created over the wire, 16 connections";
pub(crate) const MEMORY: &str = "resident memory with 10,000 identities";

const IDENTITIES: usize = 10_000;
const CONNECTIONS: usize = 16;
/// Memory is looked at when the connections are gone and the server rests.
const REST: Duration = Duration::from_secs(1);

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let keycard = Keycard::up(settings, &[])?;
    let requests = Cloud::begin(&keycard)?.requests;
    let empty = keycard.resident_mib()?;
    let mut connections =
        (0..CONNECTIONS).map(|_| keycard.loopback().connect()).collect::<Outcome<Vec<_>>>()?;
    let begin = Instant::now();
    side_by_side(&mut connections, |first, connection: &mut Connection| {
        for number in (first..IDENTITIES).step_by(CONNECTIONS) {
            connection.accepted(&requests.put_identity(&format!("identity-{number}")))?;
        }
        Ok(())
    })?;
    let elapsed = begin.elapsed().as_secs_f64();
    drop(connections);
    thread::sleep(REST);
    let full = keycard.resident_mib()?;
    let each = (full - empty) * 1024.0 / IDENTITIES as f64;
    let raw = Raw::measure(settings)?;
    Ok(vec![
        Row {
            name: CREATION,
            value: IDENTITIES as f64 / elapsed,
            unit: "identities/s",
            reference: Reference::Measured { what: "MemoryStore::commit", value: raw.rate },
            budget: Budget::None,
            notes: Vec::new(),
        },
        Row {
            name: MEMORY,
            value: full,
            unit: "MiB",
            reference: Reference::None,
            budget: Budget::ValueBelow(60.0),
            notes: vec![format!(
                "{empty:.1} MiB before the first; {each:.1} KiB each, of which the store's rows are {:.1} KiB",
                raw.kib_each
            )],
        },
    ])
}

/// The store in memory alone.
struct Raw {
    /// Commits a second.
    rate: f64,
    /// What the rows of one identity weigh, keys and values.
    kib_each: f64,
}

impl Raw {
    fn measure(settings: &Settings) -> Outcome<Self> {
        let directory = settings.temporary_directory()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let model = runtime.block_on(rows_of_a_new_identity(settings, directory.path()))?;
        let store = Arc::new(MemoryStore::default());
        let bytes: usize = model.iter().map(|row| row.key.as_str().len() + row.value.len()).sum();
        let begin = Instant::now();
        let writers: Vec<_> = (0..CONNECTIONS)
            .map(|first| {
                let (store, model) = (Arc::clone(&store), model.clone());
                runtime.spawn(async move {
                    for number in (first..IDENTITIES).step_by(CONNECTIONS) {
                        store.commit(copy(&model, number)).await?;
                    }
                    Outcome::Ok(())
                })
            })
            .collect();
        for writer in writers {
            runtime.block_on(writer)??;
        }
        let rate = IDENTITIES as f64 / begin.elapsed().as_secs_f64();
        Ok(Self { rate, kib_each: bytes as f64 / 1024.0 })
    }
}
