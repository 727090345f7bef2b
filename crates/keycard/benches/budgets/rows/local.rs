//! What a local endpoint costs beside tokens: answers to probes, connections that only wait, and `keycard run`.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cloud::{Cloud, metadata_request};
use crate::load::{median, percentile};
use crate::process::Keycard;
use crate::report::{Budget, Reference, Row};
use crate::wire::{Connection, Target, request};
use crate::{Outcome, Settings};

pub(crate) const PROBE: &str = "answer to a probe, p99";
pub(crate) const IDLE: &str = "memory of 10,000 idle connections";
pub(crate) const RUN: &str = "keycard run -- true, beside true";

const PROBES: usize = 1_000;
const IDLE_CONNECTIONS: usize = 10_000;
const RUNS: usize = 30;
/// Until the server has taken in what the kernel queued for it.
const REST: Duration = Duration::from_secs(1);

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let keycard = Keycard::up(settings, &[])?;
    let mut cloud = Cloud::begin(&keycard)?;
    cloud.put_vm("vm")?;
    let endpoint = cloud.metadata_endpoint("vm")?;
    Ok(vec![probe_row(&endpoint)?, idle_row(&keycard, &endpoint)?, run_row(settings, &keycard)?])
}

/// As credential chains ask: a new connection each time, and no `Metadata` header; or for what this VM does not have.
fn probe_row(endpoint: &Target) -> Outcome<Row> {
    let authority = endpoint.authority();
    let token = "/metadata/identity/oauth2/token?api-version=2018-02-01";
    let platform = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";
    let probes = [
        (request("GET", &authority, token, &[], ""), 400),
        (request("GET", &authority, platform, &[("Metadata", "true")], ""), 404),
    ];
    let mut latencies = Vec::new();
    for _ in 0..PROBES {
        for (probe, expected) in &probes {
            let begin = Instant::now();
            let (status, _) = endpoint.connect()?.exchange_json(probe)?;
            latencies.push(begin.elapsed().as_secs_f64() * 1000.0);
            if status != *expected {
                return Err(format!("a probe gave {status}, not {expected}").into());
            }
        }
    }
    Ok(Row {
        name: PROBE,
        value: percentile(&latencies, 0.99),
        unit: "ms",
        reference: Reference::None,
        budget: Budget::ValueBelow(10.0),
        notes: vec![format!("p50 {:.3} ms, over new connections", median(&latencies))],
    })
}

fn idle_row(keycard: &Keycard, endpoint: &Target) -> Outcome<Row> {
    let wanted = metadata_request(endpoint, "");
    endpoint.connect()?.accepted(&wanted)?;
    let before = keycard.resident_mib()?;
    let idle: Vec<Connection> =
        (0..IDLE_CONNECTIONS - 1).map(|_| endpoint.connect()).collect::<Outcome<_>>()?;
    // One more is served among them, so they were all taken in.
    endpoint.connect()?.accepted(&wanted)?;
    thread::sleep(REST);
    let with = keycard.resident_mib()?;
    drop(idle);
    Ok(Row {
        name: IDLE,
        value: with - before,
        unit: "MiB",
        reference: Reference::None,
        budget: Budget::ValueBelow(150.0),
        notes: vec![format!(
            "{:.1} KiB each; {before:.1} MiB before",
            (with - before) * 1024.0 / IDLE_CONNECTIONS as f64
        )],
    })
}

fn run_row(settings: &Settings, keycard: &Keycard) -> Outcome<Row> {
    let plain = || timed(&mut Command::new("true"));
    let sandboxed = || {
        let mut command = Command::new(&settings.binary);
        command.args(["run", "--as", "vm", "--credentials"]).arg(keycard.server_file());
        timed(command.args(["--", "true"]))
    };
    // The first one finds the files of authorities cold.
    sandboxed()?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        with.push(sandboxed()?);
        without.push(plain()?);
    }
    let longest = percentile(&with, 1.0);
    Ok(Row {
        name: RUN,
        value: median(&with) - median(&without),
        unit: "ms",
        reference: Reference::Measured { what: "true", value: median(&without) },
        budget: Budget::ValueBelow(25.0),
        notes: vec![format!("median of {RUNS}; longest {longest:.1} ms")],
    })
}

/// How long a command takes that has to succeed, milliseconds.
fn timed(command: &mut Command) -> Outcome<f64> {
    let begin = Instant::now();
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output()?;
    let elapsed = begin.elapsed().as_secs_f64() * 1000.0;
    if output.status.success() {
        return Ok(elapsed);
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}
