//! `--allow` and `--publish`: the two ways through that its user opens.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use super::passage::wait_until;
use super::stage::{Stage, Who, text};

/// Listens at a port, answers one connection after another with what it hears, in capitals.
const SHOUT: &str = "use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', \
     LocalPort => shift, ReuseAddr => 1) or die; while (my $c = $s->accept) { my $l = <$c>; print $c uc $l; close $c }";

#[test]
fn an_allowed_service_is_reached_by_name_and_address_and_no_other() {
    for who in Who::all() {
        let stage = Stage::set(who);
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = service.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = service.accept().unwrap();
                let mut heard = [0; 4];
                stream.read_exact(&mut heard).unwrap();
                stream.write_all(&heard).unwrap();
            }
        });
        for host in ["127.0.0.1", "localhost"] {
            let script =
                format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf ping >&3; head -c 4 <&3");
            let allow = format!("{host}:{port}");
            assert_eq!(stage.says(&["--allow", &allow], &script), "ping", "{who:?}: {host}");
        }
        served.join().unwrap();
        let named = format!("db.internal:{port}");
        let resolved = stage
            .says(&["--allow", &named], "getent hosts db.internal; getent ahostsv4 DB.internal");
        assert!(resolved.starts_with("10.254.254.2 "), "{who:?}: {resolved}");
        let own =
            stage.says(&["--allow", "10.1.2.3:5432"], "exec 3<>/dev/tcp/10.1.2.3/5432; echo there");
        assert_eq!(own, "there", "{who:?}: an address stays what it is called");
    }
}

#[test]
fn a_published_port_is_reached_from_the_host_until_the_command_ends() {
    for who in Who::all() {
        let stage = Stage::set(who);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port_text = port.to_string();
        let mut command = stage.keycard(&["run", "--as", "vm1", "--publish", &port_text, "--"]);
        command.args(["perl", "-e", SHOUT, &port_text]).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let ask = || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.write_all(b"hello\n").ok()?;
            let mut heard = String::new();
            stream.read_to_string(&mut heard).ok()?;
            Some(heard)
        };
        wait_until("the port is published", || ask().as_deref() == Some("HELLO\n"));
        assert_eq!(ask().as_deref(), Some("HELLO\n"), "{who:?}: again, with a socket of its own");
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("the port is given back", || TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

#[test]
fn a_published_port_that_is_taken_on_the_host_is_said() {
    let stage = Stage::set(Who::Ordinary);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = stage.run(&["--publish", &port], "true");
    assert_eq!(output.status.code(), Some(125));
    let words = text(&output.stderr);
    assert!(words.contains(&format!("--publish {port}: on this host,")), "{words}");
}
