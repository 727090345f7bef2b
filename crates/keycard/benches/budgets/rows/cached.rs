//! A cached token at a VM's metadata endpoint, beside nginx with the same bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{SLICES, add, by_thread, micros};
use crate::cloud::{Cloud, metadata_request};
use crate::load::{Client, median, open_loop, percentile, rounds};
use crate::process::{Counter, CpuTimes, Keycard, Nginx};
use crate::report::{Budget, Reference, Row};
use crate::wire::Target;
use crate::{Outcome, Settings};

pub(crate) const CPU: &str = "cached token, server CPU per request";
pub(crate) const LATENCY: &str = "cached token, p99 at 2,000 requests/s";
pub(crate) const INSTRUCTIONS: &str = "cached token, user instructions per request";

const CONNECTIONS: usize = 16;
/// Short and many: what else runs on the machine then hits both servers alike.
const CPU_SLICES: usize = 21;
/// Requests over each connection in a slice.
const ROUNDS: usize = 1_000;
/// Instructions do not vary much.
const COUNTED_ROUNDS: usize = 100;
const PACED_CONNECTIONS: usize = 8;
const RATE: u32 = 2_000;
/// Half a second's.
const PACED_REQUESTS: u32 = 1_000;

/// A server with the request that it is asked.
struct Subject<'a> {
    target: Target,
    request: Vec<u8>,
    cpu: &'a dyn Fn() -> Outcome<CpuTimes>,
    cpu_slices: Vec<f64>,
    by_thread: BTreeMap<String, u64>,
    latencies: Vec<f64>,
    p99_slices: Vec<f64>,
}

impl<'a> Subject<'a> {
    fn new(target: Target, cpu: &'a dyn Fn() -> Outcome<CpuTimes>) -> Self {
        let request = metadata_request(&target, "");
        let (cpu_slices, latencies, p99_slices) = (Vec::new(), Vec::new(), Vec::new());
        let by_thread = BTreeMap::new();
        Self { target, request, cpu, cpu_slices, by_thread, latencies, p99_slices }
    }

    fn cpu_slice(&mut self) -> Outcome<()> {
        let mut clients = clients(&self.target, &self.request, CONNECTIONS)?;
        let before = (self.cpu)()?;
        rounds(&mut clients, ROUNDS)?;
        let used = (self.cpu)()?.since(&before);
        self.cpu_slices.push(micros(used.values().sum(), requests()));
        add(&mut self.by_thread, &used);
        Ok(())
    }

    fn latency_slice(&mut self) -> Outcome<()> {
        let mut clients = clients(&self.target, &self.request, PACED_CONNECTIONS)?;
        let latencies = open_loop(&mut clients, RATE, PACED_REQUESTS)?;
        let latencies: Vec<f64> =
            latencies.iter().map(Duration::as_secs_f64).map(|seconds| seconds * 1000.0).collect();
        self.p99_slices.push(percentile(&latencies, 0.99));
        self.latencies.extend(latencies);
        Ok(())
    }
}

fn clients(target: &Target, request: &[u8], count: usize) -> Outcome<Vec<Client>> {
    (0..count).map(|_| Client::warmed_up(target, request.to_vec())).collect()
}

fn requests() -> f64 {
    (CONNECTIONS * ROUNDS) as f64
}

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let keycard = Keycard::up(settings, &[])?;
    let endpoint = endpoint(&keycard)?;
    let mut connection = endpoint.connect()?;
    let (_, body) = connection.exchange(&metadata_request(&endpoint, ""))?;
    let body = std::str::from_utf8(body)?.to_owned();

    let nginx = Nginx::serve(settings, &body);
    let keycard_cpu = || keycard.cpu();
    let nginx_cpu =
        || nginx.as_ref().map_or_else(|error| Err(error.to_string().into()), Nginx::cpu);
    let mut subjects = vec![Subject::new(endpoint, &keycard_cpu)];
    if let Ok(nginx) = &nginx {
        subjects.push(Subject::new(Target::plain(nginx.port), &nginx_cpu));
    }
    for _ in 0..CPU_SLICES {
        subjects.iter_mut().try_for_each(Subject::cpu_slice)?;
    }
    for _ in 0..SLICES {
        subjects.iter_mut().try_for_each(Subject::latency_slice)?;
    }
    let missing = nginx.as_ref().err().map(ToString::to_string);
    Ok(vec![
        cpu_row(&subjects, missing.clone()),
        latency_row(&subjects, missing),
        instructions_row(settings, &body),
    ])
}

/// The metadata endpoint of a new VM.
fn endpoint(keycard: &Keycard) -> Outcome<Target> {
    let mut cloud = Cloud::begin(keycard)?;
    cloud.put_vm("vm")?;
    cloud.metadata_endpoint("vm")
}

fn reference(value: Option<f64>, missing: Option<String>) -> Reference {
    match (value, missing) {
        (Some(value), _) => Reference::Measured { what: "nginx", value },
        (None, why) => Reference::Missing(why.unwrap_or_default()),
    }
}

fn cpu_row(subjects: &[Subject<'_>], missing: Option<String>) -> Row {
    let nginx = subjects.get(1).map(|nginx| median(&nginx.cpu_slices));
    let count = requests() * CPU_SLICES as f64;
    let mut notes = vec![by_thread("a cached token", &subjects[0].by_thread, count)];
    for (name, subject) in ["keycard", "nginx"].iter().zip(subjects) {
        let (low, high) =
            (percentile(&subject.cpu_slices, 0.0), percentile(&subject.cpu_slices, 1.0));
        notes.push(format!("{name}: {low:.2} to {high:.2} µs in {CPU_SLICES} slices"));
    }
    Row {
        name: CPU,
        value: median(&subjects[0].cpu_slices),
        unit: "µs",
        reference: reference(nginx, missing),
        budget: Budget::RatioAtMost(1.05),
        notes,
    }
}

fn latency_row(subjects: &[Subject<'_>], missing: Option<String>) -> Row {
    let of = |share: f64| percentile(&subjects[0].latencies, share);
    let (p50, p99, p999, most) = (of(0.5), of(0.99), of(0.999), of(1.0));
    Row {
        name: LATENCY,
        value: median(&subjects[0].p99_slices),
        unit: "ms",
        reference: reference(subjects.get(1).map(|nginx| median(&nginx.p99_slices)), missing),
        budget: Budget::ValueBelow(1.0),
        notes: vec![format!(
            "median of {SLICES} slices; of all: p50 {p50:.3} ms, p99 {p99:.3} ms, p99.9 {p999:.3} ms, longest {most:.3} ms"
        )],
    }
}

fn instructions_row(settings: &Settings, body: &str) -> Row {
    let counted = counted_keycard(settings);
    let notes = counted.as_ref().err().map(|error| format!("not measured: {error}"));
    let (nginx, missing) = match counted_nginx(settings, body) {
        Ok(nginx) => (Some(nginx), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Row {
        name: INSTRUCTIONS,
        value: counted.unwrap_or(f64::NAN),
        unit: "instructions",
        reference: reference(nginx, missing),
        budget: Budget::ValueBelow(12_000.0),
        notes: notes.into_iter().chain(["counted by callgrind".to_owned()]).collect(),
    }
}

fn counted_keycard(settings: &Settings) -> Outcome<f64> {
    let counter = Counter::new(settings)?;
    let keycard = Keycard::counted(settings, &counter)?;
    count(&counter, keycard.pid(), &endpoint(&keycard)?)?;
    drop(keycard);
    Ok(counter.instructions()? / counted_requests())
}

fn counted_nginx(settings: &Settings, body: &str) -> Outcome<f64> {
    let counter = Counter::new(settings)?;
    let nginx = Nginx::counted(settings, &counter, body)?;
    count(&counter, nginx.pid(), &Target::plain(nginx.port))?;
    drop(nginx);
    Ok(counter.instructions()? / counted_requests())
}

fn count(counter: &Counter, pid: u32, target: &Target) -> Outcome<()> {
    let mut clients = clients(target, &metadata_request(target, ""), CONNECTIONS)?;
    counter.switch(pid, "on")?;
    rounds(&mut clients, COUNTED_ROUNDS)?;
    counter.switch(pid, "off")
}

fn counted_requests() -> f64 {
    (CONNECTIONS * COUNTED_ROUNDS) as f64
}
