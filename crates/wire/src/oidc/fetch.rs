//! One fetch of an issuer's keys: its discovery document, then the key set that this names. Nothing is followed, and bytes
//! and time are bounded.
//!
//! Source: OpenID Connect Discovery 1.0, section 4; RFC 7517.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use keycard_crypto::jwk::{ForeignKey, read_key_set};
use keycard_crypto::signing_key::PublicKey;
use keycard_crypto::tls::ClientConfig;
use keycard_domain::limits;
use keycard_domain::token::federation::IssuerKeysError;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::{Endpoint, LocalIssuers};

/// Asks issuers.
pub(super) struct Fetcher {
    local: LocalIssuers,
    tls: Option<TlsConnector>,
    time_max: Duration,
    permits: Semaphore,
    resolutions: Arc<Semaphore>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("local", &self.local).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

fn unreachable(error: impl std::fmt::Display) -> IssuerKeysError {
    IssuerKeysError::Unreachable(error.to_string())
}

fn unusable(reason: impl Into<String>) -> IssuerKeysError {
    IssuerKeysError::Unusable(reason.into())
}

impl Fetcher {
    pub(super) fn new(
        local: LocalIssuers,
        tls: Option<Arc<ClientConfig>>,
        time_max: Duration,
    ) -> Self {
        let permits = Semaphore::new(limits::ISSUER_FETCHES_MAX);
        let resolutions = Arc::new(Semaphore::new(limits::ISSUER_FETCHES_MAX));
        Self { local, tls: tls.map(TlsConnector::from), time_max, permits, resolutions }
    }

    /// The keys for signatures of an issuer, by RSA. When many are asked at once, it waits for its turn no longer than the
    /// fetch may take then.
    pub(super) async fn fetch(&self, issuer: &str) -> Result<Arc<[ForeignKey]>, IssuerKeysError> {
        let turn = timeout(self.time_max, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = turn else { return Err(IssuerKeysError::Busy) };
        timeout(self.time_max, self.fetch_keys(issuer))
            .await
            .unwrap_or_else(|_| Err(unreachable("not in time")))
    }

    async fn fetch_keys(&self, issuer: &str) -> Result<Arc<[ForeignKey]>, IssuerKeysError> {
        if issuer.contains('?') {
            return Err(IssuerKeysError::NotAllowed("its address has a query".to_owned()));
        }
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let url = format!("{base}/.well-known/openid-configuration");
        let document = self.get(&url, limits::DISCOVERY_BYTES_MAX).await?;
        let discovery: Discovery = serde_json::from_slice(&document)
            .map_err(|_| unusable("it is no discovery document"))?;
        if discovery.issuer != issuer {
            return Err(unusable("its discovery document is another issuer's"));
        }
        let set = self.get(&discovery.jwks_uri, limits::KEY_SET_BYTES_MAX).await?;
        let keys = read_key_set(&set).map_err(|error| unusable(error.to_string()))?;
        Ok(keys.into_iter().filter(|key| matches!(key.key, PublicKey::Rsa { .. })).collect())
    }

    async fn get(&self, url: &str, bytes_max: usize) -> Result<Bytes, IssuerKeysError> {
        let endpoint = Endpoint::parse(url, self.local)?;
        let stream = self.connect(&endpoint).await?;
        if !endpoint.is_tls {
            return exchange(TokioIo::new(stream), &endpoint, bytes_max).await;
        }
        let tls = self.tls.as_ref();
        let tls = tls.ok_or_else(|| unreachable("this system has no trusted authorities"))?;
        let name = endpoint.host.clone().try_into().map_err(unreachable)?;
        let stream = tls.connect(name, stream).await.map_err(unreachable)?;
        exchange(TokioIo::new(stream), &endpoint, bytes_max).await
    }

    /// A connection to one of the addresses that were checked.
    async fn connect(&self, endpoint: &Endpoint) -> Result<TcpStream, IssuerKeysError> {
        let mut failure = unreachable("its name has no address");
        for address in endpoint.addresses(self.local, &self.resolutions).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = unreachable(error),
            }
        }
        Err(failure)
    }
}

/// One request on a connection of its own, which ends with it.
async fn exchange<I>(io: I, endpoint: &Endpoint, bytes_max: usize) -> Result<Bytes, IssuerKeysError>
where
    I: Read + Write + Unpin + Send,
{
    let request = Request::get(&endpoint.target)
        .header(header::HOST, &endpoint.authority)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("keycard/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(unreachable)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits::HEAD_BYTES_MAX).max_headers(limits::HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(io).await.map_err(unreachable)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(unreachable(format!("status {}", response.status().as_u16())));
        }
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                unusable("it is too long")
            } else {
                unreachable(error)
            }
        })?;
        Ok(body.to_bytes())
    };
    // What the connection received before it ended is still read.
    let connected = async {
        let _ = connection.await;
        pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = connected => Err(unreachable("the connection ended")),
    }
}
