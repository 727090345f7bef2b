//! The certificate that the Service Fabric endpoints of this host show: the same as long as the process runs, since their
//! clients were told its thumbprint.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use keycard_crypto::digest::sha1;
use keycard_crypto::encoding;
use keycard_crypto::tls::{ServerCertificates, TlsError, server_config};
use keycard_crypto::x509::ServerCertificate;
use keycard_domain::limits;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The certificate with its key, ready to be shown.
#[derive(Clone)]
pub struct NodeCertificate {
    acceptor: TlsAcceptor,
    thumbprint: String,
}

impl NodeCertificate {
    /// Shows this certificate.
    ///
    /// # Errors
    /// [`TlsError`] if its key cannot be used.
    pub fn new(certificate: &ServerCertificate) -> Result<Self, TlsError> {
        let leaf = certificate.chain.first().map(Vec::as_slice).unwrap_or_default();
        let thumbprint = encoding::hex_encode(&sha1(leaf)).to_uppercase();
        let mut config = server_config(ServerCertificates::new(certificate)?)?;
        // What workloads speak at local endpoints.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), thumbprint })
    }

    /// Its SHA-1, in 40 upper-case hexadecimal digits: how Service Fabric names certificates.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The connection once the client has accepted the certificate; none when it has not, or not in time.
    pub(crate) fn secure(
        &self,
        stream: TcpStream,
    ) -> impl Future<Output = Option<TlsStream<TcpStream>>> + Send + use<> {
        let handshake = self.acceptor.accept(stream);
        async move { tokio::time::timeout(limits::HANDSHAKE_TIME_MAX, handshake).await.ok()?.ok() }
    }
}

impl fmt::Debug for NodeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCertificate")
            .field("thumbprint", &self.thumbprint)
            .finish_non_exhaustive()
    }
}
