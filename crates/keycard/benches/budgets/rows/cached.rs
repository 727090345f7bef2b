//! A cached token at a VM's metadata endpoint, beside nginx with the same bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{SLICES, add, by_thread, micros};
use crate::cloud::{Cloud, metadata_request};
use crate::load::{Client, closed_loop, median, open_loop, percentile};
use crate::process::{CpuTimes, Keycard, Nginx};
use crate::report::{Budget, Reference, Row};
use crate::wire::Target;
use crate::{Outcome, Settings};

pub(crate) const CPU: &str = "cached token, server CPU per request";
pub(crate) const LATENCY: &str = "cached token, p99 at 2,000 requests/s";

const CONNECTIONS: usize = 4;
const REQUESTS_PER_CONNECTION: usize = 4_000;
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
}

impl<'a> Subject<'a> {
    fn new(target: Target, cpu: &'a dyn Fn() -> Outcome<CpuTimes>) -> Self {
        let request = metadata_request(&target, "");
        let (cpu_slices, latencies) = (Vec::new(), Vec::new());
        Self { target, request, cpu, cpu_slices, by_thread: BTreeMap::new(), latencies }
    }

    fn clients(&self) -> Outcome<Vec<Client>> {
        (0..CONNECTIONS).map(|_| Client::warmed_up(&self.target, self.request.clone())).collect()
    }

    fn cpu_slice(&mut self) -> Outcome<()> {
        let mut clients = self.clients()?;
        let before = (self.cpu)()?;
        closed_loop(&mut clients, REQUESTS_PER_CONNECTION)?;
        let used = (self.cpu)()?.since(&before);
        self.cpu_slices.push(micros(used.values().sum(), requests()));
        add(&mut self.by_thread, &used);
        Ok(())
    }

    fn latency_slice(&mut self) -> Outcome<()> {
        let latencies = open_loop(&mut self.clients()?, RATE, PACED_REQUESTS)?;
        self.latencies.extend(latencies.iter().map(Duration::as_secs_f64).map(|s| s * 1000.0));
        Ok(())
    }

    fn p99(&self) -> f64 {
        percentile(&self.latencies, 0.99)
    }
}

fn requests() -> f64 {
    (CONNECTIONS * REQUESTS_PER_CONNECTION) as f64
}

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let keycard = Keycard::up(settings, &[])?;
    let mut cloud = Cloud::begin(&keycard)?;
    cloud.put_vm("vm")?;
    let endpoint = cloud.metadata_endpoint("vm")?;
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
    for _ in 0..SLICES {
        subjects.iter_mut().try_for_each(Subject::cpu_slice)?;
    }
    for _ in 0..SLICES {
        subjects.iter_mut().try_for_each(Subject::latency_slice)?;
    }
    let missing = nginx.as_ref().err().map(ToString::to_string);
    Ok(vec![cpu_row(&subjects, missing.clone()), latency_row(&subjects, missing)])
}

fn reference(value: Option<f64>, missing: Option<String>) -> Reference {
    match (value, missing) {
        (Some(value), _) => Reference::Measured { what: "nginx", value },
        (None, why) => Reference::Missing(why.unwrap_or_default()),
    }
}

fn cpu_row(subjects: &[Subject<'_>], missing: Option<String>) -> Row {
    let nginx = subjects.get(1).map(|nginx| median(&nginx.cpu_slices));
    let count = requests() * SLICES as f64;
    let mut notes = vec![by_thread("a cached token", &subjects[0].by_thread, count)];
    for (name, subject) in ["keycard", "nginx"].iter().zip(subjects) {
        let (low, high) =
            (percentile(&subject.cpu_slices, 0.0), percentile(&subject.cpu_slices, 1.0));
        notes.push(format!("{name}: {low:.2} to {high:.2} µs in {SLICES} slices"));
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
    let (p50, p999, most) = (of(0.5), of(0.999), of(1.0));
    Row {
        name: LATENCY,
        value: subjects[0].p99(),
        unit: "ms",
        reference: reference(subjects.get(1).map(Subject::p99), missing),
        budget: Budget::ValueBelow(1.0),
        notes: vec![format!("p50 {p50:.3} ms, p99.9 {p999:.3} ms, longest {most:.3} ms")],
    }
}
