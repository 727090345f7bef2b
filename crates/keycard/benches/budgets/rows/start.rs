//! Starting `keycard up`, and the size of the binary.

use std::fs;
use std::time::Instant;

use super::SLICES;
use crate::load::{median, percentile};
use crate::process::Keycard;
use crate::report::{Budget, Reference, Row};
use crate::wire::request;
use crate::{Outcome, Settings};

pub(crate) const START: &str = "start of up to first answer";
pub(crate) const BINARY: &str = "binary, stripped";

const BYTES_PER_MIB: f64 = 1024.0 * 1024.0;

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let mut starts = Vec::new();
    let mut lines = Vec::new();
    for _ in 0..SLICES {
        let begin = Instant::now();
        let keycard = Keycard::up(settings, &[])?;
        lines.push(begin.elapsed().as_secs_f64() * 1000.0);
        let login = keycard.loopback();
        let tenant = &keycard.description.tenant_id;
        let path = format!("/{tenant}/v2.0/.well-known/openid-configuration");
        let configuration = request("GET", &login.authority(), &path, &[], "");
        login.connect()?.accepted(&configuration)?;
        starts.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    let (line, longest) = (median(&lines), percentile(&starts, 1.0));
    let bytes = fs::metadata(&settings.binary)?.len() as f64;
    Ok(vec![
        Row {
            name: START,
            value: median(&starts),
            unit: "ms",
            reference: Reference::None,
            budget: Budget::ValueBelow(100.0),
            notes: vec![format!(
                "the line of JSON after {line:.0} ms, the rest is TLS and one GET; longest {longest:.0} ms"
            )],
        },
        Row {
            name: BINARY,
            value: bytes / BYTES_PER_MIB,
            unit: "MiB",
            reference: Reference::None,
            budget: Budget::ValueBelow(25.0),
            notes: Vec::new(),
        },
    ])
}
