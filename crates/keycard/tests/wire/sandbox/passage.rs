//! What passes through `keycard run` unchanged, and how it says that it cannot run something.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::stage::{ASK, Stage, Who, text};

#[test]
fn status_signals_process_directory_and_user_are_the_commands() {
    for who in Who::all() {
        let stage = Stage::set(who);
        assert_eq!(stage.run(&[], "exit 7").status.code(), Some(7), "{who:?}");
        assert_eq!(stage.run(&[], "kill -TERM $$").status.signal(), Some(15), "{who:?}");
        let mut command = stage.keycard(&["run", "--as", "vm1", "--", "bash", "-c", "echo $$"]);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let pid = child.id().to_string();
        assert_eq!(text(&child.wait_with_output().unwrap().stdout), pid, "{who:?}");
        assert_eq!(stage.says(&[], "id -u"), who.uid().to_string());
        let mut command = stage.keycard(&["run", "--as", "vm1", "--", "pwd"]);
        let output = command.current_dir(stage.path("work")).output().unwrap();
        assert_eq!(text(&output.stdout), stage.path("work").to_string_lossy(), "{who:?}");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for options in [&[][..], &["--publish", &port.to_string()]] {
            let script = "read -r -a children < /proc/$$/task/$$/children; echo ${#children[@]}";
            let children = stage.says(options, script);
            assert_eq!(children, "0", "{who:?}: the command has no child that it did not start");
        }
    }
}

#[test]
fn a_signal_ends_the_command_itself() {
    let stage = Stage::set(Who::Ordinary);
    let mut command = stage.keycard(&["run", "--as", "vm1", "--", "sleep", "60"]);
    let mut child = command.spawn().unwrap();
    let is_sleeping = || {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", child.id()));
        name.is_ok_and(|name| name.trim() == "sleep")
    };
    wait_until("the command runs", is_sleeping);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
}

#[test]
fn what_a_script_leaves_in_the_background_keeps_the_endpoint() {
    for who in Who::all() {
        let stage = Stage::set(who);
        let script =
            format!("(sleep 0.5; {ASK} > work/answer 2>&1; touch work/done) >/dev/null 2>&1 &");
        stage.says(&[], &script);
        assert!(!stage.path("work/done").exists(), "{who:?}: the script ended first");
        wait_until("the background process has asked", || stage.path("work/done").exists());
        let answer = std::fs::read_to_string(stage.path("work/answer")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{who:?}: {answer}");
    }
}

#[test]
fn many_sandboxes_at_once_are_all_served() {
    let stage = Stage::set(Who::Ordinary);
    let start = |_| {
        let mut command = stage.keycard(&["run", "--as", "vm1", "--", "bash", "-c", ASK]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<_> = (0..20).map(start).collect();
    for child in all {
        let answer = text(&child.wait_with_output().unwrap().stdout);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[test]
fn what_cannot_be_run_is_said_with_the_customary_status() {
    for who in Who::all() {
        let stage = Stage::set(who);
        for (command, status) in [("no-such-command", 127), ("/etc/passwd", 126), ("/nowhere", 127)]
        {
            let output = stage.keycard(&["run", "--as", "vm1", "--", command]).output().unwrap();
            assert_eq!(output.status.code(), Some(status), "{who:?}: {command}");
            assert!(text(&output.stderr).contains(command), "{who:?}: {command}");
        }
    }
}

#[test]
fn what_keycard_refuses_is_said_and_nothing_is_run() {
    let stage = Stage::set(Who::Ordinary);
    for (options, words) in [
        (&["--as", "vm9"][..], "no resource with a local endpoint is called `vm9`"),
        (&["--as", "vm1", "--allow", "169.254.169.254:80"], "is not reached from a sandbox"),
        (&["--as", "vm1", "--allow", "[::1]:80"], "HOST is a name or an IPv4 address"),
        (&["--as", "vm1", "--allow", "127.0.0.1:53"], "--allow 127.0.0.1:53: inside,"),
        (&["--as", "vm1", "--trust", "nowhere.pem"], "--trust nowhere.pem: there is no such file"),
    ] {
        let mut command = stage.keycard(&["run"]);
        let output = command.args(options).args(["--", "touch", "work/ran"]).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{options:?}");
        assert!(text(&output.stderr).contains(words), "{options:?}: {}", text(&output.stderr));
        assert!(!stage.path("work/ran").exists(), "{options:?}");
    }
}

#[test]
fn without_a_keycard_the_message_says_how_to_start_one() {
    let stage = Stage::set(Who::Ordinary);
    let home = stage.path("work/elsewhere");
    let output = |credentials: Option<&str>| {
        let mut command = stage.keycard(&["run", "--as", "vm1"]);
        command.env("KEYCARD_HOME", &home);
        if let Some(credentials) = credentials {
            command.args(["--credentials", credentials]);
        }
        let output = command.args(["--", "true"]).output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        text(&output.stderr)
    };
    let words = output(None);
    assert!(words.contains("Start one with: keycard up"), "{words}");
    let mut gone = stage.ready.clone();
    gone["controlSocket"] = home.join("control.sock").to_string_lossy().into();
    std::fs::write(stage.path("gone.json"), gone.to_string()).unwrap();
    let words = output(Some("gone.json"));
    assert!(words.contains("no keycard is running here (no socket at "), "{words}");
}

/// Waits for what another process does.
#[expect(clippy::disallowed_methods, reason = "other processes keep real time")]
pub(super) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}
