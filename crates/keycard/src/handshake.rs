//! TLS handshakes of the HTTPS listener: who is asked for a certificate depends on the name that a client connects to.

use std::io;
use std::sync::Arc;

use keycard_crypto::tls::{
    NamedCertificates, ServerCertificates, ServerConfig, TlsError, named_server_config,
    named_server_config_asking, server_config, server_config_asking,
};
use keycard_wire::bearer::ClientCertificate;
use keycard_wire::host_names::HostNames;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;

/// The settings of both kinds of handshake.
#[derive(Debug)]
pub(crate) struct Handshakes {
    names: HostNames,
    plain: Arc<ServerConfig>,
    asking: Arc<ServerConfig>,
}

impl Handshakes {
    /// Handshakes with the server's own certificate.
    pub(crate) fn of_server(
        names: HostNames,
        certificates: &Arc<ServerCertificates>,
    ) -> Result<Self, TlsError> {
        let plain = Arc::new(server_config(Arc::clone(certificates))?);
        let asking = Arc::new(server_config_asking(Arc::clone(certificates))?);
        Ok(Self { names, plain, asking })
    }

    /// Handshakes with certificates that are made by name.
    pub(crate) fn by_name(
        names: HostNames,
        certificates: &Arc<NamedCertificates>,
    ) -> Result<Self, TlsError> {
        let plain = Arc::new(named_server_config(Arc::clone(certificates))?);
        let asking = Arc::new(named_server_config_asking(Arc::clone(certificates))?);
        Ok(Self { names, plain, asking })
    }

    /// Makes a connection secure.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let asks = start
            .client_hello()
            .server_name()
            .is_some_and(|name| self.names.asks_for_certificate(name));
        let config = if asks { &self.asking } else { &self.plain };
        start.into_stream(Arc::clone(config)).await
    }
}

/// The certificate that the client presented, whose key it proved to hold.
pub(crate) fn client_certificate(stream: &TlsStream<TcpStream>) -> Option<ClientCertificate> {
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates()?.first()?;
    Some(ClientCertificate::new(certificate))
}
