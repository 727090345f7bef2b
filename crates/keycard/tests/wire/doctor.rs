//! `keycard doctor`: each fault is provoked on a machine made for it, found with its cure, and gone with the cure.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use keycard::doctor::{Finding, Surroundings, examine};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::Cloud;

/// A machine with these variables and files, where names below `localhost` resolve and nothing is wrong.
struct Machine {
    root: TempDir,
    variables: Vec<(String, String)>,
    known_names: Vec<String>,
}

impl Machine {
    fn new() -> Self {
        Self {
            root: TempDir::new().unwrap(),
            variables: Vec::new(),
            known_names: vec![".localhost".to_owned()],
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn with_file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.root.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn with_link(self, path: &str, target: &str) -> Self {
        let path = self.root.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    fn knowing_only(mut self, names: &[&str]) -> Self {
        self.known_names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    fn surroundings(&self) -> Surroundings {
        let variables: Vec<(&str, &str)> =
            self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let known = self.known_names.clone();
        let resolver = move |name: &str| {
            let is_known = known.iter().any(|known| name.ends_with(known.as_str()));
            is_known.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)).into_iter().collect()
        };
        Surroundings::new(&variables, self.root.path(), Arc::new(resolver))
    }

    /// What the doctor says without a server, of this check.
    async fn findings(&self, check: &str) -> Vec<Finding> {
        let none = Err("no running keycard is known".to_owned());
        let all = examine(&self.surroundings(), none, None).await;
        all.into_iter().filter(|finding| finding.check == check).collect()
    }

    async fn findings_with(&self, cloud: &Cloud, check: &str) -> Vec<Finding> {
        let all = examine(&self.surroundings(), Ok(cloud.description().clone()), None).await;
        all.into_iter().filter(|finding| finding.check == check).collect()
    }
}

/// The one fault among them: what was seen, and its cure.
fn fault(findings: &[Finding]) -> (String, String) {
    let faults: Vec<&Finding> = findings.iter().filter(|finding| !finding.ok).collect();
    let [one] = faults.as_slice() else { panic!("one fault is meant: {findings:#?}") };
    (one.seen.clone(), one.cure.clone().unwrap())
}

fn assert_fault(findings: &[Finding], seen: &str, cure: &str) {
    let (found, helps) = fault(findings);
    assert!(found.contains(seen), "{found}");
    assert!(helps.contains(cure), "{helps}");
}

fn assert_well(findings: &[Finding]) {
    assert!(!findings.is_empty() && findings.iter().all(|finding| finding.ok), "{findings:#?}");
}

const EXCEPTIONS: &str = "localhost,.localhost,127.0.0.1,169.254.169.254";

#[tokio::test]
async fn a_proxy_that_swallows_link_local_traffic_is_found() {
    let http = Machine::new().with("http_proxy", "http://proxy:3128");
    assert_fault(&http.findings("proxy").await, "169.254.169.254", "NO_PROXY=localhost,.localhost");
    let https = Machine::new().with("HTTPS_PROXY", "http://proxy:3128");
    assert_fault(&https.findings("proxy").await, "management.keycard.localhost", "NO_PROXY");
    assert_well(&http.with("no_proxy", EXCEPTIONS).findings("proxy").await);
    assert_well(&https.with("NO_PROXY", EXCEPTIONS).findings("proxy").await);
}

#[tokio::test]
async fn an_exception_that_not_every_sdk_understands_is_none() {
    let with =
        |value| Machine::new().with("http_proxy", "http://proxy:3128").with("no_proxy", value);
    for value in ["*", "127.0.0.0/8,169.254.0.0/16,localhost", "localhost,127.0.0.1", "example.com"]
    {
        assert!(!with(value).findings("proxy").await[0].ok, "{value}");
    }
    let differing = with(EXCEPTIONS).with("NO_PROXY", "example.com");
    assert!(!differing.findings("proxy").await[0].ok, "Go and JavaScript read the other one");
}

#[tokio::test]
async fn names_that_do_not_resolve_are_found_each_vault_too() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv-names", true).await;
    assert_well(&Machine::new().findings_with(&cloud, "names").await);
    let nothing = Machine::new().knowing_only(&[]);
    assert_fault(&nothing.findings_with(&cloud, "names").await, "plain glibc", "libnss-myhostname");
    let hosts =
        ["management.keycard.localhost", "login.keycard.localhost", "graph.keycard.localhost"];
    let single = Machine::new().knowing_only(&hosts);
    assert_fault(
        &single.findings_with(&cloud, "names").await,
        "kv-names.vault.keycard.localhost",
        "/etc/hosts: 127.0.0.1 kv-names.vault.keycard.localhost",
    );
}

/// The variables of `keycard env` that concern trust, with the bundle where a test's machine has it.
fn trusting(cloud: &Cloud, but: Option<(&str, &str)>) -> Machine {
    let bundle = std::fs::read(&cloud.description().ca_bundle_file).unwrap();
    let machine = Machine::new()
        .with_file("/bundle.pem", bundle)
        .with_file("/other.pem", include_str!("../../../../LICENSE-MIT"));
    ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"]
        .into_iter()
        .filter_map(|name| match but {
            Some((other, "")) if other == name => None,
            Some((other, value)) if other == name => Some((name, value)),
            _ => Some((name, "/bundle.pem")),
        })
        .fold(machine, |machine, (name, value)| machine.with(name, value))
}

#[tokio::test]
async fn an_authority_that_an_sdk_does_not_trust_is_found() {
    let cloud = Cloud::start().await;
    assert_well(&trusting(&cloud, None).findings_with(&cloud, "trust").await);
    for (variable, who) in [
        ("REQUESTS_CA_BUNDLE", "Python requests"),
        ("SSL_CERT_FILE", "OpenSSL"),
        ("CURL_CA_BUNDLE", "curl"),
        ("NODE_EXTRA_CA_CERTS", "Node"),
    ] {
        for wrong in ["/other.pem", "/missing.pem"] {
            let machine = trusting(&cloud, Some((variable, wrong)));
            let findings = machine.findings_with(&cloud, "trust").await;
            assert_fault(&findings, who, &format!("export {variable}="));
            assert!(fault(&findings).0.contains(wrong));
        }
    }
    let unset = trusting(&cloud, Some(("NODE_EXTRA_CA_CERTS", "")));
    assert_fault(
        &unset.findings_with(&cloud, "trust").await,
        "compiled-in",
        "NODE_EXTRA_CA_CERTS=",
    );
}

#[tokio::test]
async fn an_authority_among_the_systems_is_enough_where_the_system_is_asked() {
    let cloud = Cloud::start().await;
    let pem = std::fs::read(&cloud.description().ca_file).unwrap();
    let shell = trusting(&cloud, Some(("SSL_CERT_FILE", "")));
    let findings = shell.findings_with(&cloud, "trust").await;
    assert_fault(&findings, "system's authorities", "export SSL_CERT_FILE=");
    let bundled = shell.with_file("/etc/ssl/certs/ca-certificates.crt", &pem);
    assert_well(&bundled.findings_with(&cloud, "trust").await);
    let folder =
        trusting(&cloud, Some(("SSL_CERT_FILE", ""))).with_file("/etc/ssl/certs/ab12.0", &pem);
    assert_well(&folder.findings_with(&cloud, "trust").await);
}

#[tokio::test]
async fn javas_store_is_read() {
    let cloud = Cloud::start().await;
    let pem = std::fs::read_to_string(&cloud.description().ca_file).unwrap();
    let der = keycard_crypto::x509::parse_certificates_pem(&pem).unwrap().remove(0);
    let store = [b"\xfe\xed\xfe\xed before ".to_vec(), der, b" after".to_vec()].concat();
    let java = || trusting(&cloud, None).with("JAVA_HOME", "/jdk");
    let without = java().with_file("/jdk/lib/security/cacerts", b"\xfe\xed\xfe\xed");
    assert_fault(&without.findings_with(&cloud, "trust").await, "Java", "keytool -importcert");
    assert_well(
        &java().with_file("/jdk/lib/security/cacerts", store).findings_with(&cloud, "trust").await,
    );
}

#[tokio::test]
async fn a_shell_that_nothing_leads_to_keycard_is_told_so_and_not_blamed() {
    let cloud = Cloud::start().await;
    let findings = Machine::new().findings_with(&cloud, "trust").await;
    assert_well(&findings);
    assert!(findings[0].cure.as_ref().unwrap().contains("keycard env --as"), "{findings:?}");
}

type Variables = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn variables_that_choose_a_wrong_source_are_found() {
    let cases: &[(Variables, &str, &str)] = &[
        (
            &[("IDENTITY_ENDPOINT", "http://127.0.0.1:1/")],
            "without IDENTITY_HEADER",
            "unset IDENTITY_ENDPOINT",
        ),
        (
            &[
                ("MSI_ENDPOINT", "http://127.0.0.1:1/"),
                ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:2"),
            ],
            "Cloud Shell by azure-identity for Python",
            "unset MSI_ENDPOINT",
        ),
        (
            &[
                ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/"),
                ("IDENTITY_HEADER", "h"),
                ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
                ("AZURE_TENANT_ID", "t"),
                ("AZURE_CLIENT_ID", "c"),
            ],
            "workload identity by JavaScript",
            "AZURE_FEDERATED_TOKEN_FILE",
        ),
        (
            &[
                ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/"),
                ("IDENTITY_HEADER", "h"),
                ("IDENTITY_SERVER_THUMBPRINT", ""),
            ],
            "Service Fabric by msal",
            "unset IDENTITY_SERVER_THUMBPRINT",
        ),
        (
            &[
                ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1"),
                ("AZURE_CLIENT_ID", "c"),
                ("AZURE_TENANT_ID", "t"),
                ("AZURE_CLIENT_SECRET", "s"),
            ],
            "DefaultAzureCredential",
            "unset AZURE_CLIENT_SECRET",
        ),
    ];
    for (variables, seen, cure) in cases {
        let machine = variables
            .iter()
            .fold(Machine::new(), |machine, (name, value)| machine.with(name, value));
        assert_fault(&machine.findings("source").await, seen, cure);
    }
}

#[tokio::test]
async fn the_agent_of_azure_arc_is_found() {
    let agent = Machine::new().with_file("/opt/azcmagent/bin/himds", "");
    assert_fault(&agent.findings("source").await, "Azure Arc by msal", "--kind app-service");
    let led = agent.with("IDENTITY_ENDPOINT", "http://127.0.0.1:1/").with("IDENTITY_HEADER", "h");
    assert_well(&led.findings("source").await);
}

#[tokio::test]
async fn an_endpoint_of_an_earlier_start_and_a_wrong_secret_are_found() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let id = cloud.vm_id("vm1");
    let opened = cloud.administration.attach(&id, "app-service").await.unwrap();
    let text = |member: &str| opened[member].as_str().unwrap().to_owned();
    let with = |endpoint: &str, header: &str| {
        Machine::new().with("IDENTITY_ENDPOINT", endpoint).with("IDENTITY_HEADER", header)
    };
    let findings = with(&text("url"), &text("header")).findings_with(&cloud, "source").await;
    assert_well(&findings);
    assert_eq!(findings[0].seen, "every SDK chooses App Service");
    let stale = with("http://127.0.0.1:1/msi/token", &text("header"));
    assert_fault(
        &stale.findings_with(&cloud, "source").await,
        "no endpoint of the running",
        "keycard env",
    );
    let wrong = with(&text("url"), "another");
    let findings = wrong.findings_with(&cloud, "source").await;
    assert_fault(&findings, "is not the secret", "keycard env");
    let all = serde_json::to_string(&findings).unwrap();
    assert!(!all.contains(&text("header")) && !all.contains("another"), "{all}");
}

const LOCAL: &str =
    "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 169.254.169.254\n        /32 host LOCAL\n";
const LISTENER: &str = "  sl  local_address rem_address   st\n   0: FEA9FEA9:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n";
const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n";

#[tokio::test]
async fn an_address_that_is_taken_is_found() {
    let held = |name: &str| {
        Machine::new()
            .with_file("/proc/net/fib_trie", LOCAL)
            .with_file("/proc/net/tcp", LISTENER)
            .with_file("/proc/200/comm", name)
            .with_link("/proc/200/fd/7", "socket:[4711]")
    };
    assert_fault(&held("nginx\n").findings("address").await, "nginx (process 200)", "keycard env");
    let own = held("keycard\n").findings("address").await;
    assert_well(&own);
    assert!(own[0].seen.contains("keycard listens there"), "{own:?}");
    let hidden = Machine::new()
        .with_file("/proc/net/fib_trie", LOCAL)
        .with_file("/proc/net/tcp", LISTENER.replace("FEA9FEA9", "00000000"));
    assert_fault(&hidden.findings("address").await, "a program of another user", "keycard env");
    let free = Machine::new().with_file("/proc/net/fib_trie", LOCAL).findings("address").await;
    assert_well(&free);
    assert!(free[0].cure.as_ref().unwrap().contains("--link-local"), "{free:?}");
}

#[tokio::test]
async fn an_address_that_is_routed_elsewhere_is_found() {
    let default = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\n";
    let own = "eth0\tFEA9FEA9\t0101A8C0\t0007\t0\t0\t100\tFFFFFFFF\n";
    let other = "eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\n";
    let with =
        |routes: &str| Machine::new().with_file("/proc/net/route", format!("{ROUTES}{routes}"));
    let routed = with(&format!("{default}{own}{other}"));
    assert_fault(&routed.findings("address").await, "(/32, by eth0)", "keycard run --as");
    let led = routed.with("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1");
    assert_well(&led.findings("address").await);
    let common = with(&format!("{default}{other}")).findings("address").await;
    assert_well(&common);
    assert!(common[0].seen.contains("the default way"), "{common:?}");
    let nowhere = with(other).findings("address").await;
    assert!(nowhere[0].ok && nowhere[0].seen.contains("leads nowhere"), "{nowhere:?}");
    let web_server =
        with(default).with_file("/proc/net/tcp", LISTENER.replace("FEA9FEA9", "00000000"));
    let findings = web_server.findings("address").await;
    assert!(
        findings.iter().any(|each| each.seen.contains("`up --link-local` could not listen")),
        "{findings:?}"
    );
}

#[tokio::test]
async fn a_kernel_that_allows_no_sandbox_is_found() {
    assert_well(&Machine::new().findings("sandbox").await);
    let setting =
        |name: &str, value: &str| Machine::new().with_file(&format!("/proc/sys/{name}"), value);
    for (name, value, cure) in [
        ("user/max_user_namespaces", "0\n", "sysctl -w user.max_user_namespaces"),
        ("user/max_net_namespaces", "0\n", "sysctl -w user.max_net_namespaces"),
        ("kernel/unprivileged_userns_clone", "0\n", "kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1\n", "keycard doctor --apparmor"),
    ] {
        let findings = setting(name, value).findings("sandbox").await;
        assert_fault(&findings, &name.replace('/', "."), cure);
    }
    let profiled = setting("kernel/apparmor_restrict_unprivileged_userns", "1\n")
        .with_file("/etc/apparmor.d/keycard", "");
    assert_well(&profiled.findings("sandbox").await);
}

#[tokio::test]
async fn a_resources_endpoint_is_tried_from_end_to_end() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm-able", true, &[]).await;
    cloud.put_vm("vm-bare", false, &[]).await;
    let surroundings = Machine::new().surroundings();
    let asked = async |resource: &str| {
        let description = Ok(cloud.description().clone());
        let all = examine(&surroundings, description, Some(resource)).await;
        all.into_iter().filter(|finding| finding.check == "endpoint").collect::<Vec<_>>()
    };
    let able = asked("vm-able").await;
    assert_well(&able);
    assert!(able[0].seen.contains("Resource Manager takes it"), "{able:?}");
    assert_fault(&asked("vm-bare").await, "Identity not found", "vm-bare needs an identity");
    assert_fault(&asked("vm-none").await, "vm-none", "keycard attachment list");
}

/// The command in an environment of its own.
fn doctor(home: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_keycard"))
        .arg("doctor")
        .args(arguments)
        .env_clear()
        .env("KEYCARD_HOME", home)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (done.status.code(), String::from_utf8(done.stdout).unwrap())
}

#[tokio::test]
async fn the_command_says_by_its_exit_status_that_something_is_wrong() {
    let cloud = Cloud::start().await;
    let home = TempDir::new().unwrap();
    let credentials = home.path().join("server.json");
    std::fs::write(&credentials, serde_json::to_string(cloud.description()).unwrap()).unwrap();
    let variables = [("http_proxy", "http://proxy:3128"), ("IDENTITY_HEADER", "not-to-be-shown")];
    let home_path = home.path().to_owned();
    let (status, output) =
        tokio::task::spawn_blocking(move || doctor(&home_path, &variables, &["--output", "json"]))
            .await
            .unwrap();
    assert_eq!(status, Some(1), "{output}");
    let findings: Vec<Value> = serde_json::from_str(&output).unwrap();
    let proxy = findings.iter().find(|finding| finding["check"] == "proxy").unwrap();
    assert_eq!(proxy["ok"], json!(false));
    assert!(proxy["cure"].as_str().unwrap().contains("NO_PROXY"));
    let server = findings.iter().find(|finding| finding["check"] == "server").unwrap();
    assert_eq!(server["ok"], json!(true), "{server}");
    assert!(!output.contains("not-to-be-shown"));
}

/// On this machine's own files, since the variables name files of the server.
#[tokio::test]
async fn what_keycard_env_prints_is_well_whatever_the_kind() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let home = TempDir::new().unwrap();
    let credentials = home.path().join("server.json");
    std::fs::write(&credentials, serde_json::to_string(cloud.description()).unwrap()).unwrap();
    for kind in ["imds", "app-service", "arc", "service-fabric", "cloud-shell", "azure-ml"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keycard"));
        command.args(["env", "--as", "vm1", "--output", "json", "--kind", kind]);
        command.env_clear().env("KEYCARD_HOME", home.path());
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(done.status.success(), "{kind}: {}", String::from_utf8_lossy(&done.stderr));
        let printed: Value = serde_json::from_slice(&done.stdout).unwrap();
        let variables: Vec<(&str, &str)> = printed
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let resolver = Arc::new(|_: &str| vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let surroundings = Surroundings::new(&variables, Path::new("/"), resolver);
        let all = examine(&surroundings, Ok(cloud.description().clone()), None).await;
        for check in ["server", "local", "names", "trust", "proxy", "source"] {
            let of_check: Vec<Finding> =
                all.iter().filter(|finding| finding.check == check).cloned().collect();
            assert_well(&of_check);
        }
    }
}

#[test]
fn the_profile_for_apparmor_is_for_this_program() {
    let home = TempDir::new().unwrap();
    let (status, profile) = doctor(home.path(), &[], &["--apparmor"]);
    assert_eq!(status, Some(0));
    assert!(profile.contains(&format!(
        "profile keycard \"{}\" flags=(unconfined)",
        env!("CARGO_BIN_EXE_keycard")
    )));
    assert!(profile.contains("userns,"));
}
