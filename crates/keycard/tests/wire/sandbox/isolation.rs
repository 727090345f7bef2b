//! What a sandbox keeps its command away from: the host's network and names, keycard's keys and its control socket.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;

use super::stage::{ASK, Stage, Who, text};

#[test]
fn nothing_of_the_hosts_network_or_beyond_is_reached() {
    for who in Who::all() {
        let stage = Stage::set(who);
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = service.local_addr().unwrap().port();
        for target in [format!("127.0.0.1/{port}"), "192.0.2.1/80".into(), "10.254.254.1/80".into()]
        {
            let output = stage.run(&[], &format!("exec 3<>/dev/tcp/{target}"));
            assert!(!output.status.success(), "{who:?}: {target}");
        }
        for name in ["example.com", "github.com", "evilazure.net"] {
            let output = stage.run(&[], &format!("getent hosts {name}"));
            assert_eq!(output.status.code(), Some(2), "{who:?}: {name}");
        }
        let links =
            stage.says(&[], "tail -n +3 /proc/net/dev | wc -l; cat /proc/net/route | tail -n +2");
        assert_eq!(links, "1", "{who:?}: loopback, and no route");
    }
}

#[test]
fn keycards_own_directories_and_socket_are_not_there() {
    for who in Who::all() {
        let stage = Stage::set(who);
        let socket = stage.ready["controlSocket"].as_str().unwrap();
        assert!(UnixStream::connect(socket).is_ok() || who == Who::Ordinary, "it listens outside");
        for place in ["home/state", "data", "home/.config/keycard"] {
            let outside = std::fs::read_dir(stage.path(place)).unwrap().count();
            assert!(outside > 0, "{place} is where keycard keeps something");
            assert_eq!(stage.says(&[], &format!("ls -A {place}")), "", "{who:?}: {place}");
            let written = stage.run(&[], &format!("touch {place}/x"));
            assert!(!written.status.success(), "{who:?}: {place}");
        }
        let mut command = stage.keycard(&["run", "--as", "vm1", "--", "ls", "-A"]);
        let output = command.current_dir(stage.path("data")).output().unwrap();
        assert_eq!(text(&output.stdout), "", "{who:?}: the directory it is started in");
        let nested = stage.run(&[], "./keycard run --as vm1 -- true");
        assert_eq!(nested.status.code(), Some(125), "{who:?}: {}", text(&nested.stderr));
    }
}

#[test]
fn an_ordinary_command_cannot_uncover_them() {
    let stage = Stage::set(Who::Ordinary);
    let script = "grep -h Cap /proc/self/status; umount home/state; \
         unshare --user --map-root-user --mount umount home/state; ls -A home/state; \
         unshare --user --map-root-user --mount ls -A home/state";
    let output = stage.run(&[], script);
    let seen = text(&output.stdout);
    for name in ["CapPrm", "CapEff", "CapAmb", "CapInh"] {
        assert!(seen.contains(&format!("{name}:\t0000000000000000")), "{seen}");
    }
    assert!(!seen.contains("server.json"), "{seen}");
}

#[test]
fn what_is_written_to_the_tie_means_nothing() {
    let stage = Stage::set(Who::Ordinary);
    let script = format!(
        "printf '{{\"version\":1}}\\n%s\\n' x >&900; head -c 100000 /dev/zero >&900; {ASK}"
    );
    let answer = stage.says(&[], &script);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_foreign_word_is_refused_at_the_control_socket_and_another_user_does_not_get_there() {
    use std::io::{BufRead, BufReader};
    let stage = Stage::set(Who::Ordinary);
    let socket = stage.ready["controlSocket"].as_str().unwrap();
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"{\"not\":\"understood\"}\n").unwrap();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    assert!(answer.contains("does not understand"), "{answer}");
    assert!(stage.says(&[], ASK).starts_with("HTTP/1.1 200"), "others are served on");
    if rustix::process::geteuid().is_root() {
        let mut other = std::process::Command::new("test");
        let reaches = other.uid(54322).gid(54322).args(["-e", socket]).status().unwrap();
        assert!(!reaches.success(), "its directory is its owner's");
    }
}

#[test]
fn an_administrator_is_told_once_what_its_command_keeps() {
    let Some(who) = Who::all().into_iter().find(|who| *who == Who::Root) else { return };
    let stage = Stage::set(who);
    let words = |_| text(&stage.run(&[], "true").stderr);
    let [first, second] = [0, 1].map(words);
    assert!(first.contains("the command keeps your capabilities"), "{first}");
    assert_eq!(second, "");
}

#[test]
fn a_machine_without_namespaces_says_so_and_names_the_fallback() {
    for who in Who::all() {
        let stage = Stage::set(who);
        let script =
            "echo 0 > /proc/sys/user/max_net_namespaces; exec ./keycard run --as vm1 -- true";
        let mut outer = std::process::Command::new("unshare");
        outer.args(["--user", "--map-root-user", "bash", "-c", script]);
        outer.env_clear().env("PATH", "/usr/bin:/bin");
        outer.env("KEYCARD_HOME", stage.path("home/state")).current_dir(stage.path(""));
        if rustix::process::geteuid().as_raw() != who.uid() {
            use std::os::unix::process::CommandExt;
            outer.uid(who.uid()).gid(who.uid());
        }
        let output = outer.output().unwrap();
        let words = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{who:?}: {words}");
        assert!(words.contains("user.max_net_namespaces = 0"), "{who:?}: {words}");
        assert!(words.contains("keycard run --env"), "{who:?}: {words}");
    }
}

#[test]
fn what_is_left_over_from_elsewhere_makes_a_command_no_other_resource() {
    let stage = Stage::set(Who::Ordinary);
    let bundle = stage.ready["caBundleFile"].as_str().unwrap();
    for options in [&[][..], &["--env"]] {
        let mut command = stage.keycard(&["run", "--as", "vm1"]);
        command.args(options).args(["--", "env"]).env("CURL_CA_BUNDLE", bundle);
        for name in ["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET"] {
            command.env(name, "left-over");
        }
        let seen = text(&command.output().unwrap().stdout);
        assert!(seen.contains("PATH=") && !seen.contains("left-over"), "{options:?}: {seen}");
        let names_hidden_file = options.is_empty() && seen.contains(bundle);
        assert!(!names_hidden_file, "{seen}");
    }
}

#[test]
fn a_command_in_keycards_own_directory_is_refused() {
    let stage = Stage::set(Who::Ordinary);
    let mut command = stage.keycard(&["run", "--as", "vm1", "--", "true"]);
    let output = command.current_dir(stage.path("home/state")).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("keycard's own"), "{}", text(&output.stderr));
}

/// As in a container: the user is root and may not mount.
#[test]
fn a_root_without_capabilities_cannot_uncover_what_is_hidden() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let stage = Stage::set(Who::Root);
    let keycard = stage.path("keycard");
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set", "-sys_admin"]).arg(keycard);
    command.args(["run", "--as", "vm1", "--", "sh", "-c"]);
    command.arg("umount \"$KEYCARD_HOME\" 2>/dev/null; ls -A \"$KEYCARD_HOME\"; id -u");
    command.env("KEYCARD_HOME", stage.path("home/state")).current_dir(stage.path("work"));
    let output = command.output().unwrap();
    assert_eq!(text(&output.stdout), "0", "{}", text(&output.stderr));
}
