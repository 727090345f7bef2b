//! A new token over the wire, beside a loop that does nothing but sign.
//!
//! A tenant may mint 2,000 tokens/s, and one core signs more than that: so what is compared is not the rate but what a
//! second of CPU yields, in bursts at full speed that the throttle lets pass.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keycard_crypto::signing_key::SigningKey;
use keycard_crypto::x509::certificate_pem;
use keycard_crypto::{digest, encoding, jwt, test_keys};
use serde_json::json;
use time::OffsetDateTime;

use super::{SLICES, add, by_thread, micros};
use crate::cloud::{Cloud, VAULT_AUDIENCE, metadata_request, secret_proof, token_request};
use crate::load::{Client, closed_loop, median, side_by_side};
use crate::process::{Keycard, own_cpu_nanos};
use crate::report::{Budget, Reference, Row};
use crate::wire::Target;
use crate::{Outcome, Settings};

pub(crate) const METADATA: &str =
    "mint at a metadata endpoint (assertion signed and verified, token signed, audited)";
pub(crate) const ASSERTION: &str =
    "mint over TLS with an assertion (verified, token signed, audited)";
pub(crate) const SECRET: &str = "mint over TLS with a client secret (token signed, audited)";

const CONNECTIONS: usize = 16;
const MINTS_PER_CONNECTION: usize = 60;
const RAW_SIGNATURES: usize = 600;
/// As many as a token has to be signed.
const MESSAGE_BYTES: usize = 1_100;
/// The tenant's throttle: what a slice took beyond it has to be waited for.
const MINTS_PER_SECOND: f64 = 2_000.0;

/// What each connection of a slice asks, in turn, and whom.
type Asked = Vec<(Target, Vec<Vec<u8>>)>;

/// One way to a new token.
struct Way<'a> {
    name: &'static str,
    asked: Box<dyn FnMut() -> Outcome<Asked> + 'a>,
    slices: Vec<f64>,
    by_thread: BTreeMap<String, u64>,
    rates: Vec<f64>,
}

impl<'a> Way<'a> {
    fn new(name: &'static str, asked: impl FnMut() -> Outcome<Asked> + 'a) -> Self {
        let asked = Box::new(asked);
        Self { name, asked, slices: Vec::new(), by_thread: BTreeMap::new(), rates: Vec::new() }
    }

    /// The same requests in each slice.
    fn repeated(name: &'static str, asked: Asked) -> Self {
        Self::new(name, move || Ok(asked.clone()))
    }

    fn slice(&mut self, keycard: &Keycard) -> Outcome<()> {
        let asked = (self.asked)()?;
        let begin = Instant::now();
        let mut clients = asked
            .into_iter()
            .map(|(target, requests)| Client::in_turn(&target, requests))
            .collect::<Outcome<Vec<_>>>()?;
        let (before, connected) = (keycard.cpu()?, begin.elapsed());
        closed_loop(&mut clients, MINTS_PER_CONNECTION)?;
        let elapsed = begin.elapsed();
        let used = keycard.cpu()?.since(&before);
        self.slices.push(micros(used.values().sum(), mints()));
        self.rates.push(mints() / (elapsed - connected).as_secs_f64());
        add(&mut self.by_thread, &used);
        let owed = (mints() + CONNECTIONS as f64) / MINTS_PER_SECOND;
        thread::sleep(Duration::from_secs_f64(owed).saturating_sub(elapsed));
        Ok(())
    }

    fn row(&self, raw: f64) -> Row {
        let each = median(&self.slices);
        let rate = median(&self.rates);
        let signing = self.by_thread.get("sign").copied().unwrap_or_default();
        let share = raw / micros(signing, mints() * SLICES as f64);
        Row {
            name: self.name,
            value: 1e6 / each,
            unit: "per CPU second",
            reference: Reference::Measured { what: "raw RSA-2048 signing", value: 1e6 / raw },
            budget: Budget::RatioAtLeast(0.9),
            notes: vec![
                format!("{each:.0} µs of CPU per token, {raw:.0} µs per raw signature"),
                by_thread("a token", &self.by_thread, mints() * SLICES as f64),
                format!("the signing threads by themselves: {share:.2} of the raw loop"),
                format!(
                    "{rate:.0} tokens/s in bursts, with the load generator on the same machine"
                ),
            ],
        }
    }
}

fn mints() -> f64 {
    (CONNECTIONS * MINTS_PER_CONNECTION) as f64
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
    let by_secret = token_request(&keycard, VAULT_AUDIENCE, &secret_proof(&keycard));
    let mut assertions = 0;
    let by_assertion = || {
        let connection = |_| {
            let mut next = |_| {
                assertions += 1;
                let proof = assertion_proof(&keycard, &key, &certificate, assertions)?;
                Ok(token_request(&keycard, VAULT_AUDIENCE, &proof))
            };
            let requests: Outcome<_> = (0..=MINTS_PER_CONNECTION).map(&mut next).collect();
            Ok((login.clone(), requests?))
        };
        (0..CONNECTIONS).map(connection).collect()
    };
    let mut ways = [
        Way::repeated(METADATA, metadata_requests(&mut cloud)?),
        Way::new(ASSERTION, by_assertion),
        Way::repeated(SECRET, vec![(login.clone(), vec![by_secret]); CONNECTIONS]),
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
fn metadata_requests(cloud: &mut Cloud<'_>) -> Outcome<Asked> {
    (0..CONNECTIONS)
        .map(|number| {
            let name = format!("vm-{number}");
            cloud.put_vm(&name)?;
            let endpoint = cloud.metadata_endpoint(&name)?;
            let request = metadata_request(&endpoint, "&bypass_cache=true");
            Ok((endpoint, vec![request]))
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
    let (from, until) = (now()? - time::Duration::hours(1), now()? + time::Duration::days(1));
    let certificate = key.self_signed_certificate("bench", from, until)?;
    Ok((key, certificate))
}

/// A client assertion, as SDKs send it; each is good for one token.
fn assertion_proof(
    keycard: &Keycard,
    key: &SigningKey,
    certificate: &[u8],
    number: u64,
) -> Outcome<String> {
    let description = &keycard.description;
    let client = &description.administrator.client_id;
    let audience =
        format!("{}/{}/oauth2/v2.0/token", description.endpoints.loopback, description.tenant_id);
    let thumbprint = encoding::base64url_encode(&digest::sha1(certificate));
    let header = json!({ "alg": "RS256", "typ": "JWT", "x5t": thumbprint });
    let begin = now()?.unix_timestamp();
    let claims = json!({
        "aud": audience, "iss": client, "sub": client, "jti": number.to_string(), "nbf": begin, "exp": begin + 600,
    });
    let unsigned = jwt::signing_input(&header, &claims)?;
    let signature = key.sign(unsigned.as_bytes())?;
    let assertion = jwt::assemble(unsigned, &signature);
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    Ok(format!("client_assertion_type={kind}&client_assertion={assertion}"))
}
