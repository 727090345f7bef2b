//! What it costs when a token ends that ten thousand callers share.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cloud::{Cloud, metadata_request, text};
use crate::process::Keycard;
use crate::report::{Budget, Reference, Row};
use crate::wire::Connection;
use crate::{Outcome, Settings};

pub(crate) const NEW_TOKENS: &str = "10,000 callers at the end of a token, new tokens made";

const IDENTITIES: usize = 4;
const CONNECTIONS_PER_IDENTITY: usize = 250;
const ROUNDS: usize = 10;
/// A token's life, and a minute.
const ADVANCE_SECONDS: u32 = 8 * 3600 + 60;

/// A connection to the endpoint of an identity, and the request for its token.
type Caller = (Connection, Vec<u8>);

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let keycard = Keycard::up(settings, &[])?;
    let mut cloud = Cloud::begin(&keycard)?;
    let mut callers: Vec<Caller> = Vec::new();
    for number in 0..IDENTITIES {
        let name = format!("vm-{number}");
        cloud.put_vm(&name)?;
        let endpoint = cloud.metadata_endpoint(&name)?;
        for _ in 0..CONNECTIONS_PER_IDENTITY {
            callers.push((endpoint.connect()?, metadata_request(&endpoint, "")));
        }
    }
    let former = ask_at_once(&mut callers)?;
    let body = json!({ "seconds": ADVANCE_SECONDS });
    cloud.arm("POST", "/providers/Keycard.Local/advanceClock", "2026-11-01", &body)?;
    let begin = Instant::now();
    let mut tokens = ask_at_once(&mut callers)?;
    let first_round = begin.elapsed();
    for _ in 1..ROUNDS {
        tokens.append(&mut ask_at_once(&mut callers)?);
    }
    let ended = tokens.intersection(&former).count();
    if ended > 0 {
        return Err(format!("{ended} callers were given a token that had ended").into());
    }
    Ok(vec![Row {
        name: NEW_TOKENS,
        value: tokens.len() as f64,
        unit: "tokens",
        reference: Reference::Measured { what: "identities", value: IDENTITIES as f64 },
        budget: Budget::RatioAtMost(1.0),
        notes: vec![format!(
            "{} callers at once, {ROUNDS} times; all of the first time were answered after {:.0} ms",
            callers.len(),
            first_round.as_secs_f64() * 1000.0
        )],
    }])
}

/// Lets every caller ask before the first answer is read; the tokens that they were given.
fn ask_at_once(callers: &mut [Caller]) -> Outcome<BTreeSet<String>> {
    callers.iter_mut().try_for_each(|(connection, request)| connection.send(request))?;
    let answers = callers.iter_mut().map(|(connection, _)| match connection.receive()? {
        (200, body) => {
            let answer: Value = serde_json::from_slice(body)?;
            Ok(text(&answer, "/access_token")?.to_owned())
        }
        (status, body) => Err(format!("status {status}: {}", String::from_utf8_lossy(body)).into()),
    });
    answers.collect()
}
