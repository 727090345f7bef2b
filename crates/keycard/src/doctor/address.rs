//! Who has 169.254.169.254: whether it is an address of this machine, who listens at its port 80, and where packets for it
//! would go. Read from the kernel's tables; nothing is sent.

use super::{Finding, Surroundings, fault, good, note, source};

/// 169.254.169.254 and any address, as `/proc/net/tcp` writes them: in the order of a little-endian machine.
const METADATA: &str = "FEA9FEA9";
const ANY: &str = "00000000";
const ANY_V6: &str = "00000000000000000000000000000000";
/// Port 80.
const PORT: &str = "0050";
/// The state of a listening socket.
const LISTENING: &str = "0A";

/// 169.254.169.254 as a number whose first byte is the last of the address.
const METADATA_NUMBER: u32 = u32::from_le_bytes([169, 254, 169, 254]);

const ELSEWHERE: &str =
    "eval \"$(keycard env --as RESOURCE)\", or: keycard run --as RESOURCE -- COMMAND";

/// Processes that are asked for the socket of a listener.
const PROCESSES_MAX: usize = 32_768;

pub(super) fn look(surroundings: &Surroundings) -> Vec<Finding> {
    let holder = holder(surroundings);
    if is_local(surroundings) {
        return vec![match holder {
            None => note(
                "address",
                "169.254.169.254 is an address of this machine, and nobody listens at its port 80",
                "keycard up --link-local RESOURCE",
            ),
            Some(Holder::Keycard) => good(
                "address",
                "169.254.169.254 is an address of this machine, and keycard listens there",
            ),
            Some(Holder::Other(who)) => fault(
                "address",
                format!(
                    "169.254.169.254 is an address of this machine, and its port 80 is held by {who}"
                ),
                format!("end {who}, or go another way: {ELSEWHERE}"),
            ),
        }];
    }
    let mut findings = vec![route(surroundings)];
    if let Some(Holder::Other(who)) = holder {
        findings.push(note(
            "address",
            format!(
                "port 80 of every address is held by {who}: `up --link-local` could not listen"
            ),
            format!("end {who}, or go another way: {ELSEWHERE}"),
        ));
    }
    findings
}

/// Where packets would go. A route of its own to another machine is how a cloud's metadata service is reached.
fn route(surroundings: &Surroundings) -> Finding {
    let asks_it = !source::names_an_endpoint(surroundings);
    match longest_route(surroundings) {
        None => good("address", "169.254.169.254 leads nowhere"),
        Some(Route { prefix_bits: 0, interface, .. }) => note(
            "address",
            format!(
                "169.254.169.254 goes the default way, by {interface}, perhaps to a cloud's own metadata service"
            ),
            ELSEWHERE,
        ),
        Some(Route { prefix_bits, interface }) => {
            let seen = format!(
                "169.254.169.254 has a route of its own (/{prefix_bits}, by {interface}) to another machine"
            );
            if asks_it {
                fault(
                    "address",
                    format!("{seen}, and no variable leads SDKs to keycard"),
                    ELSEWHERE,
                )
            } else {
                note(
                    "address",
                    format!(
                        "{seen}; the SDKs for Go and Rust ask there whatever the variables say"
                    ),
                    ELSEWHERE,
                )
            }
        }
    }
}

/// Whether the address is one of this machine's. Source: Linux, `fib_trie`: the address, and `host LOCAL` below it.
fn is_local(surroundings: &Surroundings) -> bool {
    let table = surroundings.text("/proc/net/fib_trie").unwrap_or_default();
    let mut lines = table.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line == "|-- 169.254.169.254"
            && lines.next().is_some_and(|next| next.ends_with("host LOCAL"))
        {
            return true;
        }
    }
    false
}

struct Route {
    interface: String,
    prefix_bits: u32,
}

/// The most exact route that covers the address. Source: proc(5), `/proc/net/route`.
fn longest_route(surroundings: &Surroundings) -> Option<Route> {
    let table = surroundings.text("/proc/net/route")?;
    let read = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| u32::from_str_radix(columns.get(index)?, 16).ok();
        let (destination, mask) = (number(1)?, number(7)?);
        (METADATA_NUMBER & mask == destination).then(|| Route {
            interface: columns.first().copied().unwrap_or_default().to_owned(),
            prefix_bits: mask.count_ones(),
        })
    };
    table.lines().skip(1).filter_map(read).max_by_key(|route| route.prefix_bits)
}

enum Holder {
    Keycard,
    /// A program by its name and process, or that it cannot be seen.
    Other(String),
}

/// Who listens at port 80 of the address. Source: proc(5), `/proc/net/tcp`.
fn holder(surroundings: &Surroundings) -> Option<Holder> {
    let four = surroundings.text("/proc/net/tcp").unwrap_or_default();
    let six = surroundings.text("/proc/net/tcp6").unwrap_or_default();
    let socket = four.lines().chain(six.lines()).find_map(listener)?;
    Some(process_with(surroundings, &socket))
}

/// The socket's number, if the line is one of a listener that gets what is sent to the address.
fn listener(line: &str) -> Option<String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = columns.get(1)?.split_once(':')?;
    let is_listener = [METADATA, ANY, ANY_V6].contains(&address)
        && port == PORT
        && columns.get(3) == Some(&LISTENING);
    is_listener.then(|| columns.get(9).map(|inode| (*inode).to_owned()))?
}

/// The process that has the socket open; other users' processes do not show theirs.
fn process_with(surroundings: &Surroundings, socket: &str) -> Holder {
    let wanted = format!("socket:[{socket}]");
    let processes = surroundings.entries("/proc").into_iter();
    let numbers = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    for process in numbers.take(PROCESSES_MAX) {
        let descriptors = format!("/proc/{process}/fd");
        let has_it = surroundings.entries(&descriptors).iter().any(|descriptor| {
            surroundings.link(&format!("{descriptors}/{descriptor}")).as_deref()
                == Some(wanted.as_str())
        });
        if has_it {
            let name = surroundings.text(&format!("/proc/{process}/comm")).unwrap_or_default();
            return match name.trim() {
                "keycard" => Holder::Keycard,
                other => Holder::Other(format!("{other} (process {process})")),
            };
        }
    }
    Holder::Other("a program of another user".to_owned())
}
