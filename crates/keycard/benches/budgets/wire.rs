//! HTTP/1.1 as a load generator speaks it: a connection that is kept, requests as prepared bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::Outcome;

/// No answer takes longer, or the benchmark stops instead of hanging.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Where a connection leads: a port of this machine, with TLS under a name or without.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) tls: Option<(Arc<ClientConfig>, String)>,
}

impl Target {
    pub(crate) fn plain(port: u16) -> Self {
        Self { port, tls: None }
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = self.tls.as_ref().map_or("127.0.0.1", |(_, name)| name);
        format!("{host}:{}", self.port)
    }

    pub(crate) fn connect(&self) -> Outcome<Connection> {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some((config, name)) => {
                let name = ServerName::try_from(name.clone())?;
                let mut tls =
                    StreamOwned::new(ClientConnection::new(Arc::clone(config), name)?, tcp);
                while tls.conn.is_handshaking() {
                    tls.conn.complete_io(&mut tls.sock)?;
                }
                Box::new(tls)
            }
        };
        Ok(Connection { stream, received: Vec::new() })
    }
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A connection that is kept between requests.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
}

/// Where the body of an answer stands.
struct Head {
    status: u16,
    body_begin: usize,
    body_bytes: usize,
}

impl Connection {
    /// Sends a prepared request and reads the whole answer; its status and body.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Outcome<(u16, &[u8])> {
        self.send(request)?;
        self.receive()
    }

    pub(crate) fn send(&mut self, request: &[u8]) -> Outcome<()> {
        self.stream.write_all(request)?;
        Ok(self.stream.flush()?)
    }

    /// Reads the whole answer to the one request that was sent.
    pub(crate) fn receive(&mut self) -> Outcome<(u16, &[u8])> {
        self.received.clear();
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = match self.stream.read(&mut chunk) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.received.extend_from_slice(&chunk[..read]);
            if let Some(head) = head(&self.received)? {
                let end = head.body_begin + head.body_bytes;
                if self.received.len() >= end {
                    return Ok((head.status, &self.received[head.body_begin..end]));
                }
            }
        }
    }

    /// As [`Self::exchange`], with the body as JSON.
    pub(crate) fn exchange_json(&mut self, request: &[u8]) -> Outcome<(u16, Value)> {
        let (status, body) = self.exchange(request)?;
        Ok((status, serde_json::from_slice(body).unwrap_or(Value::Null)))
    }

    /// Sends a prepared request that must succeed; its body as JSON.
    pub(crate) fn accepted(&mut self, request: &[u8]) -> Outcome<Value> {
        match self.exchange_json(request)? {
            (200..=299, body) => Ok(body),
            (status, body) => Err(format!("{} gave {status}: {body}", first_line(request)).into()),
        }
    }
}

fn first_line(request: &[u8]) -> String {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

/// Reads the head of an answer, once it is there.
fn head(received: &[u8]) -> Outcome<Option<Head>> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&received[..end])?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let mut body_bytes = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            body_bytes = value.trim().parse()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("the answer is chunked, which this client does not read".into());
        }
    }
    Ok(Some(Head { status: status.parse()?, body_begin: end + 4, body_bytes }))
}

/// The bytes of a request.
pub(crate) fn request(
    method: &str,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if method != "GET" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}
