//! Storms of odd requests at the local endpoints of the real binary: whatever comes, nothing fails, panics or hangs.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use keycard_domain::compute::attachment::EndpointKind;
use keycard_domain::entropy::{Entropy, SeededEntropy};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::restart::Up;

/// Draws that a seed repeats.
struct Dice(SeededEntropy);

impl Dice {
    fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % bound as u64).unwrap()
    }

    fn one_of<'a>(&self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

const RESOURCE: &str = "resource=https://vault.azure.net";
const METHODS: &[&str] =
    &["GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "CONNECT", "TRACE", "get", "G\0T", ""];
const PATHS: &[&str] = &[
    "/metadata/identity/oauth2/token",
    "/metadata/identity/oauth2/token/",
    "/METADATA/Identity/oauth2/TOKEN",
    "/msi/token",
    "/metadata/instance",
    "/metadata/instance/compute/tagsList/0/name",
    "/metadata/instance/network/interface/99999999999999999999",
    "/metadata/attested/document",
    "/metadata/identity/getplatformmetadata",
    "/metadata/identity/issuecredential",
    "/metadata/versions",
    "/oauth2/token",
    "/",
    "//",
    "/%00",
    "/%2e%2e/%2f",
    "/metadata/../etc/passwd",
    "*",
    "http://169.254.169.254/metadata/identity/oauth2/token",
    "http://evil.example/",
    "",
];
const PARAMETERS: &[&str] = &[
    "api-version=2018-02-01",
    "api-version=2019-08-01",
    RESOURCE,
    "api-version=2021-02-01",
    "api-version=2020-06-01",
    "api-version=9999-99-99",
    "api-version=",
    "resource=https%3A%2F%2Fmanagement.azure.com%2F",
    "resource=%00",
    "resource=%ff%fe",
    "resource=\u{202e}",
    "resource=/.default",
    "RESOURCE=x",
    "client_id=00000000-0000-0000-0000-000000000000",
    "client_id=x",
    "object_id=%7B%7D",
    "msi_res_id=/subscriptions/x",
    "mi_res_id=/../..",
    "bypass_cache=true",
    "format=text",
    "nonce=99999999999",
    "token_sha256_to_refresh=zz",
    "xms_cc=CP1%2CCP1",
    "cred-api-version=2.0",
    "&&&",
    "=",
    "%",
    "%zz=%",
];
const HEADERS: &[&str] = &[
    "Metadata: true",
    "Metadata: True",
    "Metadata: false",
    "Metadata: \u{e9}",
    "X-IDENTITY-HEADER: x",
    "secret: x",
    "Secret: ",
    "Authorization: Basic x",
    "Authorization: Basic \u{0}",
    "X-Forwarded-For: 1.1.1.1",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Content-Length: 5",
    "Content-Length: 18446744073709551615",
    "Content-Length: -5",
    "Content-Type: application/json",
    "Content-Type: application/x-www-form-urlencoded",
    "Expect: 100-continue",
    "Connection: keep-alive, Upgrade",
    "Connection: close",
    "Upgrade: websocket",
    "x-ms-client-request-id: not-a-guid",
    "If-None-Match: *",
    "Range: bytes=0-0",
    "Cookie: a=b",
    " folded",
    "NoColon",
    ": x",
];
const BODIES: &[&str] = &[
    "",
    "",
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "{\"csr\":\"\"}",
    "{\"csr\":",
    "resource=https://vault.azure.net",
    "GET / HTTP/1.1\r\n\r\n",
    "\0\0\0\0",
];

/// A request that is about a workload's, more or less.
fn odd_request(dice: &Dice, authority: &str, secret: &str) -> Vec<u8> {
    // Half of them begin as a good one: what is odd comes on top.
    let (path, good) = match dice.below(4) {
        0 => ("/metadata/identity/oauth2/token", &PARAMETERS[..1]),
        1 => ("/msi/token", &PARAMETERS[1..2]),
        _ => (dice.one_of(PATHS), &PARAMETERS[..0]),
    };
    let mut query = good.to_vec();
    query.extend(good.iter().map(|_| RESOURCE));
    query.extend((0..dice.below(3)).map(|_| dice.one_of(PARAMETERS)));
    let target = format!("{path}?{}", query.join("&"));
    let version =
        dice.one_of(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", ""]);
    let mut head = format!("{} {target} {version}\r\n", dice.one_of(METHODS));
    if dice.below(8) > 0 {
        head += &format!("Host: {authority}\r\n");
    }
    if dice.below(2) > 0 {
        head += &format!("Metadata: true\r\nX-IDENTITY-HEADER: {secret}\r\n");
    }
    for _ in 0..dice.below(5) {
        head += &format!("{}\r\n", dice.one_of(HEADERS));
    }
    let mut bytes = format!("{head}\r\n{}", dice.one_of(BODIES)).into_bytes();
    // Now and then some bytes are others, or the end is missing.
    for _ in 0..[0, 0, 0, 1, 3][dice.below(5)] {
        let (at, bit) = (dice.below(bytes.len()), dice.below(8));
        bytes[at] ^= 1 << bit;
    }
    if dice.below(10) == 0 {
        bytes.truncate(dice.below(bytes.len()));
    }
    bytes
}

/// What comes back until the server has nothing more to say to a client that has said all.
async fn converse(authority: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// As many as an ordinary run of the tests has time for.
const REQUESTS: usize = 2000;

#[tokio::test]
async fn no_odd_request_makes_an_endpoint_fail_panic_or_hang() {
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("log");
    let up = Up::start_logging(directory.path(), &log).await;
    let vm = vm(&up).await;
    let mut endpoints = Vec::new();
    for kind in EndpointKind::ALL {
        let attached = up.administration.attach(&vm, kind.as_str()).await.unwrap();
        let url = attached["url"].as_str().unwrap();
        if let Some(rest) = url.strip_prefix("http://") {
            let authority = rest.split('/').next().unwrap().to_owned();
            endpoints.push((authority, attached["header"].as_str().unwrap_or("x").to_owned()));
        }
    }
    let seed = 6;
    let dice = Dice(SeededEntropy::new(seed));
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..REQUESTS {
        let (authority, secret) = &endpoints[number % endpoints.len()];
        let bytes = odd_request(&dice, authority, secret);
        let told =
            || format!("seed {seed}, request {number}: {:?}", String::from_utf8_lossy(&bytes));
        let conversing = tokio::time::timeout(Duration::from_secs(20), converse(authority, &bytes));
        let Ok(answer) = conversing.await else { panic!("it hangs: {}", told()) };
        let text = String::from_utf8_lossy(&answer);
        for line in text.lines().filter(|line| line.starts_with("HTTP/1.")) {
            assert!(!line.contains(" 5"), "{line}: {}", told());
            *statuses.entry(line.chars().skip(9).take(3).collect()).or_default() += 1;
        }
    }
    assert!(statuses.contains_key("200"), "some requests were good ones: {statuses:?}");
    assert!(statuses.contains_key("400") && statuses.contains_key("405"), "{statuses:?}");
    for (authority, _) in &endpoints {
        let answer = converse(authority, b"GET / HTTP/1.1\r\n\r\n").await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "it lives");
    }
    up.kill();
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}

/// A VM with an identity of its own.
async fn vm(up: &Up) -> String {
    let group = format!("/subscriptions/{}/resourceGroups/g", up.description.subscription_id);
    let vm = format!("{group}/providers/Microsoft.Compute/virtualMachines/vm1");
    let identity = json!({ "type": "SystemAssigned" });
    for (path, version, body) in [
        (&group, "2024-11-01", json!({ "location": "local" })),
        (&vm, "2024-07-01", json!({ "location": "local", "identity": identity, "properties": {} })),
    ] {
        let path = format!("{path}?api-version={version}");
        up.administration.arm(Method::PUT, &path, Some(&body)).await.unwrap();
    }
    vm
}
