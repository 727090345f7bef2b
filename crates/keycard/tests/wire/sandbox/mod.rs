//! `keycard run`: the binary itself, as a shell starts it, on the kernel that is here.

mod isolation;
mod on_host;
mod openings;
mod passage;
mod stage;

use std::fs;

use stage::{ASK, Stage, Who, text};

/// What a script finds when it goes where programs for Azure go.
#[test]
fn the_metadata_address_and_azures_names_are_keycard() {
    for who in Who::all() {
        let stage = Stage::set(who);
        let answer = stage.says(&[], ASK);
        assert!(answer.starts_with("HTTP/1.1 200"), "{who:?}: {answer}");
        assert!(answer.contains("\"access_token\":\"ey"), "{who:?}: {answer}");
        for name in ["kv1.vault.azure.net", "a.b.azurecr.io", "login.microsoftonline.com"] {
            let resolved = stage.says(&[], &format!("getent ahostsv4 {name}"));
            assert!(resolved.starts_with("10.254.254.1 "), "{who:?}: {name}: {resolved}");
            stage.says(&[], &format!("exec 3<>/dev/tcp/{name}/443"));
        }
    }
}

#[test]
fn a_site_gets_its_own_endpoint_by_the_variables_that_its_platform_sets() {
    let stage = Stage::set(Who::Ordinary);
    let mut command = stage.keycard(&["run", "--as", "site1", "--", "bash", "-c"]);
    let script = "test \"$IDENTITY_ENDPOINT\" = http://169.254.130.1:8081/msi/token && \
         exec 3<>/dev/tcp/169.254.130.1/8081 && printf 'GET \
         /msi/token?api-version=2019-08-01&resource=https://vault.azure.net HTTP/1.1\\r\\nHost: \
         169.254.130.1:8081\\r\\nX-IDENTITY-HEADER: %s\\r\\nConnection: close\\r\\n\\r\\n' \
         \"$IDENTITY_HEADER\" >&3 && cat <&3";
    let answer = text(&command.arg(script).output().unwrap().stdout);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// msal and az ask no other address, whatever the variables say.
#[test]
fn cloud_shells_endpoint_is_where_its_clients_ask() {
    let stage = Stage::set(Who::Ordinary);
    for host in ["localhost:50342", "127.0.0.1:50342"] {
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/50342 && printf 'POST /oauth2/token HTTP/1.1\\r\\nHost: {host}\\r\\n\
             Metadata: true\\r\\nContent-Type: application/x-www-form-urlencoded\\r\\nContent-Length: 32\\r\\n\
             Connection: close\\r\\n\\r\\nresource=https://vault.azure.net' >&3 && cat <&3"
        );
        let answer = stage.says(&[], &script);
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
        assert!(answer.contains("\"access_token\":\"ey"), "{host}: {answer}");
    }
    let own_service = ["--allow", "localhost:50342"];
    assert_eq!(stage.says(&own_service, "echo runs").trim(), "runs", "that comes first");
}

#[test]
fn bundles_that_programs_carry_trust_keycard_inside_and_only_there() {
    for who in Who::all() {
        let stage = Stage::set(who);
        let ca = fs::read_to_string(stage.ready["caFile"].as_str().unwrap()).unwrap();
        let (bundle, named) = (stage.path("work/bundle.pem"), stage.path("work/named.pem"));
        for file in [&bundle, &named] {
            fs::write(file, "# roots of a program's own\n").unwrap();
        }
        let script = "cat $CURL_CA_BUNDLE work/bundle.pem; echo; cat $NODE_EXTRA_CA_CERTS";
        let mut command = stage.keycard(&["run", "--as", "vm1", "--trust", "work/bundle.pem"]);
        command.env("CURL_CA_BUNDLE", &named).args(["--", "bash", "-c", script]);
        let seen = text(&command.output().unwrap().stdout);
        assert_eq!(seen.matches(ca.trim()).count(), 3, "{who:?}: {seen}");
        assert_eq!(seen.matches("# roots").count(), 2, "{who:?}: {seen}");
        for file in [&bundle, &named] {
            assert_eq!(fs::read_to_string(file).unwrap(), "# roots of a program's own\n");
        }
        let known = |script: &str| stage.says(&[], script).lines().count();
        let roots = fs::read_dir("/etc/ssl/certs").map_or(0, |all| all.count());
        assert_eq!(
            known("ls -A /etc/ssl/certs"),
            roots + 2,
            "{who:?}: the file and its hashed link"
        );
        assert_eq!(known("ls /etc/ssl/certs/keycard.pem"), 1, "{who:?}");
    }
}

#[test]
fn variables_are_fitted_unless_they_are_to_stay() {
    let stage = Stage::set(Who::Ordinary);
    let with = |options: &[&str], name: &str, value: &str| {
        let mut command = stage.keycard(&["run", "--as", "vm1"]);
        command.args(options).env(name, value).args(["--", "bash", "-c", "echo ${!0}", name]);
        text(&command.output().unwrap().stdout)
    };
    for proxy in ["https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy"] {
        assert_eq!(with(&[], proxy, "http://proxy:3128"), "", "{proxy}");
        assert_eq!(with(&["--no-env"], proxy, "http://proxy:3128"), "http://proxy:3128", "{proxy}");
    }
    let own = with(&[], "NODE_EXTRA_CA_CERTS", "/nowhere");
    assert_eq!(own, "/nowhere", "what was set stays");
    let node = "echo $NODE_EXTRA_CA_CERTS";
    assert_eq!(stage.says(&[], node), "/etc/ssl/certs/keycard.pem");
    assert_eq!(stage.says(&["--no-env"], node), "");
}

#[test]
fn without_a_sandbox_the_command_runs_by_variables() {
    let stage = Stage::set(Who::Ordinary);
    let host = stage.says(&["--env"], "echo $AZURE_POD_IDENTITY_AUTHORITY_HOST; exec true");
    assert!(host.starts_with("http://127.0.0.1:"), "{host}");
    assert_eq!(stage.run(&["--env"], "exit 7").status.code(), Some(7));
}
