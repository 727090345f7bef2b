//! Attacks on local endpoints, each a test, at endpoints of every kind: requests that no workload sends, requests of
//! another workload, and crowds.

use std::time::Duration;

use http::StatusCode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Cloud, VAULT_AUDIENCE, raw};
use crate::local_kinds::Asking;

/// A server with a VM, and a token request at an endpoint of each kind of it.
async fn endpoints() -> (Cloud, Vec<Asking>) {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let all = Asking::at_all(&cloud, &cloud.vm_id("vm1"), VAULT_AUDIENCE).await;
    (cloud, all)
}

/// The request as bytes: with this method and target, these lines for `Host`, and these besides the workload's own.
fn request(asking: &Asking, method: &str, target: &str, host: &str, more: &str) -> String {
    let own = asking.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let own: String = own.collect();
    format!("{method} {target} HTTP/1.1\r\n{host}{own}{more}Connection: close\r\n\r\n")
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
        let bare = Asking { headers: Vec::new(), ..asking.clone() };
        let whole = format!("{}?{}", asking.path, asking.query);
        for target in [whole.as_str(), &asking.path, &format!("{}?x=y", asking.path), "/"] {
            let answer =
                raw(&asking.base, &request(&bare, "GET", target, &own_host(asking), "")).await;
            assert_refused(asking, &answer, target);
            let expected = if asking.kind.has_secret() { 401 } else { 400 };
            assert_eq!(status(&answer), expected, "{target}: {answer}");
            assert!(!answer.contains("Identity not found"), "probes take this for another answer");
        }
        let (name, value) = &asking.headers[0];
        for wrong in ["", "false", "0", "truetrue", "true, true", "tru\u{e9}"] {
            let forged =
                Asking { headers: vec![(name.clone(), wrong.to_owned())], ..asking.clone() };
            let answer =
                raw(&asking.base, &request(&forged, "GET", &whole, &own_host(asking), "")).await;
            assert_no_token(asking, &answer, wrong);
        }
        let twice = Asking {
            headers: vec![(name.clone(), value.clone()), (name.clone(), "x".to_owned())],
            ..asking.clone()
        };
        let answer =
            raw(&asking.base, &request(&twice, "GET", &whole, &own_host(asking), "")).await;
        assert_refused(asking, &answer, "one header of two is wrong");
    }
}

#[tokio::test]
async fn a_forwarded_request_is_refused() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let target = format!("{}?{}", asking.path, asking.query);
        for forwarded in [
            "X-Forwarded-For: 127.0.0.1\r\n",
            "x-forwarded-for:\r\n",
            "X-FORWARDED-FOR: 169.254.169.254, 10.0.0.1\r\n",
            "Forwarded: for=127.0.0.1\r\n",
            "forwarded: for=_hidden;proto=http\r\n",
        ] {
            let bytes = request(asking, "GET", &target, &own_host(asking), forwarded);
            assert_refused(asking, &raw(&asking.base, &bytes).await, forwarded);
        }
    }
}

/// DNS rebinding: a page whose name leads to the endpoint's address sends its own name as `Host`.
#[tokio::test]
async fn a_request_to_another_name_is_refused() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let target = format!("{}?{}", asking.path, asking.query);
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
            let answer = raw(&asking.base, &request(asking, "GET", &target, &host, "")).await;
            assert_refused(asking, &answer, &host);
        }
        for host in
            [own, format!("Host: LOCALHOST:{port}\r\n"), "Host: 169.254.169.254\r\n".to_owned()]
        {
            let answer = raw(&asking.base, &request(asking, "GET", &target, &host, "")).await;
            assert_eq!(status(&answer), 200, "{host}: {answer}");
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
            "Api-Version=2018-02-01",
            "client_id=&client_id=",
            "x=1&X=2",
        ] {
            for target in [
                format!("{}?{}&{more}", asking.path, asking.query),
                format!("{}?{more}&{}", asking.path, asking.query),
            ] {
                let bytes = request(asking, "GET", &target, &own_host(asking), "");
                assert_refused(asking, &raw(&asking.base, &bytes).await, &target);
            }
        }
    }
}

#[tokio::test]
async fn only_the_documented_method_gets_a_token() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let target = format!("{}?{}", asking.path, asking.query);
        for method in ["POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "get", "BREW"]
        {
            let bytes = request(asking, method, &target, &own_host(asking), "");
            let answer = raw(&asking.base, &bytes).await;
            assert_no_token(asking, &answer, method);
            assert_eq!(status(&answer), 405, "{:?}: {method}: {answer}", asking.kind);
            let allow = answer.lines().find(|line| line.to_lowercase().starts_with("allow: "));
            assert_eq!(allow.map(|line| &line[7..]), Some("GET"), "{method}: {answer}");
            assert!(!answer.to_lowercase().contains("access-control-allow"), "{answer}");
        }
        for target in [asking.authority(), "evil.example:80", "127.0.0.1:22"] {
            let bytes = request(asking, "CONNECT", target, &own_host(asking), "");
            assert_no_token(asking, &raw(&asking.base, &bytes).await, "CONNECT");
        }
    }
}

/// What another server could read as two requests is one refused request: nothing of its body is answered.
#[tokio::test]
async fn a_request_hidden_in_a_body_is_not_answered() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let target = format!("{}?{}", asking.path, asking.query);
        let hidden = request(asking, "GET", &target, &own_host(asking), "");
        let length = hidden.len();
        for framing in [
            format!(
                "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                length + 5
            ),
            format!(
                "Transfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n0\r\n\r\n",
                length + 5
            ),
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n".to_owned(),
            "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n".to_owned(),
            format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n"),
            format!("Content-Length: {length}, {length}\r\n\r\n"),
            "Content-Length: +0\r\n\r\n".to_owned(),
            "Content-Length: -1\r\n\r\n".to_owned(),
            "Content-Length: 0x0\r\n\r\n".to_owned(),
            "Content-Length: 99999999999999999999\r\n\r\n".to_owned(),
        ] {
            for method in ["GET", "POST"] {
                let own: String = asking
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}\r\n"))
                    .collect();
                let head = format!("{method} {target} HTTP/1.1\r\n{}{own}", own_host(asking));
                let answer = raw(&asking.base, &format!("{head}{framing}{hidden}")).await;
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
        let target = format!("{}?{}", asking.path, asking.query);
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
        ] {
            let bytes = request(asking, "GET", &target, &own_host(asking), line);
            assert_no_token(asking, &raw(&asking.base, &bytes).await, line);
        }
        for target in ["/\0", "/a b", "\\", "*", "", "//", "/%00", "/%2e%2e/", "/\u{e9}", "/%ff"] {
            let bytes = request(asking, "GET", target, &own_host(asking), "");
            assert_no_token(asking, &raw(&asking.base, &bytes).await, target);
        }
        let many = "X: y\r\n".repeat(200);
        let long = format!("X: {}\r\n", "y".repeat(300_000));
        for line in [many, long] {
            let bytes = request(asking, "GET", &target, &own_host(asking), &line);
            // A head that is too long is not read to its end, so that the answer may be lost on the way.
            let answer = attempt(&asking.base, &bytes).await;
            assert_no_token(asking, &answer, "a head that is too large");
        }
    }
}

/// As [`raw`], of a server that may close the connection while it is written to.
async fn attempt(base: &str, bytes: &str) -> String {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
    let _ = stream.write_all(bytes.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_chunked_body_is_refused() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        warm(&cloud, asking).await;
        let target = format!("{}?{}", asking.path, asking.query);
        for method in ["GET", "POST"] {
            let head = request(
                asking,
                method,
                &target,
                &own_host(asking),
                "Transfer-Encoding: chunked\r\n",
            );
            let answer = raw(&asking.base, &format!("{head}5\r\nhello\r\n0\r\n\r\n")).await;
            assert_refused(asking, &answer, method);
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
        let target = format!("{}?{}", asking.path, asking.query);
        let (own, foreign) = (own_host(asking), format!("Host: {elsewhere}\r\n"));
        for (method, line, host, more) in [
            ("GET", format!("http://{elsewhere}{target}"), &own, String::new()),
            ("GET", format!("http://{elsewhere}{target}"), &foreign, String::new()),
            ("GET", format!("https://{elsewhere}{target}"), &own, String::new()),
            (
                "GET",
                format!("http://{}@{elsewhere}{target}", asking.authority()),
                &own,
                String::new(),
            ),
            ("GET", target.clone(), &foreign, String::new()),
            ("CONNECT", elsewhere.clone(), &own, String::new()),
            ("CONNECT", elsewhere.clone(), &foreign, String::new()),
            ("GET", target.clone(), &own, format!("Forwarded: host={elsewhere}\r\n")),
        ] {
            let bytes = request(asking, method, &line, host, &more);
            assert_no_token(asking, &raw(&asking.base, &bytes).await, &line);
        }
        for more in [
            format!("X-Forwarded-Host: {elsewhere}\r\n"),
            format!(
                "X-Original-URL: http://{elsewhere}/\r\nX-Rewrite-URL: http://{elsewhere}/\r\n"
            ),
            format!(
                "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nOrigin: http://{elsewhere}\r\n"
            ),
        ] {
            let answer = raw(&asking.base, &request(asking, "GET", &target, &own, &more)).await;
            assert_eq!(status(&answer), 200, "what nobody reads changes nothing: {more}: {answer}");
        }
        for named in ["resource", "authority", "msi_res_id", "url"] {
            let target = format!("{}?{}&{named}=http://{elsewhere}/", asking.path, asking.query);
            raw(&asking.base, &request(asking, "GET", &target, &own, "")).await;
        }
        let absolute = format!("{}{target}", asking.base);
        let answer = raw(&asking.base, &request(asking, "GET", &absolute, &own, "")).await;
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
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{:?}", asking.kind);
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
    let absent = "00000000-1111-2222-3333-444444444444";
    let absent_id = cloud.identity_id("absent");
    for asking in &all {
        let resource_id = if asking.kind.has_secret() { "mi_res_id" } else { "msi_res_id" };
        for (name, value, none) in [
            ("client_id", text("clientId"), absent),
            ("object_id", text("principalId"), absent),
            (resource_id, cloud.identity_id("foreign"), &absent_id),
        ] {
            let of = |value: &str| Asking {
                query: format!("{}&{name}={value}", asking.query),
                ..asking.clone()
            };
            let (foreign, absent) = (of(&value).ask(&cloud).await, of(none).ask(&cloud).await);
            assert_eq!(foreign.status, StatusCode::BAD_REQUEST, "{:?} {name}", asking.kind);
            assert_eq!(asking.error_text(&foreign), asking.error_text(&absent));
            assert_eq!(absent.status, StatusCode::BAD_REQUEST);
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
            assert_eq!(
                asking.ask(&cloud).await.status,
                StatusCode::BAD_REQUEST,
                "{:?}",
                asking.kind
            );
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
        let mut slow = Vec::new();
        for length in 1..200 {
            let whole = request(asking, "GET", &asking.path, &own_host(asking), "");
            let mut stream = TcpStream::connect(asking.authority()).await.unwrap();
            stream.write_all(&whole.as_bytes()[..length.min(whole.len() - 1)]).await.unwrap();
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
        let target = format!("{}?{}", asking.path, asking.query);
        let bytes =
            request(asking, "GET", &target, &own_host(asking), "X: a\nForwarded: for=b\r\n");
        assert_refused(
            asking,
            &raw(&asking.base, &bytes).await,
            "a line after a line feed is read",
        );
        let bytes = request(asking, "GET", &target, &own_host(asking), "X: a\n folded\r\n");
        assert_no_token(asking, &raw(&asking.base, &bytes).await, "folded after a line feed");
    }
}

/// A body that is announced and does not come holds its own connection only.
#[tokio::test]
async fn a_body_that_does_not_come_holds_up_nobody_else() {
    let (cloud, all) = endpoints().await;
    for asking in &all {
        let target = format!("{}?{}", asking.path, asking.query);
        let mut waiting = Vec::new();
        for framing in ["Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"] {
            for method in ["GET", "POST"] {
                let head = request(asking, method, &target, &own_host(asking), framing);
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
