//! The token service: token-endpoints checklist 47 to 52 and 54 to 62.

use std::sync::atomic::{AtomicU32, Ordering};

use http::StatusCode;
use keycard_crypto::jwt;
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_key::SigningKey;
use keycard_crypto::{digest, encoding, test_keys};
use keycard_domain::limits::Profile;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Choice, Cloud, VAULT_AUDIENCE, claims, header};

async fn document(cloud: &Cloud, path: &str) -> Value {
    let url = format!(
        "{}/{}{path}",
        cloud.description().endpoints.loopback,
        cloud.description().tenant_id
    );
    cloud.get(&url, &[]).await.body
}

/// 47, 48, 59
#[tokio::test]
async fn discovery_leads_back_to_where_it_was_asked() {
    let cloud = Cloud::start().await;
    let base = cloud.description().endpoints.loopback.clone();
    let v1 = document(&cloud, "/.well-known/openid-configuration").await;
    let v2 = document(&cloud, "/v2.0/.well-known/openid-configuration").await;
    let tenant = &cloud.description().tenant_id;
    let login = &cloud.description().endpoints.token_service;
    assert_eq!(v1["issuer"], format!("{login}/{tenant}/"));
    assert_eq!(v2["issuer"], format!("{login}/{tenant}/v2.0"));
    assert_eq!(v2["token_endpoint"], format!("{base}/{tenant}/oauth2/v2.0/token"));
    assert!(v2["authorization_endpoint"].as_str().unwrap().starts_with(&base));
    let keys = cloud.get(v2["jwks_uri"].as_str().unwrap(), &[]).await.body;
    let token = cloud.admin_token(ARM_AUDIENCE).await;
    let key = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header(&token)["kid"])
        .unwrap();
    assert_eq!(header(&token)["x5t"], key["x5t"]);
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        assert!(key.get(private).is_none());
    }
    for unknown in ["8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "nobody.example"] {
        let answer = cloud
            .get(&format!("{base}/{unknown}/v2.0/.well-known/openid-configuration"), &[])
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.body["error_codes"], json!([90002]));
    }
    assert_eq!(
        cloud
            .get(&format!("{base}/organizations/v2.0/.well-known/openid-configuration"), &[])
            .await
            .status,
        StatusCode::OK
    );
}

/// 49, 55, 58
#[tokio::test]
async fn a_secret_gives_a_token_in_both_dialects() {
    let cloud = Cloud::start().await;
    let v2 = cloud.token_request("v2.0/", "scope=https://vault.azure.net/.default").await;
    assert_eq!(v2.status, StatusCode::OK);
    assert_eq!((&v2.body["expires_in"], &v2.body["token_type"]), (&json!(28800), &json!("Bearer")));
    assert_eq!(v2.body["refresh_in"], json!(14400));
    assert!(v2.headers["cache-control"].to_str().unwrap().contains("no-store"));
    let v1 = cloud.token_request("", "resource=https://vault.azure.net").await;
    assert_eq!(v1.body["expires_in"], "28800");
    assert_eq!(v1.body["resource"], "https://vault.azure.net");
    let tenant = &cloud.description().tenant_id;
    let administrator = &cloud.description().administrator;
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}&scope=https://vault.azure.net//.default&x-client-SKU=x",
        administrator.client_id,
        administrator.client_secret.expose()
    );
    let queried =
        cloud.post_form(&format!("/{tenant}/oauth2/v2.0/token?client-request-id=1"), &form).await;
    assert_eq!(queried.status, StatusCode::OK);
}

/// 54, 55, 56
#[tokio::test]
async fn refusals_carry_their_number_and_the_clients_correlation_id() {
    let cloud = Cloud::start().await;
    let tenant = cloud.description().tenant_id.clone();
    let administrator = cloud.description().administrator.clone();
    let (client, secret) =
        (administrator.client_id, administrator.client_secret.expose().to_owned());
    let scope = "scope=https://vault.azure.net/.default";
    let unknown = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
    for (form, status, error, number) in [
        (
            format!("grant_type=client_credentials&client_id={unknown}&client_secret=x&{scope}"),
            400,
            "unauthorized_client",
            700_016,
        ),
        (
            format!("grant_type=client_credentials&client_id=x&client_secret=x&{scope}"),
            400,
            "unauthorized_client",
            700_016,
        ),
        (
            format!("grant_type=client_credentials&client_id={client}&client_secret=wrong&{scope}"),
            401,
            "invalid_client",
            7_000_215,
        ),
        (
            format!("grant_type=client_credentials&client_id={client}&{scope}"),
            401,
            "invalid_client",
            7_000_218,
        ),
        (
            format!(
                "grant_type=client_credentials&client_id={client}&client_secret={secret}&scope=https://vault.azure.net"
            ),
            400,
            "invalid_scope",
            1_002_012,
        ),
        (
            format!(
                "grant_type=client_credentials&client_id={client}&client_secret={secret}&scope=https://nobody.example/.default"
            ),
            400,
            "invalid_resource",
            500_011,
        ),
        (
            format!("grant_type=client_credentials&client_id={client}&client_secret={secret}"),
            400,
            "invalid_request",
            900_144,
        ),
        (
            format!("client_id={client}&client_secret={secret}&{scope}"),
            400,
            "invalid_request",
            900_144,
        ),
        (
            format!("grant_type=password&client_id={client}&{scope}"),
            400,
            "unsupported_grant_type",
            70003,
        ),
    ] {
        let answer = cloud.post_form(&format!("/{tenant}/oauth2/v2.0/token"), &form).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body["error"].as_str()),
            (status, Some(error)),
            "{form}: {}",
            answer.body
        );
        assert_eq!(answer.body["error_codes"], json!([number]));
        assert!(
            answer.body["error_description"]
                .as_str()
                .unwrap()
                .starts_with(&format!("AADSTS{number}: "))
        );
        assert_eq!(answer.body["correlation_id"], "11111111-2222-3333-4444-555555555555");
        assert_eq!(answer.headers["client-request-id"], "11111111-2222-3333-4444-555555555555");
        for member in ["timestamp", "trace_id", "error_uri"] {
            assert!(answer.body[member].is_string(), "{member}");
        }
    }
    let answer = cloud
        .post_form(
            &format!("/{unknown}/oauth2/v2.0/token"),
            &format!(
                "grant_type=client_credentials&client_id={client}&client_secret={secret}&{scope}"
            ),
        )
        .await;
    assert_eq!(answer.body["error_codes"], json!([90002]));
}

/// 57
#[tokio::test]
async fn a_capability_is_put_into_the_token() {
    let cloud = Cloud::start().await;
    let more = r#"scope=https://vault.azure.net/.default&claims={"access_token":{"xms_cc":{"values":["CP1"]}}}"#;
    let answer = cloud.token_request("v2.0/", more).await;
    let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
    assert_eq!(claims(&token)["xms_cc"], json!(["CP1"]));
}

/// 60, 61, 62
#[tokio::test]
async fn a_token_says_who_from_where_and_for_what() {
    let azure = Choice { uses_azure_issuer: true, ..Choice::default() };
    let cloud = Cloud::start_with(azure).await;
    let user = cloud.put_identity("mi-1").await;
    let vm = cloud.put_vm("vm1", true, &["mi-1"]).await;
    let tenant = &cloud.description().tenant_id;
    let lower = |id: String| id.replace("/resourceGroups/", "/resourcegroups/");
    let selector = format!("&client_id={}", user["properties"]["clientId"].as_str().unwrap());
    for (selector, principal, identity) in [
        ("", &vm["identity"]["principalId"], lower(cloud.vm_id("vm1"))),
        (&selector, &user["properties"]["principalId"], lower(cloud.identity_id("mi-1"))),
    ] {
        for resource in ["https://vault.azure.net", "https://vault.azure.net/"] {
            let claims = claims(&cloud.vm_token("vm1", resource, selector).await);
            assert_eq!(claims["iss"], format!("https://sts.windows.net/{tenant}/"));
            assert_eq!(claims["idp"], claims["iss"]);
            assert_eq!(
                (&claims["ver"], &claims["appidacr"], &claims["idtyp"]),
                (&json!("1.0"), &json!("2"), &json!("app"))
            );
            assert_eq!((&claims["oid"], &claims["sub"]), (principal, principal));
            assert_eq!(claims["tid"], *tenant);
            assert_eq!(claims["aud"], resource);
            assert_eq!(claims["xms_mirid"], identity);
            assert_eq!(claims["xms_az_rid"], lower(cloud.vm_id("vm1")));
            assert_eq!(claims["exp"].as_i64().unwrap() - cloud.now(), 8 * 3600);
        }
    }
    let azure = Choice { profile: Profile::Azure, ..Choice::default() };
    let cloud = Cloud::start_with(azure).await;
    cloud.put_vm("vm1", true, &[]).await;
    let lives = |token: &Secret| claims(token)["exp"].as_i64().unwrap() - cloud.now();
    assert_eq!(lives(&cloud.vm_token("vm1", VAULT_AUDIENCE, "").await), 24 * 3600);
    let of_applications = lives(&cloud.admin_token(ARM_AUDIENCE).await);
    assert!((3600..5400).contains(&of_applications), "{of_applications}");
}

/// A certificate of the administrator, and the ways in which clients write assertions with its key.
struct Certified {
    cloud: Cloud,
    key: SigningKey,
    certificate: Vec<u8>,
    assertions: AtomicU32,
}

async fn certified() -> Certified {
    let key = test_keys::signing_key();
    let (from, until) = (
        time::macros::datetime!(2026-01-01 0:00 UTC),
        time::macros::datetime!(2036-01-01 0:00 UTC),
    );
    let certificate = key.self_signed_certificate("administrator", from, until).unwrap();
    let choice =
        Choice { administrator_certificate: Some(certificate.clone()), ..Choice::default() };
    let cloud = Cloud::start_with(choice).await;
    Certified { cloud, key, certificate, assertions: AtomicU32::new(0) }
}

impl Certified {
    fn claims(&self) -> Value {
        let client = &self.cloud.description().administrator.client_id;
        let now = self.cloud.now();
        let jti = self.assertions.fetch_add(1, Ordering::Relaxed).to_string();
        json!({
            "aud": format!("{}/{}/oauth2/v2.0/token", self.cloud.description().endpoints.token_service, self.cloud.description().tenant_id),
            "iss": client, "sub": client, "jti": jti, "nbf": now, "iat": now, "exp": now + 600,
        })
    }

    fn header(&self) -> Value {
        json!({ "alg": "RS256", "typ": "JWT", "x5t": encoding::base64url_encode(&digest::sha1(&self.certificate)) })
    }

    fn assertion(&self, header: &Value, claims: &Value) -> String {
        let unsigned = jwt::signing_input(header, claims).unwrap();
        let signature = self.key.sign(unsigned.as_bytes()).unwrap();
        jwt::assemble(unsigned, &signature)
    }

    async fn present(&self, assertion: &str) -> (u16, Value) {
        self.present_for("https://vault.azure.net", assertion).await
    }

    async fn present_for(&self, resource: &str, assertion: &str) -> (u16, Value) {
        let encoded = assertion.replace('=', "%3D").replace('+', "%2B").replace('/', "%2F");
        let form = format!(
            "grant_type=client_credentials&client_id={}&scope={resource}/.default&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={encoded}",
            self.cloud.description().administrator.client_id
        );
        let path = format!("/{}/oauth2/v2.0/token", self.cloud.description().tenant_id);
        let answer = self.cloud.post_form(&path, &form).await;
        (answer.status.as_u16(), answer.body["error_codes"][0].clone())
    }

    async fn check(&self, change: impl Fn(&mut Value, &mut Value), expected: (u16, Value)) {
        let (mut header, mut claims) = (self.header(), self.claims());
        change(&mut header, &mut claims);
        let got = self.present(&self.assertion(&header, &claims)).await;
        assert_eq!(got, expected, "{header} {claims}");
    }
}

/// 50, 51
#[tokio::test]
async fn assertions_are_taken_in_every_spelling_that_clients_have() {
    let certified = certified().await;
    let good = || (200, Value::Null);
    let sha1 = digest::sha1(&certified.certificate);
    let sha256 = digest::sha256(&certified.certificate);
    certified.check(|_, _| {}, good()).await;
    certified
        .check(|header, _| header["x5t"] = json!(encoding::base64_encode(&sha1)), good())
        .await;
    certified.check(|header, _| *header = json!({ "alg": "RS256", "x5t#S256": format!("{}=", encoding::base64url_encode(&sha256)) }), good()).await;
    certified.check(|header, _| header["x5c"] = json!("one string"), good()).await;
    certified
        .check(|header, _| header["x5c"] = json!(["-----BEGIN", "line\nbreaks"]), good())
        .await;
    let now = certified.cloud.now();
    certified
        .check(
            |_, claims| {
                claims["exp"] = json!(now as f64 + 600.25);
                claims["iat"] = json!(now as f64 + 0.5);
            },
            good(),
        )
        .await;
    certified
        .check(
            |_, claims| {
                claims["exp"] = json!((now + 600).to_string());
                claims["nbf"] = json!(now.to_string());
            },
            good(),
        )
        .await;
    certified
        .check(
            |_, claims| {
                claims.as_object_mut().unwrap().remove("iat");
                claims.as_object_mut().unwrap().remove("nbf");
            },
            good(),
        )
        .await;
    let tenant = certified.cloud.description().tenant_id.clone();
    let login = certified.cloud.description().endpoints.token_service.clone();
    for audience in [
        format!("{login}/{tenant}/v2.0"),
        format!("{login}/{tenant}"),
        format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"),
        format!("https://LOGIN.microsoftonline.com/{}/v2.0", tenant.to_ascii_uppercase()),
        format!("{login}/keycard.onmicrosoft.com/oauth2/token"),
    ] {
        certified.check(|_, claims| claims["aud"] = json!(audience), good()).await;
    }
    // Padding inside the signed segments is what the client signed; here only the signature is padded.
    let assertion = certified.assertion(&certified.header(), &certified.claims());
    assert_eq!(certified.present(&format!("{assertion}==")).await, good());
}

/// 52
#[tokio::test]
async fn an_assertion_that_is_not_the_clients_is_refused() {
    let certified = certified().await;
    let now = certified.cloud.now();
    let refused = |number: u32| (401, json!(number));
    certified
        .check(|_, claims| claims["aud"] = json!("https://elsewhere.example"), refused(700_027))
        .await;
    let login = certified.cloud.description().endpoints.token_service.clone();
    for tenant in ["other.onmicrosoft.com", "", "common"] {
        let audience = format!("{login}/{tenant}/oauth2/token");
        certified.check(|_, claims| claims["aud"] = json!(audience), refused(700_027)).await;
    }
    certified.check(|_, claims| claims["aud"] = json!(null), refused(700_027)).await;
    certified.check(|_, claims| claims["iss"] = json!("someone"), refused(700_027)).await;
    certified.check(|_, claims| claims["sub"] = json!("someone"), refused(700_027)).await;
    certified.check(|_, claims| claims["exp"] = json!(now - 301), refused(700_024)).await;
    certified.check(|_, claims| claims["nbf"] = json!(now + 301), refused(700_024)).await;
    certified.check(|_, claims| claims["exp"] = json!(now + 3 * 86400), refused(700_024)).await;
    certified.check(|header, _| header["x5t"] = json!("AAAA"), refused(700_027)).await;
    certified.check(|header, _| *header = json!({ "alg": "RS256" }), refused(700_027)).await;
    certified.check(|header, _| header["alg"] = json!("none"), refused(700_027)).await;
    certified.check(|header, _| header["alg"] = json!("HS256"), refused(700_027)).await;
    certified
        .check(
            |_, claims| {
                claims.as_object_mut().unwrap().remove("exp");
            },
            (400, json!(50027)),
        )
        .await;
    assert_eq!(certified.present("not.a.jwt").await, (400, json!(50027)));
    let tampered = certified.assertion(&certified.header(), &certified.claims());
    let (unsigned, _) = tampered.rsplit_once('.').unwrap();
    assert_eq!(certified.present(&format!("{unsigned}.AAAA")).await, refused(700_027));
}

/// SDKs present one assertion for several resources, so that is no replay; the same request once more is one.
#[tokio::test]
async fn a_replayed_assertion_is_refused() {
    let certified = certified().await;
    let replayed = || (401, json!(70_002));
    let fresh = || certified.assertion(&certified.header(), &certified.claims());
    let assertion = fresh();
    let good = || (200, Value::Null);
    assert_eq!(certified.present(&assertion).await, good());
    assert_eq!(certified.present(&assertion).await, replayed());
    assert_eq!(certified.present_for("https://storage.azure.com", &assertion).await, good());
    for other_name in ["https://storage.azure.com/", "e406a681-f3d4-42a8-90b6-c2b029497af1"] {
        assert_eq!(certified.present_for(other_name, &assertion).await, replayed());
    }
    // What led to no token was not used up.
    let assertion = fresh();
    assert_eq!(certified.present_for("https://nobody.example", &assertion).await.0, 400);
    assert_eq!(certified.present(&assertion).await, good());
    // One that names itself not is told apart by all that was signed; padding is no disguise.
    let mut claims = certified.claims();
    claims.as_object_mut().unwrap().remove("jti");
    let nameless = certified.assertion(&certified.header(), &claims);
    assert_eq!(certified.present(&nameless).await, good());
    assert_eq!(certified.present(&format!("{nameless}==")).await, replayed());
    certified.cloud.clock.advance(time::Duration::minutes(16));
    assert_eq!(certified.present(&nameless).await, (401, json!(700_024)), "it has ended");
}

/// A certificate is good for the identity that it was issued to, and a token-signing key for no client at all.
#[tokio::test]
async fn a_valid_key_of_somebody_else_is_no_proof() {
    let certified = certified().await;
    let vm = certified.cloud.put_vm("vm1", true, &[]).await;
    let vault = "https://vault.azure.net";
    let token = certified.cloud.vm_token("vm1", vault, "").await;
    let client = claims(&token)["appid"].clone();
    assert!(vm["identity"]["principalId"].is_string());
    // The administrator's certificate, for the VM's identity.
    let mut as_vm = certified.claims();
    (as_vm["iss"], as_vm["sub"]) = (client.clone(), client.clone());
    let assertion = certified.assertion(&certified.header(), &as_vm);
    let form = format!(
        "grant_type=client_credentials&client_id={}&scope={vault}/.default&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={assertion}",
        client.as_str().unwrap()
    );
    let path = format!("/{}/oauth2/v2.0/token", certified.cloud.description().tenant_id);
    let answer = certified.cloud.post_form(&path, &form).await;
    assert_eq!((answer.status.as_u16(), &answer.body["error_codes"][0]), (401, &json!(700_027)));
    assert!(answer.body.get("access_token").is_none());
    // The thumbprint of the key that signs the tenant's tokens, and one of those tokens.
    let signing = header(&token)["kid"].clone();
    certified.check(|header, _| header["x5t"] = signing.clone(), (401, json!(700_027))).await;
    assert_eq!(certified.present(token.expose()).await, (401, json!(700_027)));
    // What a header brings along is not looked at.
    for (member, value) in [
        ("jwk", json!({ "kty": "RSA" })),
        ("jku", json!("https://127.0.0.1:1/keys")),
        ("x5u", json!("https://127.0.0.1:1/cert")),
    ] {
        certified.check(|header, _| header[member] = value.clone(), (200, Value::Null)).await;
        let elsewhere = |header: &mut Value, _: &mut Value| {
            *header = json!({ "alg": "RS256", "kid": "mine", member: value });
        };
        certified.check(elsewhere, (401, json!(700_027))).await;
    }
    certified.check(|header, _| header["alg"] = json!("ES256"), (401, json!(700_027))).await;
    certified.check(|header, _| header["alg"] = json!("ES384"), (401, json!(700_027))).await;
}

#[tokio::test]
async fn a_bad_form_is_refused_in_the_services_own_shape() {
    let cloud = Cloud::start().await;
    let path = format!("/{}/oauth2/v2.0/token", cloud.description().tenant_id);
    let huge = format!("grant_type=client_credentials&x={}", "y".repeat(70_000));
    let answer = cloud.post_form(&path, &huge).await;
    assert_eq!(
        (answer.status, answer.body["error"].as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("invalid_request"))
    );
    let url = format!("{}{path}", cloud.description().endpoints.loopback);
    let answer = cloud.get(&url, &[]).await;
    assert_eq!(
        (answer.status, answer.body["error"].as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, Some("invalid_request"))
    );
    let answer = cloud.get(&format!("{url}/nowhere"), &[]).await;
    assert_eq!(
        (answer.status, answer.body["error"].as_str()),
        (StatusCode::NOT_FOUND, Some("invalid_request"))
    );
}
