//! Without a sandbox: a listener at this host's own metadata address, handed to the running keycard the same way.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::protocol::{self, HandOver, Handed, Hello, Ready, VERSION, Welcome};
use super::{Refusal, connect, granted, lost};

/// How long the running keycard may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// A metadata endpoint of this host that the running keycard serves, for as long as this is kept.
#[derive(Debug)]
pub struct HostEndpoint {
    resource: String,
    control: UnixStream,
}

impl HostEndpoint {
    /// Hands a listener to the keycard with this control socket, which from then on answers there as the resource, named by
    /// its whole id or a name.
    pub fn open(control: &Path, resource: &str, listener: &TcpListener) -> Result<Self, Refusal> {
        let control = connect(control)?;
        control.set_read_timeout(Some(ANSWER_TIME_MAX)).map_err(|error| lost(&error))?;
        let hello = Hello {
            version: VERSION,
            resource: resource.to_owned(),
            allow: Vec::new(),
            publish: Vec::new(),
            is_administrator: false,
        };
        protocol::send_with(&control, &hello, &[]).map_err(|error| lost(&error))?;
        let welcome: Welcome = granted(protocol::receive(&control))?;
        let hand_over = HandOver { sockets: vec![Handed::Metadata], names: Vec::new() };
        protocol::send_with(&control, &hand_over, &[listener.as_fd()])
            .map_err(|error| lost(&error))?;
        let Ready {} = granted(protocol::receive(&control))?;
        let nonblocking = || {
            control.set_nonblocking(true)?;
            UnixStream::from_std(control)
        };
        let control = nonblocking().map_err(|error: io::Error| lost(&error))?;
        Ok(Self { resource: welcome.resource, control })
    }

    /// The resource's whole id.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Waits until the running keycard is gone.
    pub async fn ended(&mut self) {
        let mut ignored = [0; 512];
        while self.control.read(&mut ignored).await.unwrap_or(0) > 0 {}
    }
}
