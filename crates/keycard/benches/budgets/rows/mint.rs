//! A new token over the wire, beside a loop that does nothing but sign.
//!
//! A tenant may mint 2,000 tokens/s, and one core signs more than that: so rates cannot be compared. What is compared
//! is what a second of CPU yields, at a steady rate below the throttle.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use keycard_crypto::signing_key::SigningKey;
use keycard_crypto::x509::certificate_pem;
use keycard_crypto::{digest, encoding, jwt, test_keys};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::{SLICES, add, by_thread, micros};
use crate::cloud::{Cloud, VAULT_AUDIENCE, metadata_request, secret_proof, token_request};
use crate::load::{Client, median, open_loop, percentile, side_by_side};
use crate::process::{Keycard, own_cpu_nanos};
use crate::report::{Budget, Reference, Row};
use crate::wire::Target;
use crate::{Outcome, Settings};

pub(crate) const METADATA: &str =
    "mint at a metadata endpoint (assertion signed and verified, token signed, audited) at 1,500/s";
pub(crate) const ASSERTION: &str =
    "mint over TLS with an assertion (verified, token signed, audited) at 1,500/s";
pub(crate) const SECRET: &str =
    "mint over TLS with a client secret (token signed, audited) at 1,500/s";

const CONNECTIONS: usize = 8;
const RATE: u32 = 1_500;
/// Two fifths of a second's.
const MINTS: u32 = 600;
const RAW_SIGNATURES: usize = 600;
/// As many as a token has to be signed.
const MESSAGE_BYTES: usize = 1_100;

/// One way to a new token: a target and a request for each connection.
struct Way {
    name: &'static str,
    asked: Vec<(Target, Vec<u8>)>,
    slices: Vec<f64>,
    by_thread: BTreeMap<String, u64>,
    latencies: Vec<f64>,
}

impl Way {
    fn new(name: &'static str, asked: Vec<(Target, Vec<u8>)>) -> Self {
        Self { name, asked, slices: Vec::new(), by_thread: BTreeMap::new(), latencies: Vec::new() }
    }

    /// The same request on every connection.
    fn repeated(name: &'static str, target: &Target, request: &[u8]) -> Self {
        Self::new(name, vec![(target.clone(), request.to_vec()); CONNECTIONS])
    }

    fn slice(&mut self, keycard: &Keycard) -> Outcome<()> {
        let mut clients = self
            .asked
            .iter()
            .map(|(target, request)| Client::warmed_up(target, request.clone()))
            .collect::<Outcome<Vec<_>>>()?;
        let before = keycard.cpu()?;
        let latencies = open_loop(&mut clients, RATE, MINTS)?;
        let used = keycard.cpu()?.since(&before);
        self.slices.push(micros(used.values().sum(), f64::from(MINTS)));
        add(&mut self.by_thread, &used);
        self.latencies.extend(latencies.iter().map(|latency| latency.as_secs_f64() * 1000.0));
        Ok(())
    }

    fn row(&self, raw: f64) -> Row {
        let each = median(&self.slices);
        let count = f64::from(MINTS) * SLICES as f64;
        let (p50, p99) = (percentile(&self.latencies, 0.5), percentile(&self.latencies, 0.99));
        Row {
            name: self.name,
            value: 1e6 / each,
            unit: "per CPU second",
            reference: Reference::Measured { what: "raw RSA-2048 signing", value: 1e6 / raw },
            budget: Budget::RatioAtLeast(0.9),
            notes: vec![
                format!("{each:.0} µs of CPU per token, {raw:.0} µs per raw signature"),
                by_thread("a token", &self.by_thread, count),
                format!("latency: p50 {p50:.2} ms, p99 {p99:.2} ms"),
            ],
        }
    }
}

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let directory = settings.temporary_directory()?;
    let data = directory.path().join("data");
    let certificate_file = directory.path().join("administrator.pem");
    let (key, certificate) = certificate()?;
    fs::write(&certificate_file, certificate_pem(&certificate))?;
    let keycard = Keycard::up(
        settings,
        &[
            "--data-dir",
            &data.to_string_lossy(),
            "--administrator-certificate",
            &certificate_file.to_string_lossy(),
        ],
    )?;
    let mut cloud = Cloud::begin(&keycard)?;
    let login = keycard.loopback();
    let proof = assertion_proof(&keycard, &key, &certificate)?;
    let by_secret = token_request(&keycard, VAULT_AUDIENCE, &secret_proof(&keycard));
    let mut ways = [
        Way::new(METADATA, metadata_requests(&mut cloud)?),
        Way::repeated(ASSERTION, &login, &token_request(&keycard, VAULT_AUDIENCE, &proof)),
        Way::repeated(SECRET, &login, &by_secret),
    ];
    let mut raw = Vec::new();
    for _ in 0..SLICES {
        raw.push(raw_slice(&key)?);
        ways.iter_mut().try_for_each(|way| way.slice(&keycard))?;
    }
    let raw = median(&raw);
    Ok(ways.iter().map(|way| way.row(raw)).collect())
}

/// One VM for each connection: requests for one identity wait for each other.
fn metadata_requests(cloud: &mut Cloud<'_>) -> Outcome<Vec<(Target, Vec<u8>)>> {
    (0..CONNECTIONS)
        .map(|number| {
            let name = format!("vm-{number}");
            cloud.put_vm(&name)?;
            let endpoint = cloud.metadata_endpoint(&name)?;
            let request = metadata_request(&endpoint, "&bypass_cache=true");
            Ok((endpoint, request))
        })
        .collect()
}

/// CPU microseconds of one bare signature, with as many threads as the server has.
fn raw_slice(key: &SigningKey) -> Outcome<f64> {
    let mut threads = vec![(); thread::available_parallelism()?.get()];
    let message = [b'm'; MESSAGE_BYTES];
    let used = side_by_side(&mut threads, |_, ()| {
        let before = own_cpu_nanos()?;
        for _ in 0..RAW_SIGNATURES {
            key.sign(&message)?;
        }
        Ok(own_cpu_nanos()? - before)
    })?;
    Ok(micros(used.iter().sum(), (RAW_SIGNATURES * used.len()) as f64))
}

fn now() -> Outcome<OffsetDateTime> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(OffsetDateTime::from_unix_timestamp(i64::try_from(seconds)?)?)
}

/// The key that the administrator brings, and its certificate.
fn certificate() -> Outcome<(SigningKey, Vec<u8>)> {
    let key = test_keys::signing_key();
    let (from, until) = (now()? - Duration::hours(1), now()? + Duration::days(1));
    let certificate = key.self_signed_certificate("bench", from, until)?;
    Ok((key, certificate))
}

/// A client assertion, as SDKs send it.
fn assertion_proof(keycard: &Keycard, key: &SigningKey, certificate: &[u8]) -> Outcome<String> {
    let description = &keycard.description;
    let client = &description.administrator.client_id;
    let audience =
        format!("{}/{}/oauth2/v2.0/token", description.endpoints.loopback, description.tenant_id);
    let thumbprint = encoding::base64url_encode(&digest::sha1(certificate));
    let header = json!({ "alg": "RS256", "typ": "JWT", "x5t": thumbprint });
    let begin = now()?.unix_timestamp();
    let claims = json!({
        "aud": audience, "iss": client, "sub": client, "jti": "bench", "nbf": begin, "exp": begin + 600,
    });
    let unsigned = jwt::signing_input(&header, &claims)?;
    let signature = key.sign(unsigned.as_bytes())?;
    let assertion = jwt::assemble(unsigned, &signature);
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    Ok(format!("client_assertion_type={kind}&client_assertion={assertion}"))
}
