//! What a machine is told of itself: token-endpoints checklist 68 to 73.

use http::{Method, StatusCode};
use keycard::client::Answer;
use serde_json::{Value, json};

use crate::harness::{Cloud, raw};

const NEWEST: &str = "2025-04-07";

fn network(cloud: &Cloud, kind_and_name: &str) -> String {
    format!("{}/providers/Microsoft.Network/{kind_and_name}", cloud.group())
}

/// A machine about which everything is said that the service tells.
async fn furnished() -> Cloud {
    let cloud = Cloud::start().await;
    let at = |of: &str| network(&cloud, of);
    let version = "2024-05-01";
    cloud
        .put(
            &at("virtualNetworks/net"),
            version,
            json!({ "location": "eastus", "properties": {
                "addressSpace": { "addressPrefixes": ["10.1.0.0/16"] },
                "subnets": [{ "name": "inner", "properties": { "addressPrefix": "10.1.2.0/24" } }],
            }}),
        )
        .await;
    cloud
        .put(
            &at("publicIPAddresses/front"),
            version,
            json!({
                "location": "eastus", "properties": { "ipAddress": "40.0.0.7" },
            }),
        )
        .await;
    cloud
        .put(
            &at("networkInterfaces/nic"),
            version,
            json!({ "location": "eastus", "properties": {
                "macAddress": "00-0d-3a-01-02-ff",
                "ipConfigurations": [
                    { "name": "a", "properties": {
                        "privateIPAddress": "10.1.2.4",
                        "publicIPAddress": { "id": at("publicIPAddresses/front") },
                        "subnet": { "id": at("virtualNetworks/net/subnets/inner") },
                    }},
                    { "name": "b", "properties": {
                        "privateIPAddress": "fd00::4", "privateIPAddressVersion": "IPv6",
                    }},
                ],
            }}),
        )
        .await;
    cloud
        .put(&cloud.vm_id("vm1"), "2024-07-01", json!({
            "location": "eastus",
            "tags": { "team": "door", "empty": "" },
            "zones": ["2"],
            "plan": { "name": "p", "product": "q", "publisher": "r" },
            "properties": {
                "hardwareProfile": { "vmSize": "Standard_D2s_v5" },
                "licenseType": "RHEL_BYOS",
                "osProfile": {
                    "computerName": "one",
                    "adminUsername": "admin",
                    "adminPassword": "never-shown",
                    "linuxConfiguration": {
                        "disablePasswordAuthentication": true,
                        "ssh": { "publicKeys": [{ "path": "/home/admin/.ssh/authorized_keys", "keyData": "ssh-rsa AAAA" }] },
                    },
                },
                "securityProfile": {
                    "securityType": "TrustedLaunch",
                    "uefiSettings": { "secureBootEnabled": true, "vTpmEnabled": true },
                },
                "storageProfile": {
                    "imageReference": { "publisher": "Canonical", "offer": "ubuntu", "sku": "server", "version": "latest" },
                    "osDisk": { "name": "os", "osType": "Linux", "diskSizeGB": 30, "createOption": "FromImage",
                        "managedDisk": { "storageAccountType": "Premium_LRS" } },
                    "dataDisks": [{ "lun": 0, "name": "data", "diskSizeGB": 128, "writeAcceleratorEnabled": false }],
                },
                "networkProfile": { "networkInterfaces": [{ "id": at("networkInterfaces/nic") }] },
            },
        }))
        .await;
    cloud
}

async fn ask(cloud: &Cloud, vm: &str, path_and_query: &str) -> Answer {
    let url = format!("{}/metadata/{path_and_query}", cloud.imds(vm).await);
    cloud.get(&url, &[("Metadata", "true")]).await
}

fn words(answer: &Answer) -> String {
    String::from_utf8(answer.bytes.to_vec()).unwrap()
}

/// Every leaf of a document.
fn leaves(document: &Value) -> Vec<&Value> {
    if let Some(members) = document.as_object() {
        return members.values().flat_map(leaves).collect();
    }
    match document.as_array() {
        Some(items) => items.iter().flat_map(leaves).collect(),
        None => vec![document],
    }
}

/// 68
#[tokio::test]
async fn versions_need_no_version() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", false, &[]).await;
    for target in ["versions", "versions/"] {
        let answer = ask(&cloud, "vm1", target).await;
        assert_eq!(answer.status, StatusCode::OK);
        let versions = answer.body["apiVersions"].as_array().unwrap();
        assert_eq!(
            (versions.first(), versions.last()),
            (Some(&json!("2017-03-01")), Some(&json!(NEWEST)))
        );
        assert!(answer.headers["server"].to_str().unwrap().contains("IMDS"));
    }
    // Each of them is one.
    let versions = ask(&cloud, "vm1", "versions").await.body["apiVersions"].clone();
    for version in versions.as_array().unwrap() {
        let answer =
            ask(&cloud, "vm1", &format!("instance?api-version={}", version.as_str().unwrap()))
                .await;
        assert_eq!(answer.status, StatusCode::OK, "{version}");
    }
}

/// 69
#[tokio::test]
async fn who_names_no_version_is_told_the_newest() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", false, &[]).await;
    for target in [
        "instance",
        "instance?api-version=",
        "instance/compute?api-version=2021-02-02",
        "instance?format=text",
    ] {
        let answer = ask(&cloud, "vm1", target).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{target}");
        assert_eq!(answer.body["newest-versions"][0], NEWEST, "{target}");
        assert!(
            answer.body["error"]
                .as_str()
                .unwrap()
                .starts_with("Bad request. api-version is invalid")
        );
    }
}

/// 71
#[tokio::test]
async fn a_machine_is_told_what_was_said_of_it_in_strings() {
    let cloud = furnished().await;
    let answer = ask(&cloud, "vm1", &format!("instance?api-version={NEWEST}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(leaves(&answer.body).iter().all(|leaf| leaf.is_string()), "{}", answer.body);
    assert!(!words(&answer).contains("never-shown"));
    let vm = cloud.admin(Method::GET, &cloud.vm_id("vm1"), "2024-07-01", None).await.body;
    let compute = &answer.body["compute"];
    for (pointer, value) in [
        ("/azEnvironment", "AzurePublicCloud"),
        ("/customData", ""),
        ("/licenseType", "RHEL_BYOS"),
        ("/location", "eastus"),
        ("/name", "vm1"),
        ("/offer", "ubuntu"),
        ("/osProfile/adminUsername", "admin"),
        ("/osProfile/computerName", "one"),
        ("/osProfile/disablePasswordAuthentication", "true"),
        ("/osType", "Linux"),
        ("/plan/product", "q"),
        ("/provider", "Microsoft.Compute"),
        ("/publicKeys/0/keyData", "ssh-rsa AAAA"),
        ("/resourceGroupName", "rg1"),
        ("/resourceId", &cloud.vm_id("vm1")),
        ("/securityProfile/secureBootEnabled", "true"),
        ("/securityProfile/securityType", "TrustedLaunch"),
        ("/storageProfile/osDisk/diskSizeGB", "30"),
        ("/storageProfile/osDisk/managedDisk/storageAccountType", "Premium_LRS"),
        ("/storageProfile/dataDisks/0/lun", "0"),
        ("/storageProfile/imageReference/publisher", "Canonical"),
        ("/subscriptionId", &cloud.description().subscription_id),
        ("/tags", "empty:;team:door"),
        ("/tagsList/1/value", "door"),
        ("/userData", ""),
        ("/vmId", vm["properties"]["vmId"].as_str().unwrap()),
        ("/vmScaleSetName", ""),
        ("/vmSize", "Standard_D2s_v5"),
        ("/zone", "2"),
    ] {
        assert_eq!(compute.pointer(pointer), Some(&json!(value)), "{pointer}: {compute}");
    }
    assert_eq!(
        answer.body["network"],
        json!({ "interface": [{
            "ipv4": {
                "ipAddress": [{ "privateIpAddress": "10.1.2.4", "publicIpAddress": "40.0.0.7" }],
                "subnet": [{ "address": "10.1.2.0", "prefix": "24" }],
            },
            "ipv6": { "ipAddress": [{ "privateIpAddress": "fd00::4" }] },
            "macAddress": "000D3A0102FF",
        }] })
    );
}

/// 70
#[tokio::test]
async fn a_leaf_is_text_and_the_rest_is_json_or_names() {
    let cloud = furnished().await;
    let of = |path: &str, more: &str| format!("instance/{path}?api-version={NEWEST}{more}");
    for path in [
        "compute/location",
        "Compute/Location/",
        "network/interface/0/ipv4/ipAddress/0/privateIpAddress",
    ] {
        let leaf = ask(&cloud, "vm1", &of(path, "&format=text")).await;
        assert_eq!(leaf.status, StatusCode::OK, "{path}");
        assert!(leaf.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        assert_eq!(words(&leaf), if path.contains("network") { "10.1.2.4" } else { "eastus" });
        for more in ["", "&format=json"] {
            let refused = ask(&cloud, "vm1", &of(path, more)).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}{more}");
            assert!(refused.body["error"].as_str().unwrap().contains("format=text"));
        }
    }
    let names = ask(&cloud, "vm1", &of("", "&format=text")).await;
    assert_eq!(words(&names), "compute/\nnetwork/");
    let items = ask(&cloud, "vm1", &of("compute/tagsList", "&format=text")).await;
    assert_eq!(words(&items), "0/\n1/");
    let tags = ask(&cloud, "vm1", &of("compute/tagsList", "")).await;
    assert_eq!(tags.body[1], json!({ "name": "team", "value": "door" }));
    for missing in ["compute/colour", "compute/location/more", "network/interface/1", "elsewhere"] {
        let answer = ask(&cloud, "vm1", &of(missing, "&format=text")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{missing}");
        assert!(answer.body["error"].is_string());
    }
    for bad in ["&format=xml", "&x=1&x=2", "&Api-Version=2021-02-01"] {
        assert_eq!(ask(&cloud, "vm1", &of("", bad)).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn an_older_version_tells_what_it_told_then() {
    let cloud = furnished().await;
    let compute = async |version: &str| {
        ask(&cloud, "vm1", &format!("instance/compute?api-version={version}")).await.body
    };
    let first = compute("2017-04-02").await;
    assert_eq!((&first["vmSize"], &first["name"]), (&json!("Standard_D2s_v5"), &json!("vm1")));
    for (member, since) in [
        ("tags", "2017-08-01"),
        ("plan", "2018-04-02"),
        ("storageProfile", "2019-06-01"),
        ("tagsList", "2019-06-04"),
        ("osProfile", "2020-07-15"),
        ("userData", "2021-01-01"),
    ] {
        assert!(first.get(member).is_none(), "{member}");
        assert!(compute(since).await.get(member).is_some(), "{member}");
    }
    let profile = compute("2020-07-15").await["osProfile"].clone();
    assert_eq!(profile, json!({ "adminUsername": "admin", "computerName": "one" }));
}

#[tokio::test]
async fn an_instance_of_a_set_is_told_its_own_name_and_its_sets_settings() {
    let cloud = Cloud::start().await;
    let set = format!("{}/providers/Microsoft.Compute/virtualMachineScaleSets/web", cloud.group());
    let body = json!({
        "location": "westus",
        "sku": { "name": "Standard_B1s", "capacity": 2 },
        "tags": { "of": "set" },
        "properties": { "virtualMachineProfile": {
            "osProfile": { "computerNamePrefix": "web", "windowsConfiguration": {} },
            "storageProfile": { "imageReference": { "offer": "WindowsServer" } },
        }},
    });
    cloud.put(&set, "2024-07-01", body).await;
    let endpoint = cloud.attachment(&format!("{set}/virtualMachines/1")).await;
    let url = format!(
        "{}/metadata/instance/compute?api-version={NEWEST}",
        endpoint["url"].as_str().unwrap()
    );
    let compute = cloud.get(&url, &[("Metadata", "true")]).await.body;
    for (member, value) in [
        ("name", "web_1"),
        ("vmScaleSetName", "web"),
        ("vmSize", "Standard_B1s"),
        ("osType", "Windows"),
        ("offer", "WindowsServer"),
        ("tags", "of:set"),
        ("resourceId", &format!("{set}/virtualMachines/1")),
    ] {
        assert_eq!(compute[member], value, "{member}: {compute}");
    }
    assert_eq!(compute["osProfile"]["computerName"], "web000001");
}

/// 73
#[tokio::test]
async fn strangers_are_refused_in_the_shape_of_the_category() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", false, &[]).await;
    let base = cloud.imds("vm1").await;
    for path in ["versions", "instance?api-version=2021-02-01", "instance/compute"] {
        let url = format!("{base}/metadata/{path}");
        for (headers, word) in [
            (&[][..], "Required metadata header not specified"),
            (&[("Metadata", "false")], "Required metadata header not specified"),
            (&[("Metadata", "true"), ("X-Forwarded-For", "10.0.0.1")], "X-Forwarded-For"),
            (&[("Metadata", "true"), ("Host", "evil.example")], "another host"),
        ] {
            let answer = cloud.get(&url, headers).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {headers:?}");
            assert!(answer.body["error"].as_str().unwrap().contains(word), "{}", answer.body);
            assert!(answer.body.get("error_description").is_none());
        }
        let request = format!(
            "POST /metadata/{path} HTTP/1.1\r\nHost: {}\r\nMetadata: true\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            base.trim_start_matches("http://")
        );
        assert!(raw(&base, &request).await.starts_with("HTTP/1.1 405"), "{path}");
    }
}

#[tokio::test]
async fn a_stopped_machine_is_told_nothing() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", false, &[]).await;
    let target = "instance?api-version=2021-02-01";
    for (verb, status) in [("deallocate", 400), ("start", 200), ("powerOff", 400)] {
        let path = format!("{}/{verb}", cloud.vm_id("vm1"));
        cloud.admin(Method::POST, &path, "2024-07-01", None).await;
        assert_eq!(ask(&cloud, "vm1", target).await.status.as_u16(), status, "{verb}");
    }
}

/// 72: what is signed; that others can verify it, `curl: attested_document` shows with OpenSSL.
#[tokio::test]
async fn a_machine_is_attested_in_a_signed_document() {
    let cloud = furnished().await;
    let signed = async |more: &str| {
        let answer =
            ask(&cloud, "vm1", &format!("attested/document?api-version={NEWEST}{more}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.body["encoding"], "pkcs7");
        let text = answer.body["signature"].as_str().unwrap().to_owned();
        let der = keycard_crypto::encoding::base64_decode_any(&text, 16_384).unwrap();
        let start = der.windows(2).position(|pair| pair == b"{\"").unwrap();
        let mut contents = serde_json::Deserializer::from_slice(&der[start..]).into_iter::<Value>();
        contents.next().unwrap().unwrap()
    };
    let content = signed("&nonce=1234567890").await;
    let vm = cloud.admin(Method::GET, &cloud.vm_id("vm1"), "2024-07-01", None).await.body;
    assert_eq!(
        content,
        json!({
            "licenseType": "RHEL_BYOS",
            "nonce": "1234567890",
            "plan": { "name": "p", "product": "q", "publisher": "r" },
            "sku": "server",
            "subscriptionId": cloud.description().subscription_id,
            "timeStamp": {
                "createdOn": "01/15/27 08:00:00 -0000",
                "expiresOn": "01/15/27 14:00:00 -0000",
            },
            "vmId": vm["properties"]["vmId"],
        })
    );
    assert_eq!(signed("").await["nonce"], "20270115-080000");
    for (query, word) in [
        ("", "api-version"),
        ("?api-version=2021-02-01&nonce=abc", "nonce"),
        ("?api-version=2021-02-01&nonce=12345678901", "nonce"),
        ("?api-version=2021-02-01&nonce=1&nonce=2", "more than once"),
    ] {
        let answer = ask(&cloud, "vm1", &format!("attested/document{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.body["error"].as_str().unwrap().contains(word), "{}", answer.body);
    }
}
