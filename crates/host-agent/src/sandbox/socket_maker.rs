//! A small process inside that makes sockets on demand, so that the host can connect to what listens inside: a socket
//! belongs to the network it was made in, wherever it is connected from.
//!
//! It is no child of the command's, which would wait for it in vain: one process in between ends at once. It ends when
//! keycard closes its socket.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::cmsg_space;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socket_with,
};

/// The hidden subcommand by which the binary starts itself so.
pub(super) const SUBCOMMAND: &str = "socket-maker";
const STAY: &str = "--stay";

/// What the hidden subcommand is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketMakerArguments {
    /// Start the one that stays, and end.
    Start,
    /// Stay.
    Stay,
}

/// Starts the process and gives keycard's end of its socket.
pub(super) fn start() -> io::Result<UnixStream> {
    let (near, far) = UnixStream::pair()?;
    let status = this_binary().stdin(Stdio::from(OwnedFd::from(far))).status()?;
    if status.success() { Ok(near) } else { Err(io::Error::other(format!("it {status}"))) }
}

fn this_binary() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(SUBCOMMAND).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    command
}

/// The process itself; its standard input is the socket.
pub fn make_sockets(arguments: SocketMakerArguments) -> io::Result<()> {
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    match arguments {
        SocketMakerArguments::Start => {
            this_binary().arg(STAY).stdin(Stdio::from(OwnedFd::from(control))).spawn()?;
            Ok(())
        }
        SocketMakerArguments::Stay => {
            // What the terminal sends to the command is not meant for it.
            rustix::process::setsid()?;
            answer(&control)
        }
    }
}

/// A socket for each byte, until there are no more.
fn answer(mut control: &UnixStream) -> io::Result<()> {
    let mut wish = [0];
    while control.read(&mut wish)? == 1 {
        let made = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = made.as_ref().map(|made| [made.as_fd()]);
        if let Ok(descriptors) = &descriptors {
            ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        sendmsg(control, &[IoSlice::new(&wish)], &mut ancillary, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}
