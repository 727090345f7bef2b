//! `keycard host-agent run`, in a network namespace that stands for a host or for the containers that share a sidecar's.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;

use super::passage::wait_until;
use super::stage::{ASK, Stage, Who, text};

/// A network that lasts as long as this.
struct Network(Child);

impl Network {
    fn new() -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
        let name = format!("/proc/{}/comm", holder.id());
        wait_until("the network is there", || {
            fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep")
        });
        let network = Self(holder);
        let up = network.inside("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        network
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg(program);
        command
    }

    fn addresses(&self) -> String {
        text(&self.inside("ip").args(["-o", "address"]).output().unwrap().stdout)
    }

    fn ask(&self) -> String {
        text(&self.inside("bash").args(["-c", ASK]).output().unwrap().stdout)
    }

    /// The agent, as the administrator of the host starts it; it may not have started.
    fn agent(&self, stage: &Stage, words: &[&str]) -> Command {
        let mut command = self.inside(stage.path("keycard").to_str().unwrap());
        command.args(["host-agent", "run", "--output", "json"]).args(words);
        command.env("KEYCARD_HOME", stage.path("home/state")).uid(0).gid(0);
        command
    }

    /// The agent, serving, and what it said.
    fn serving(&self, stage: &Stage) -> (Child, Value) {
        let mut agent = self.agent(stage, &["--as", "vm1"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(agent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (agent, serde_json::from_str(&line).unwrap())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn end(agent: Child, signal: Signal) -> Output {
    kill_process(Pid::from_child(&agent), signal).unwrap();
    agent.wait_with_output().unwrap()
}

#[test]
fn the_address_is_there_while_the_agent_serves_it_and_gone_afterwards() {
    // Only an administrator puts addresses on a host.
    if !geteuid().is_root() {
        return;
    }
    for who in Who::all() {
        let (stage, network) = (Stage::set(who), Network::new());
        let before = network.addresses();
        let (agent, said) = network.serving(&stage);
        assert!(said["resourceId"].as_str().unwrap().ends_with("/vm1"), "{said}");
        assert_eq!(said["url"], "http://169.254.169.254");
        let answer = network.ask();
        assert!(answer.starts_with("HTTP/1.1 200"), "{who:?}: {answer}");
        assert!(answer.contains("\"access_token\":\"ey"), "{who:?}: {answer}");
        let second = network.agent(&stage, &["--as", "vm1"]).output().unwrap();
        assert_eq!(second.status.code(), Some(1));
        assert!(text(&second.stderr).contains("169.254.169.254:80 is taken"));
        assert!(network.ask().starts_with("HTTP/1.1 200"), "the first serves on");
        assert_eq!(end(agent, Signal::TERM).status.code(), Some(0));
        assert_eq!(network.addresses(), before, "{who:?}");
        assert_eq!(network.ask(), "");
    }
}

#[test]
fn an_agent_that_was_killed_is_followed_by_another() {
    if !geteuid().is_root() {
        return;
    }
    let (stage, network) = (Stage::set(Who::Root), Network::new());
    let before = network.addresses();
    let (agent, _) = network.serving(&stage);
    end(agent, Signal::KILL);
    assert_ne!(network.addresses(), before, "a killed process takes nothing away");
    let (agent, _) = network.serving(&stage);
    assert!(network.ask().starts_with("HTTP/1.1 200"));
    drop(stage);
    let ended = agent.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "without keycard there is nothing to serve");
    assert_eq!(network.addresses(), before);
}

#[test]
fn what_cannot_be_served_leaves_no_address() {
    if !geteuid().is_root() {
        return;
    }
    let (stage, network) = (Stage::set(Who::Root), Network::new());
    let before = network.addresses();
    for (words, said) in [
        (&["--as", "nobody"][..], "no resource with a local endpoint is called `nobody`"),
        (&["--as", "vm1", "--interface", "eth9"], "no link called eth9"),
    ] {
        let refused = network.agent(&stage, words).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{words:?}");
        assert!(text(&refused.stderr).contains(said), "{}", text(&refused.stderr));
        assert_eq!(network.addresses(), before, "{words:?}");
    }
    let mut ordinary = network.inside("setpriv");
    ordinary.args(["--reuid", "54321", "--regid", "54321", "--clear-groups"]);
    ordinary.arg(stage.path("keycard")).args(["host-agent", "run", "--as", "vm1"]);
    ordinary.arg("--credentials").arg(stage.path("readable.json"));
    fs::write(stage.path("readable.json"), stage.ready.to_string()).unwrap();
    let refused = ordinary.output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("CAP_NET_ADMIN"), "{}", text(&refused.stderr));
}

#[test]
fn up_puts_the_address_on_loopback_and_takes_it_away() {
    if !geteuid().is_root() {
        return;
    }
    let (stage, network) = (Stage::set(Who::Root), Network::new());
    let before = network.addresses();
    let mut up = network.inside(stage.path("keycard").to_str().unwrap());
    up.args(["up", "--port", "0", "--output", "json", "--link-local", "vm1", "--template"]);
    up.arg(stage.path("template.json")).env("KEYCARD_HOME", stage.path("home/other"));
    let mut up = up.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    BufReader::new(up.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    wait_until("the endpoint is there", || network.ask().starts_with("HTTP/1.1 200"));
    assert_eq!(end(up, Signal::TERM).status.code(), Some(0));
    assert_eq!(network.addresses(), before);
}

/// The words of the list that stands on a line of an example after `name:`.
fn words(example: &str, name: &str) -> Vec<String> {
    let of_line = |line: &str| {
        let list = line.trim().strip_prefix(name)?.strip_prefix(": [")?.strip_suffix(']')?;
        Some(list.split(", ").map(|word| word.trim_matches('"').to_owned()).collect::<Vec<_>>())
    };
    example.lines().find_map(of_line).unwrap_or_else(|| panic!("no {name}"))
}

/// What the examples of a sidecar say, with namespaces for containers: keycard with the capabilities that an engine gives
/// and the one that is added, and an application with none.
#[test]
fn the_examples_of_a_sidecar_do_what_they_say() {
    if !geteuid().is_root() {
        return;
    }
    let compose = include_str!("../../../../../docs/examples/sidecar/compose.yaml");
    let pod = include_str!("../../../../../docs/examples/sidecar/pod.yaml");
    let template = include_str!("../../../../../docs/examples/sidecar/template.json");
    let app = |example: &str, from: &str| words(&example[example.find(from).unwrap()..], "command");
    let compose_check = words(compose, "test")[1..].to_vec();
    let examples = [
        (words(compose, "command"), compose_check, app(compose, "  app:")),
        (words(pod, "args"), words(pod, "command"), app(pod, "  containers:")),
    ];
    for (sidecar, check, app) in examples {
        let (directory, network) = (tempfile::TempDir::new().unwrap(), Network::new());
        let template_file = directory.path().join("template.json");
        fs::write(&template_file, template).unwrap();
        let keycard = |words: &[String]| {
            let mut command = network.inside("setpriv");
            let capabilities = "-all,+chown,+net_bind_service,+net_admin";
            command.args(["--bounding-set", capabilities]).arg(env!("CARGO_BIN_EXE_keycard"));
            command.args(words).env("KEYCARD_HOME", directory.path().join("home"));
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let file = template_file.to_string_lossy().into_owned();
        let in_place = |word: &String| match word.as_str() {
            "/etc/keycard/template.json" => file.clone(),
            word => word.to_owned(),
        };
        let up = keycard(&sidecar.iter().map(in_place).collect::<Vec<_>>()).spawn().unwrap();
        assert_eq!(check[0], "keycard");
        wait_until("the sidecar is healthy", || keycard(&check[1..]).status().unwrap().success());
        let mut asking = network.inside("setpriv");
        let none = ["--reuid", "54321", "--regid", "54321", "--clear-groups"];
        let answer = asking.args(none).args(&app).output().unwrap();
        let body = text(&answer.stdout);
        assert!(body.contains("\"access_token\":\"ey"), "{body} {}", text(&answer.stderr));
        end(up, Signal::TERM);
    }
}
