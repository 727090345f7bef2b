//! A restart with a million role assignments in the data directory, and what they weigh.
//!
//! They are written to the store while no server runs, as the server would write them.

use std::path::Path;
use std::time::Instant;

use keycard_domain::store::{Commit, Store, StoreKey, Write};
use keycard_store::sqlite::SqliteStore;

use crate::load::{median, percentile};
use crate::process::Keycard;
use crate::report::{Budget, Reference, Row};
use crate::wire::request;
use crate::world::World;
use crate::{Outcome, Settings};

pub(crate) const RESTART: &str = "restart with 1,000,000 role assignments, to the first answer";
pub(crate) const MEMORY: &str = "resident memory with 1,000,000 role assignments";

const ASSIGNMENTS: usize = 1_000_000;
const WRITES_PER_COMMIT: usize = 5_000;
const RESTARTS: usize = 3;

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let directory = settings.temporary_directory()?;
    let data = directory.path().join("data");
    let data_argument = data.to_string_lossy();
    let up = || Keycard::up_in(settings, directory.path(), &["--data-dir", &data_argument]);
    let (tenant, empty) = {
        let keycard = up()?;
        (keycard.description.tenant_id.parse()?, keycard.resident_mib()?)
    };
    let begin = Instant::now();
    fill(&data, &World::new(tenant, ASSIGNMENTS))?;
    let filled = begin.elapsed().as_secs_f64();
    let (mut restarts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..RESTARTS {
        let begin = Instant::now();
        let keycard = up()?;
        let login = keycard.loopback();
        let path = format!("/{tenant}/v2.0/.well-known/openid-configuration");
        login.connect()?.accepted(&request("GET", &login.authority(), &path, &[], ""))?;
        restarts.push(begin.elapsed().as_secs_f64());
        memory.push(keycard.resident_mib()?);
    }
    let (low, high) = (percentile(&restarts, 0.0), percentile(&restarts, 1.0));
    let (full, principals) = (median(&memory), ASSIGNMENTS / 10);
    let each = (full - empty) * 1024.0 / ASSIGNMENTS as f64;
    Ok(vec![
        Row {
            name: RESTART,
            value: median(&restarts),
            unit: "s",
            reference: Reference::None,
            budget: Budget::ValueBelow(15.0),
            notes: vec![
                format!(
                    "of {principals} principals; {low:.2} to {high:.2} s in {RESTARTS} restarts"
                ),
                format!("making and storing them took {filled:.0} s"),
            ],
        },
        Row {
            name: MEMORY,
            value: full,
            unit: "MiB",
            reference: Reference::None,
            budget: Budget::None,
            notes: vec![format!("{empty:.1} MiB before the first; {each:.2} KiB each")],
        },
    ])
}

/// Commits a world to the store of a data directory.
fn fill(data: &Path, world: &World) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = SqliteStore::open(data)?;
        // In the order of the keys, which the database takes fastest.
        let mut writes: Vec<(StoreKey, Write)> = world.writes().collect();
        writes.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut writes = writes.into_iter().map(|(_, write)| write);
        loop {
            let writes: Vec<Write> = writes.by_ref().take(WRITES_PER_COMMIT).collect();
            if writes.is_empty() {
                return Ok(());
            }
            store.commit(Commit { expectations: Vec::new(), writes }).await?;
        }
    })
}
