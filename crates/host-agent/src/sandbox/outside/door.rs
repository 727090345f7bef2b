//! Lines on the control socket, with the descriptors that came along.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::net::UnixStream;

use super::super::protocol::{LINE_BYTES_MAX, receive_some};

/// Reads up to the end of a line. The other side sends nothing more before it is answered.
pub(super) async fn read_line(
    caller: &UnixStream,
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let receive = || receive_some(caller.as_fd(), &mut line, descriptors);
        if caller.async_io(Interest::READABLE, receive).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.len() > LINE_BYTES_MAX
            || descriptors.len() > super::super::protocol::OPENINGS_MAX + 8
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
        }
    }
    Ok(line)
}
