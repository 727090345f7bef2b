//! Ten thousand user-assigned identities, made over the wire: how fast, and what they weigh.

use std::thread;
use std::time::{Duration, Instant};

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
    Ok(vec![
        Row {
            name: CREATION,
            value: IDENTITIES as f64 / elapsed,
            unit: "identities/s",
            reference: Reference::None,
            budget: Budget::None,
            notes: Vec::new(),
        },
        Row {
            name: MEMORY,
            value: full,
            unit: "MiB",
            reference: Reference::None,
            budget: Budget::ValueBelow(60.0),
            notes: vec![format!("{empty:.1} MiB before the first; {each:.1} KiB each")],
        },
    ])
}
