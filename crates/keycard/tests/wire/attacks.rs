//! Attacks, each a test: tokens that are not good, requests that no workload sends. data-planes checklist 1 to 4.

use http::{Method, StatusCode};
use keycard_crypto::secret::Secret;
use keycard_crypto::{encoding, jwt, test_keys};
use serde_json::{Value, json};

use crate::graph::Directory;
use crate::harness::{Cloud, SECRETS_USER, VAULT_AUDIENCE, claims, header, raw};

/// A VM that may read a secret, with its good token.
async fn reader() -> (Cloud, Secret, String) {
    let cloud = Cloud::start().await;
    let own = cloud.open_vault("kv1").await;
    let url = cloud.vault_url("kv1", "/secrets/s1?api-version=7.4");
    cloud.vault(Some(&own), Method::PUT, &url, Some(json!({ "value": "x" }))).await;
    let vm = cloud.put_vm("vm1", true, &[]).await;
    cloud
        .grant(
            &cloud.vault_id("kv1"),
            SECRETS_USER,
            vm["identity"]["principalId"].as_str().unwrap(),
        )
        .await;
    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    assert_eq!(cloud.vault(Some(&token), Method::GET, &url, None).await.status, StatusCode::OK);
    (cloud, token, url)
}

fn segment(value: &Value) -> String {
    encoding::base64url_encode(value.to_string().as_bytes())
}

/// data-planes 1: forged tokens of every kind are 401, on the vault and on Resource Manager.
#[tokio::test]
async fn a_forged_token_is_no_token() {
    let (cloud, good, url) = reader().await;
    let (head, body) = (header(&good), claims(&good));
    let signature = good.expose().rsplit('.').next().unwrap().to_owned();
    let mut changed = body.clone();
    changed["oid"] = json!(cloud.description().administrator.object_id);
    let mut other_key = head.clone();
    other_key["kid"] = json!("unknown");
    let foreign = |head: &Value, body: &Value| {
        let unsigned = jwt::signing_input(head, body).unwrap();
        let signature = test_keys::signing_key().sign(unsigned.as_bytes()).unwrap();
        jwt::assemble(unsigned, &signature)
    };
    let with_alg = |alg: &str| {
        let mut head = head.clone();
        head["alg"] = json!(alg);
        segment(&head)
    };
    let forged = [
        format!("{}.{}.{signature}", segment(&head), segment(&changed)),
        format!("{}.{}.", with_alg("none"), segment(&body)),
        format!("{}.{}.{signature}", with_alg("none"), segment(&body)),
        format!("{}.{}.{signature}", with_alg("HS256"), segment(&body)),
        format!("{}.{}.{signature}", with_alg("PS256"), segment(&body)),
        format!("{}.{}", segment(&head), segment(&body)),
        foreign(&head, &body),
        foreign(&other_key, &body),
        foreign(
            &json!({ "alg": "RS256", "jwk": { "kty": "RSA" }, "jku": "https://evil.example", "kid": head["kid"] }),
            &body,
        ),
        "x".repeat(40_000),
        "a.b.c".to_owned(),
    ];
    for token in forged {
        let token = Secret::new(token);
        let answer = cloud.vault(Some(&token), Method::GET, &url, None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", token.expose());
        assert!(answer.headers.contains_key("www-authenticate"));
        let answer = cloud.arm(Some(&token), Method::GET, &cloud.group(), "2024-11-01", None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
}

/// data-planes 2
#[tokio::test]
async fn a_token_is_good_in_its_time_only() {
    let (cloud, token, url) = reader().await;
    cloud.clock.advance(time::Duration::hours(8) - time::Duration::SECOND);
    assert_eq!(cloud.vault(Some(&token), Method::GET, &url, None).await.status, StatusCode::OK);
    cloud.clock.advance(time::Duration::SECOND);
    assert_eq!(
        cloud.vault(Some(&token), Method::GET, &url, None).await.status,
        StatusCode::UNAUTHORIZED
    );
}

/// data-planes 3
#[tokio::test]
async fn an_audience_counts_in_both_spellings() {
    let (cloud, _, url) = reader().await;
    let own =
        format!("https://{}", cloud.description().suffixes.key_vault_dns.trim_start_matches('.'));
    for resource in [
        "https://vault.azure.net",
        "https://vault.azure.net/",
        &own,
        "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",
    ] {
        let token = cloud.vm_token("vm1", resource, "").await;
        assert_eq!(claims(&token)["aud"], *resource);
        assert_eq!(
            cloud.vault(Some(&token), Method::GET, &url, None).await.status,
            StatusCode::OK,
            "{resource}"
        );
    }
}

/// data-planes 6: the key that signs is the one that is published, and stays over the token's life.
#[tokio::test]
async fn the_published_key_verifies_the_token() {
    let (cloud, token, _) = reader().await;
    let url = format!(
        "{}/{}/discovery/v2.0/keys",
        cloud.description().endpoints.loopback,
        cloud.description().tenant_id
    );
    let keys = cloud.get(&url, &[]).await.bytes;
    let keys = keycard_crypto::jwk::read_key_set(&keys).unwrap();
    let kid = header(&token)["kid"].as_str().unwrap().to_owned();
    let key = keys.iter().find(|key| key.kid.as_deref() == Some(&kid)).unwrap();
    let jwt = jwt::UnverifiedJwt::parse(token.expose(), 40_000).unwrap();
    assert_eq!(jwt.verify(&key.key).unwrap()["aud"], VAULT_AUDIENCE);
}

/// Rebinding, forwarding, smuggling: requests that no workload sends, at the metadata endpoint.
#[tokio::test]
async fn requests_that_no_workload_sends_are_refused() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let url = cloud.imds("vm1").await;
    let host = url.trim_start_matches("http://").to_owned();
    let port = host.rsplit(':').next().unwrap().to_owned();
    let target =
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
    let request = |line: &str, host: &str, more: &str| {
        format!("{line} HTTP/1.1\r\n{host}Metadata: true\r\n{more}Connection: close\r\n\r\n")
    };
    let own = format!("Host: {host}\r\n");
    // Twice each: the second time the answer is ready in the fast lane.
    for _ in 0..2 {
        for good in [
            own.clone(),
            format!("Host: localhost:{port}\r\n"),
            "Host: 169.254.169.254\r\n".to_owned(),
        ] {
            let answer = raw(&url, &request(&format!("GET {target}"), &good, "")).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{good}: {answer}");
        }
        let absolute = raw(&url, &request(&format!("GET http://{host}{target}"), &own, "")).await;
        assert!(absolute.starts_with("HTTP/1.1 200"), "{absolute}");
        for (line, host, more) in [
            (format!("GET {target}"), "Host: evil.example\r\n".to_owned(), ""),
            (format!("GET {target}"), format!("Host: evil.example:{port}\r\n"), ""),
            (format!("GET {target}"), format!("{own}{own}"), ""),
            (format!("GET {target}"), String::new(), ""),
            (format!("GET http://evil.example{target}"), own.clone(), ""),
            (format!("GET http://evil.example{target}"), "Host: evil.example\r\n".to_owned(), ""),
            (format!("GET {target}"), own.clone(), "X-Forwarded-For: 127.0.0.1\r\n"),
            (format!("GET {target}"), own.clone(), "Transfer-Encoding: chunked\r\n"),
            (
                format!("GET {target}"),
                own.clone(),
                "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            ),
            (format!("GET {target}"), own.clone(), "Content-Length: 3\r\nContent-Length: 4\r\n"),
            (format!("GET {target}"), own.clone(), "Bad Header: x\r\n"),
            (format!("GET {target}"), own.clone(), " folded: x\r\n"),
            (
                format!("GET /metadata/identity/../identity/oauth2/token{}", &target[30..]),
                own.clone(),
                "",
            ),
            (format!("CONNECT {host}"), own.clone(), ""),
        ] {
            let answer = raw(&url, &request(&line, &host, more)).await;
            assert!(
                answer.starts_with("HTTP/1.1 4") || answer.is_empty(),
                "{line} {host} {more}: {answer}"
            );
            assert!(!answer.contains("access_token"));
        }
    }
}

/// An identity that another resource has is not this one's.
#[tokio::test]
async fn a_workload_gets_no_identity_that_its_resource_does_not_have() {
    let cloud = Cloud::start().await;
    let foreign = cloud.put_identity("mi-1").await;
    cloud.put_vm("vm1", true, &[]).await;
    cloud.put_vm("vm2", false, &["mi-1"]).await;
    let selector = format!("&client_id={}", foreign["properties"]["clientId"].as_str().unwrap());
    let query = format!("api-version=2018-02-01&resource={VAULT_AUDIENCE}{selector}");
    assert_eq!(cloud.metadata("vm2", &query).await.status, StatusCode::OK);
    assert_eq!(cloud.metadata("vm1", &query).await.status, StatusCode::BAD_REQUEST);
}

/// The name of a host decides which face answers; an unknown one reaches nothing.
#[tokio::test]
async fn a_foreign_host_name_reaches_no_face() {
    let cloud = Cloud::start().await;
    let port = cloud.server.port;
    let url = format!("https://localhost:{port}/subscriptions?api-version=2022-12-01");
    let answer = cloud.get(&url, &[("Host", "evil.example")]).await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("NotFound"))
    );
    for (host, status) in [("portal.keycard.localhost", 501), ("acct.blob.core.windows.net", 501)] {
        assert_eq!(cloud.get(&url, &[("Host", host)]).await.status.as_u16(), status, "{host}");
    }
}

/// A stored record wraps what a body says: what could be written and not read again would end every later start.
#[tokio::test]
async fn a_body_nested_too_deeply_is_refused_and_the_deepest_is_read_again() {
    let cloud = Cloud::start().await;
    let nested = |depth: usize| (0..depth).fold(json!(1), |value, _| json!([value]));
    let put = async |depth: usize| {
        let body = json!({ "location": "local", "properties": { "osProfile": nested(depth) } });
        cloud.admin(Method::PUT, &cloud.vm_id("vm1"), "2024-07-01", Some(body)).await.status
    };
    assert_eq!(put(98).await, StatusCode::CREATED);
    for depth in [99, 120, 125] {
        assert_eq!(put(depth).await, StatusCode::BAD_REQUEST, "{depth}");
    }
    let directory = Directory::of(&cloud).await;
    let group = json!({ "displayName": "g", "mailNickname": "g", "mailEnabled": false,
        "securityEnabled": true, "x": nested(110) });
    let (status, refused) = directory.send(Method::POST, "/groups", Some(group)).await;
    assert_eq!(status, 400, "{refused}");
}
