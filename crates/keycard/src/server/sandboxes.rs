//! The control socket over which `run` hands its sandboxes to this server, and the HTTPS faces that are served in them.

use std::fmt::{Debug, Formatter};
use std::fs::{Permissions, canonicalize, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use keycard_crypto::tls::NamedCertificates;
use keycard_crypto::trust_store::subject_hash;
use keycard_domain::limits;
use keycard_host_agent::sandbox::outside::{About, HttpsFaces, Sandboxes};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::certificates::Tls;
use super::faces::{At, Faces, serve_https};
use super::{Options, StartError, other};
use crate::handshake::Handshakes;
use crate::keys;

/// A control socket that listens.
pub(super) struct ControlSocket {
    socket: Option<(UnixListener, PathBuf)>,
    sandboxes: Arc<Sandboxes>,
    named: Arc<NamedCertificates>,
}

/// Opens the control socket. Its path is long where the user's directories are, and the kernel's limit short: then there is
/// none, and a warning.
pub(super) fn open(
    options: &Options,
    tls: &Arc<Tls>,
    own: &Arc<Handshakes>,
    faces: &Arc<Faces>,
) -> Result<ControlSocket, StartError> {
    // A command is kept from what comes to be there later, too.
    options.places.private().into_iter().try_for_each(keys::private_directory)?;
    let port = tls.names.port();
    let path = options.places.control_socket(port);
    let named = {
        let tls = Arc::clone(tls);
        NamedCertificates::new(limits::NAMED_CERTIFICATES_MAX, move |name| {
            tls.issue_for(&[name.to_owned()], &[]).ok()
        })
    };
    let azure = Handshakes::by_name(tls.names.clone(), &named).map_err(other)?;
    let https =
        SandboxFaces { azure: Arc::new(azure), own: Arc::clone(own), faces: Arc::clone(faces) };
    let about = About {
        authority: tls.authority.certificate_pem(),
        subject_hash: subject_hash(tls.authority.certificate_der()).map_err(other)?,
        own_domain: tls.names.domain().to_owned(),
        own_port: port,
        covered: covered(options),
    };
    let listeners = Arc::clone(&faces.host.listeners);
    let sandboxes = Arc::new(Sandboxes::new(listeners, Arc::new(https), about));
    Ok(ControlSocket { socket: bind(&path)?, sandboxes, named })
}

fn bind(path: &Path) -> Result<Option<(UnixListener, PathBuf)>, StartError> {
    if let Some(directory) = path.parent() {
        keys::private_directory(directory)?;
    }
    // Left behind by a process of the same number that was killed.
    let _ = std::fs::remove_file(path);
    let bound = UnixListener::bind(path)
        .and_then(|socket| set_permissions(path, Permissions::from_mode(0o600)).map(|()| socket));
    match bound {
        Ok(socket) => Ok(Some((socket, path.to_owned()))),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "there is no control socket, and so no `keycard run`");
            Ok(None)
        }
    }
}

/// What commands must not see: the administrator's secret, keys, the state, the socket itself.
fn covered(options: &Options) -> Vec<String> {
    let private = options.places.private();
    let given = [&options.data_directory, &options.master_key_file].into_iter().flatten();
    let all = private.into_iter().chain(given.map(PathBuf::as_path));
    all.map(|path| canonicalize(path).unwrap_or_else(|_| path.to_owned()))
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

impl ControlSocket {
    /// Where it is.
    pub(super) fn path(&self) -> Option<String> {
        self.socket.as_ref().map(|(_, path)| path.to_string_lossy().into_owned())
    }

    /// Serves it until the server stops; gives the certificates to be renewed.
    pub(super) fn serve(
        self,
        stopped: watch::Receiver<bool>,
        tasks: &mut Vec<JoinHandle<()>>,
    ) -> Arc<NamedCertificates> {
        if let Some((socket, _)) = self.socket {
            tasks.push(tokio::spawn(self.sandboxes.serve(socket, stopped)));
        }
        self.named
    }
}

/// The HTTPS faces, at listeners that were made in a sandbox.
struct SandboxFaces {
    azure: Arc<Handshakes>,
    own: Arc<Handshakes>,
    faces: Arc<Faces>,
}

impl Debug for SandboxFaces {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SandboxFaces(…)")
    }
}

#[async_trait]
impl HttpsFaces for SandboxFaces {
    async fn serve_azure(&self, listener: TcpListener, closed: watch::Receiver<()>) {
        let (handshakes, faces) = (Arc::clone(&self.azure), Arc::clone(&self.faces));
        let connections_max = limits::SANDBOX_CONNECTIONS_MAX;
        serve_https(connections_max, listener, handshakes, faces, At::Azure, closed).await;
    }

    async fn serve_own(&self, listener: TcpListener, closed: watch::Receiver<()>) {
        let (handshakes, faces) = (Arc::clone(&self.own), Arc::clone(&self.faces));
        let connections_max = limits::SANDBOX_CONNECTIONS_MAX;
        serve_https(connections_max, listener, handshakes, faces, At::Own, closed).await;
    }
}
