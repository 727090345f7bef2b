//! Attacks on local endpoints, each a test, at endpoints of every kind: requests that no workload sends, requests of
//! another workload, and crowds.

use std::time::Duration;

use http::StatusCode;
use keycard_domain::compute::attachment::EndpointKind;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Cloud, VAULT_AUDIENCE};
use crate::local_kinds::Asking;

/// A server with a VM, and a token request at an endpoint of each kind of it.
async fn endpoints() -> (Cloud, Vec<Asking>) {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let all = Asking::at_all(&cloud, &cloud.vm_id("vm1"), VAULT_AUDIENCE).await;
    (cloud, all)
}

/// The request as bytes: with this method and target, these lines for `Host`, and these besides the workload's own.
async fn request(
    cloud: &Cloud,
    asking: &Asking,
    (method, target): (&str, &str),
    (host, more): (&str, &str),
) -> String {
    let own = own_lines(cloud, asking).await;
    let length = match asking.form.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    let form = &asking.form;
    format!(
        "{method} {target} HTTP/1.1\r\n{host}{own}{length}{more}Connection: close\r\n\r\n{form}"
    )
}

/// What a workload sends in the head.
async fn own_lines(cloud: &Cloud, asking: &Asking) -> String {
    let own = asking.proven(&cloud.client).await.unwrap();
    own.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// The answer to the workload's request with these lines for `Host`, and these besides its own.
async fn answer_with(cloud: &Cloud, asking: &Asking, host: &str, more: &str) -> String {
    let line = (asking.method(), &*asking.target());
    asking.raw(&request(cloud, asking, line, (host, more)).await).await
}

fn own_host(asking: &Asking) -> String {
    format!("Host: {}\r\n", asking.authority())
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Refused in the shape of the endpoint's kind, and no token told.
fn assert_refused(asking: &Asking, answer: &str, what: &str) {
    let kind = asking.kind;
    assert!((400..500).contains(&status(answer)), "{kind:?}: {what}: {answer}");
    assert!(!answer.contains("access_token"), "{kind:?}: {what}: {answer}");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    assert!(body.starts_with('{'), "{kind:?}: {what}: every error is JSON: {answer}");
}

/// Refused in whatever way: the connection may end without a word.
fn assert_no_token(asking: &Asking, answer: &str, what: &str) {
    let kind = asking.kind;
    assert!(!answer.contains("access_token"), "{kind:?}: {what}: {answer}");
    let is_refused = answer.is_empty() || (400..500).contains(&status(answer));
    assert!(is_refused, "{kind:?}: {what}: {answer}");
}

/// Asks twice as a workload does, so that an answer is ready where answers are kept ready.
async fn warm(cloud: &Cloud, asking: &Asking) {
    for _ in 0..2 {
        asking.token(cloud).await;
    }
}

#[tokio::test]
async fn a_request_without_the_workloads_header_is_refused_whatever_its_query() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let own = own_host(asking);
        let bare = Asking { headers: Vec::new(), ..asking.clone() };
        let other = format!("{}?x=y", asking.path);
        for target in [&*asking.target(), &asking.path, &other, "/"] {
            let line = (asking.method(), target);
            let answer = asking.raw(&request(&cloud, &bare, line, (&own, "")).await).await;
            assert_refused(asking, &answer, target);
            let of_site = [EndpointKind::AppService, EndpointKind::AzureMl];
            let expected = if of_site.contains(&asking.kind) { 401 } else { 400 };
            assert_eq!(status(&answer), expected, "{target}: {answer}");
            assert!(!answer.contains("Identity not found"), "probes take this for another answer");
        }
        let (name, value) = asking.headers[0].clone();
        for wrong in ["", "false", "0", "truetrue", "true, true", "tru\u{e9}"] {
            // The header is forged, and the rest is good: an Arc workload's proof, say.
            let line = (asking.method(), &*asking.target());
            let bytes = request(&cloud, asking, line, (&own, "")).await;
            let good = format!("{name}: {value}\r\n");
            assert!(bytes.contains(&good), "{bytes}");
            let bytes = bytes.replacen(&good, &format!("{name}: {wrong}\r\n"), 1);
            assert_no_token(asking, &asking.raw(&bytes).await, wrong);
        }
        let answer = answer_with(&cloud, asking, &own, &format!("{name}: x\r\n")).await;
        assert_refused(asking, &answer, "one header of two is wrong");
    }
}

#[tokio::test]
async fn a_forwarded_request_is_refused() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        for forwarded in [
            "X-Forwarded-For: 127.0.0.1\r\n",
            "x-forwarded-for:\r\n",
            "X-FORWARDED-FOR: 169.254.169.254, 10.0.0.1\r\n",
            "Forwarded: for=127.0.0.1\r\n",
            "forwarded: for=_hidden;proto=http\r\n",
        ] {
            let answer = answer_with(&cloud, asking, &own_host(asking), forwarded).await;
            assert_refused(asking, &answer, forwarded);
            assert_eq!(status(&answer), 400, "{:?}: {forwarded}: {answer}", asking.kind);
        }
    }
}

/// DNS rebinding: a page whose name leads to the endpoint's address sends its own name as `Host`.
#[tokio::test]
async fn a_request_to_another_name_is_refused() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let port = asking.authority().rsplit(':').next().unwrap();
        let own = own_host(asking);
        for host in [
            "Host: evil.example\r\n".to_owned(),
            format!("Host: evil.example:{port}\r\n"),
            format!("Host: 127.0.0.1.evil.example:{port}\r\n"),
            format!("Host: localhost.:{port}\r\n"),
            format!("Host: user@127.0.0.1:{port}\r\n"),
            format!("Host: 127.0.0.1:{port}@evil.example\r\n"),
            format!("Host: 127.1:{port}\r\n"),
            format!("Host: 2130706433:{port}\r\n"),
            format!("Host: [::1]:{port}\r\n"),
            "Host: 127.0.0.1:1\r\n".to_owned(),
            "Host: metadata.google.internal\r\n".to_owned(),
            "Host:\r\n".to_owned(),
            String::new(),
            format!("{own}{own}"),
            format!("{own}Host: evil.example\r\n"),
            format!("Host: evil.example\r\n{own}"),
        ] {
            let answer = answer_with(&cloud, asking, &host, "").await;
            assert_refused(asking, &answer, &host);
            assert_eq!(status(&answer), 400, "{:?}: {host}: {answer}", asking.kind);
        }
        let capitals = format!("Host: LOCALHOST:{port}\r\n");
        for host in [own, capitals, "Host: 169.254.169.254\r\n".to_owned()] {
            let answer = answer_with(&cloud, asking, &host, "").await;
            assert_eq!(status(&answer), 200, "{:?}: {host}: {answer}", asking.kind);
        }
    }
}

#[tokio::test]
async fn a_parameter_stands_once_however_it_is_spelled() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        for more in [
            "resource=https://graph.microsoft.com",
            "RESOURCE=https://graph.microsoft.com",
            "%72esource=https://graph.microsoft.com",
            "resource",
            "resource=",
            "client_id=&client_id=",
            "x=1&X=2",
        ] {
            let added = |own: &str| match own {
                "" => [String::new(), String::new()],
                own => [format!("{own}&{more}"), format!("{more}&{own}")],
            };
            for (query, form) in added(&asking.query).into_iter().zip(added(&asking.form)) {
                let doubled = Asking { query, form, ..asking.clone() };
                // The proof is that of the good request.
                let own = own_lines(&cloud, asking).await;
                let answer = doubled.raw(&bytes(&doubled, &own)).await;
                assert_refused(asking, &answer, more);
                assert_eq!(status(&answer), 400, "{:?}: {more}: {answer}", asking.kind);
            }
        }
    }
}

/// The request with these lines for what its workload sends in the head.
fn bytes(asking: &Asking, own: &str) -> String {
    let (method, target, host) = (asking.method(), asking.target(), own_host(asking));
    let length = asking.form.len();
    let length = if length > 0 { format!("Content-Length: {length}\r\n") } else { String::new() };
    let form = &asking.form;
    format!("{method} {target} HTTP/1.1\r\n{host}{own}{length}Connection: close\r\n\r\n{form}")
}

#[tokio::test]
async fn only_the_documented_method_gets_a_token() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let (own, target) = (own_host(asking), asking.target());
        let methods =
            ["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "get", "BREW"];
        for method in methods.into_iter().filter(|method| *method != asking.method()) {
            let bytes = request(&cloud, asking, (method, &target), (&own, "")).await;
            let answer = asking.raw(&bytes).await;
            assert_no_token(asking, &answer, method);
            assert_eq!(status(&answer), 405, "{:?}: {method}: {answer}", asking.kind);
            let allow = answer.lines().find(|line| line.to_lowercase().starts_with("allow: "));
            assert_eq!(allow.map(|line| &line[7..]), Some(asking.method()), "{method}: {answer}");
            assert!(!answer.to_lowercase().contains("access-control-allow"), "{answer}");
        }
        for target in [asking.authority(), "evil.example:80", "127.0.0.1:22"] {
            let bytes = request(&cloud, asking, ("CONNECT", target), (&own, "")).await;
            assert_no_token(asking, &asking.raw(&bytes).await, "CONNECT");
        }
    }
}

/// What another server could read as two requests is one refused request: nothing of its body is answered.
#[tokio::test]
async fn a_request_hidden_in_a_body_is_not_answered() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let (target, host) = (asking.target(), own_host(asking));
        for framing in [
            "Content-Length: LENGTH\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: LENGTH\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
            "Content-Length: 0\r\nContent-Length: LENGTH\r\n\r\n",
            "Content-Length: LENGTH, LENGTH\r\n\r\n",
            "Content-Length: +0\r\n\r\n",
            "Content-Length: -1\r\n\r\n",
            "Content-Length: 0x0\r\n\r\n",
            "Content-Length: 99999999999999999999\r\n\r\n",
        ] {
            for method in ["GET", "POST"] {
                let own = own_lines(&cloud, asking).await;
                let hidden = bytes(asking, &own_lines(&cloud, asking).await);
                let framing = framing.replace("LENGTH", &hidden.len().to_string());
                let head = format!("{method} {target} HTTP/1.1\r\n{host}{own}");
                let answer = asking.raw(&format!("{head}{framing}{hidden}")).await;
                assert_no_token(asking, &answer, &framing);
                assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{framing}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn a_malformed_header_line_is_refused() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let own = own_host(asking);
        let (many, long) = ("X: y\r\n".repeat(200), format!("X: {}\r\n", "y".repeat(300_000)));
        for line in [
            "X: a\r\n folded\r\n",
            " folded: first\r\n",
            "Bad Name: x\r\n",
            "Name : x\r\n",
            "NoColon\r\n",
            ": no name\r\n",
            "X: nul\0byte\r\n",
            "X\0: nul\r\n",
            "X: carriage\rreturn\r\n",
            "X: bell\x07\r\n",
            "X: delete\x7f\r\n",
            &many,
            &long,
        ] {
            assert_no_token(asking, &answer_with(&cloud, asking, &own, line).await, line);
        }
        for target in ["/\0", "/a b", "\\", "*", "", "//", "/%00", "/%2e%2e/", "/\u{e9}", "/%ff"] {
            let line = (asking.method(), target);
            let bytes = request(&cloud, asking, line, (&own, "")).await;
            assert_no_token(asking, &asking.raw(&bytes).await, target);
        }
    }
}

#[tokio::test]
async fn a_chunked_body_is_refused() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        for method in ["GET", "POST"] {
            let (target, host) = (asking.target(), own_host(asking));
            let own = own_lines(&cloud, asking).await;
            let head = format!("{method} {target} HTTP/1.1\r\n{host}{own}");
            let form = if asking.form.is_empty() { "hello" } else { &asking.form };
            let body = format!("{:x}\r\n{form}\r\n0\r\n\r\n", form.len());
            let answer =
                asking.raw(&format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}")).await;
            assert_refused(asking, &answer, method);
            assert_eq!(status(&answer), 400, "{:?}: {answer}", asking.kind);
        }
    }
}

/// Nothing forwards: whatever a request names, nobody else hears of it.
#[tokio::test]
async fn no_request_leaves_an_endpoint() {
    let (cloud, all) = endpoints().await;
    let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = canary.local_addr().unwrap().to_string();
    for asking in &all {
        warm(&cloud, asking).await;
        let (get, target) = (asking.method(), asking.target());
        let (own, foreign) = (own_host(asking), format!("Host: {elsewhere}\r\n"));
        let user = format!("http://{}@{elsewhere}{target}", asking.authority());
        for (method, line, host) in [
            (get, format!("http://{elsewhere}{target}"), &own),
            (get, format!("http://{elsewhere}{target}"), &foreign),
            (get, format!("https://{elsewhere}{target}"), &own),
            (get, user, &own),
            (get, target.clone(), &foreign),
            ("CONNECT", elsewhere.clone(), &own),
            ("CONNECT", elsewhere.clone(), &foreign),
        ] {
            let bytes = request(&cloud, asking, (method, &line), (host, "")).await;
            assert_no_token(asking, &asking.raw(&bytes).await, &line);
        }
        for more in [
            format!("X-Forwarded-Host: {elsewhere}\r\n"),
            format!(
                "X-Original-URL: http://{elsewhere}/\r\nX-Rewrite-URL: http://{elsewhere}/\r\n"
            ),
            format!("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nOrigin: http://{elsewhere}\r\n"),
        ] {
            let answer = answer_with(&cloud, asking, &own, &more).await;
            assert_eq!(status(&answer), 200, "what nobody reads changes nothing: {more}: {answer}");
        }
        for named in ["resource", "authority", "msi_res_id", "url"] {
            let target = format!("{}?{}&{named}=http://{elsewhere}/", asking.path, asking.query);
            asking.raw(&request(&cloud, asking, (get, &target), (&own, "")).await).await;
        }
        let absolute = format!("{}{target}", asking.base);
        let bytes = request(&cloud, asking, (get, &absolute), (&own, "")).await;
        let answer = asking.raw(&bytes).await;
        assert_eq!(status(&answer), 200, "the endpoint's own absolute form: {answer}");
    }
    let canary = canary.into_std().unwrap();
    canary.set_nonblocking(true).unwrap();
    let visitor = canary.accept().map_err(|error| error.kind());
    assert_eq!(visitor.unwrap_err(), std::io::ErrorKind::WouldBlock, "somebody was asked");
}

#[tokio::test]
async fn another_workloads_secret_is_no_secret() {
    let (cloud, all) = endpoints().await;
    cloud.put_vm("vm2", true, &[]).await;
    let others = Asking::at_all(&cloud, &cloud.vm_id("vm2"), VAULT_AUDIENCE).await;
    for (asking, other) in all.iter().zip(&others).filter(|(it, _)| it.kind.has_secret()) {
        let stolen = Asking { headers: other.headers.clone(), ..asking.clone() };
        let answer = stolen.ask(&cloud).await;
        let is_fabric = asking.kind == EndpointKind::ServiceFabric;
        let expected = if is_fabric { StatusCode::NOT_FOUND } else { StatusCode::UNAUTHORIZED };
        assert_eq!(answer.status, expected, "{:?}", asking.kind);
        stolen.error_text(&answer);
        asking.token(&cloud).await;
    }
}

/// Its answer is that of an identity that does not exist: nothing is learnt about what others have.
#[tokio::test]
async fn an_identity_that_is_not_attached_is_not_given_and_looks_like_none() {
    let (cloud, all) = endpoints().await;
    let foreign = cloud.put_identity("foreign").await;
    cloud.put_vm("vm2", true, &["foreign"]).await;
    let text = |member: &str| foreign["properties"][member].as_str().unwrap().to_owned();
    let absent = "00000000-1111-2222-3333-444444444444".to_owned();
    let others = [text("clientId"), text("principalId"), cloud.identity_id("foreign")];
    let nobodys = [absent.clone(), absent, cloud.identity_id("absent")];
    for asking in &all {
        let Some(names) = asking.selectors() else { continue };
        for ((name, value), none) in names.iter().zip(&others).zip(&nobodys) {
            let of = |value: &str| Asking {
                query: format!("{}&{name}={value}", asking.query),
                ..asking.clone()
            };
            let (foreign, absent) = (of(value).ask(&cloud).await, of(none).ask(&cloud).await);
            assert_eq!(foreign.status, absent.status, "{:?} {name}", asking.kind);
            assert!(foreign.status.is_client_error(), "{:?} {name}", asking.kind);
            assert_eq!(asking.error_text(&foreign), asking.error_text(&absent));
        }
    }
}

/// "No identity" is not remembered: a program that began before it had one gets its token with the next request.
#[tokio::test]
async fn a_program_that_asks_too_early_gets_its_token_once_there_is_one() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", false, &[]).await;
    let all = Asking::at_all(&cloud, &cloud.vm_id("vm1"), VAULT_AUDIENCE).await;
    for asking in &all {
        for _ in 0..2 {
            let answer = asking.ask(&cloud).await;
            assert!(answer.status.is_client_error(), "{:?}: {}", asking.kind, answer.body);
        }
    }
    cloud.put_vm("vm1", true, &[]).await;
    for asking in &all {
        asking.token(&cloud).await;
    }
}

/// Both ends of each connection are in this process.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[tokio::test]
async fn a_thousand_idle_connections_leave_the_others_answered() {
    raise_descriptor_limit();
    let (cloud, all) = endpoints().await;
    for asking in &all {
        let mut crowd = Vec::new();
        for _ in 0..1000 {
            crowd.push(TcpStream::connect(asking.authority()).await.unwrap());
        }
        asking.token(&cloud).await;
        drop(crowd);
    }
}

/// How slowly heads are sent: nobody else waits for them. That they are cut off is witnessed beside the code that does it.
#[tokio::test]
async fn heads_that_come_slowly_hold_up_nobody_else() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        let whole = bytes(asking, "");
        let mut slow = Vec::new();
        for length in 1..200 {
            let mut stream = TcpStream::connect(asking.authority()).await.unwrap();
            let length = length.min(whole.len() - asking.form.len() - 1);
            stream.write_all(&whole.as_bytes()[..length]).await.unwrap();
            slow.push(stream);
        }
        let answered = tokio::time::timeout(Duration::from_secs(10), asking.token(&cloud)).await;
        assert!(answered.is_ok(), "{:?}", asking.kind);
        drop(slow);
    }
}

/// RFC 9112, section 2.2, lets a line end at a line feed alone, and hyper does. Whoever can write one into a header has
/// the header `Metadata` for the asking, here as at any server that follows the section.
#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_hides_no_second_request() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let own = own_host(asking);
        let answer = answer_with(&cloud, asking, &own, "X: a\nForwarded: for=b\r\n").await;
        assert_refused(asking, &answer, "a line after a line feed is read");
        assert_eq!(status(&answer), 400, "{answer}");
        let answer = answer_with(&cloud, asking, &own, "X: a\n folded\r\n").await;
        assert_no_token(asking, &answer, "folded after a line feed");
    }
}

/// A body that is announced and does not come holds its own connection only.
#[tokio::test]
async fn a_body_that_does_not_come_holds_up_nobody_else() {
    let (cloud, all) = endpoints().await;
    for asking in all.iter().filter(|asking| !asking.kind.is_over_tls()) {
        let mut waiting = Vec::new();
        for framing in ["Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"] {
            for method in ["GET", "POST"] {
                let own = own_lines(&cloud, asking).await;
                let (target, host) = (asking.target(), own_host(asking));
                let head = format!("{method} {target} HTTP/1.1\r\n{host}{own}{framing}\r\n");
                let mut stream = TcpStream::connect(asking.authority()).await.unwrap();
                stream.write_all(head.as_bytes()).await.unwrap();
                waiting.push(stream);
            }
        }
        let answered = tokio::time::timeout(Duration::from_secs(4), asking.token(&cloud)).await;
        assert!(answered.is_ok(), "{:?}", asking.kind);
        drop(waiting);
    }
}
