//! The listeners of local endpoints: one per workload and kind, opened as soon as the workload exists.
//!
//! An attachment binds a resource to a listener, never to a source address.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use keycard_crypto::encoding;
use keycard_crypto::secret::Secret;
use keycard_domain::compute::attachment::{
    Attachment, AttachmentError, Attachments, EndpointKind, Hints,
};
use keycard_domain::compute::{ComputeResource, Workload};
use keycard_domain::directory::lookup::{self, DefaultRule};
use keycard_domain::limits;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::token::source::Selector;
use keycard_domain::token::throttle::Throttle;
use keycard_wire::local::{LocalEndpoint, LocalFace, authorities};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use crate::endpoint_thread::EndpointThread;
use crate::faults::Faults;
use crate::lane::{HostFaces, Lane};
use crate::metadata_address::{LinkChoice, METADATA, MetadataAddress, MetadataAddressError};
use crate::node_certificate::NodeCertificate;
use crate::token_source::HostView;

/// The local endpoints of this host.
#[derive(Debug)]
pub struct Listeners {
    view: Arc<dyn HostView>,
    faces: Arc<HostFaces>,
    thread: EndpointThread,
    /// The resource, by id or name, that is also served at the link-local address.
    link_local: Option<String>,
    /// What endpoints show that are spoken to over TLS.
    certificate: NodeCertificate,
    endpoints_max: usize,
    /// Changed under the lock of `open` only.
    is_closed: AtomicBool,
    open: Mutex<BTreeMap<(String, EndpointKind), OpenListener>>,
    /// What is served at sockets that were made elsewhere.
    inside: Mutex<Vec<Inside>>,
    /// Held where this host did not have it.
    link_local_address: Mutex<Option<MetadataAddress>>,
}

/// What is served in a sandbox, until the sandbox drops it.
#[derive(Debug)]
struct Inside {
    id: ArmResourceId,
    instance_id: Uuid,
    /// What its requests have to carry, if anything.
    header: Option<Secret>,
    /// As it was when the lane was last looked at.
    bearer: Arc<ComputeResource>,
    lane: Weak<Lane>,
}

#[derive(Debug)]
struct OpenListener {
    attachment: Attachment,
    /// What the workload is wherever it moves.
    instance_id: Uuid,
    lane: Arc<Lane>,
    /// As it was when the lane was last looked at.
    bearer: Arc<ComputeResource>,
    /// Dropped with the entry: the accept loops end.
    _open: watch::Sender<()>,
}

impl Listeners {
    /// No listener yet; what takes work will be done by the runtime that this is called in.
    pub fn new(
        view: Arc<dyn HostView>,
        local: LocalFace,
        faults: Arc<Faults>,
        thread: EndpointThread,
        link_local: Option<String>,
        certificate: NodeCertificate,
    ) -> Self {
        Self {
            view,
            faces: Arc::new(HostFaces::new(local, faults)),
            thread,
            link_local,
            certificate,
            endpoints_max: limits::LOCAL_ENDPOINTS_MAX,
            is_closed: AtomicBool::new(false),
            open: Mutex::default(),
            inside: Mutex::default(),
            link_local_address: Mutex::default(),
        }
    }

    /// Opens the listeners of new resources, closes those of resources that are gone, and gives a new secret to what was
    /// started anew.
    pub async fn follow(&self) {
        let workloads = self.view.workloads().into_iter();
        let wanted: BTreeMap<String, Workload> =
            workloads.map(|workload| (workload.id.key(), workload)).collect();
        self.move_or_close(&wanted).await;
        self.follow_bearers(&wanted).await;
        self.follow_inside(&wanted).await;
        let mut unopened = Vec::new();
        for workload in wanted.into_values() {
            let Some(kind) = workload.bearer.kind.endpoint() else { continue };
            if let Err(error) = self.ensure(&workload, kind).await {
                unopened.push((workload.id, error));
            }
        }
        if let Some((id, error)) = unopened.first() {
            let count = unopened.len();
            tracing::error!(resource = %id, %error, count, "local endpoints could not be opened");
        }
    }

    /// Closes all listeners for good, and waits, within the time that a stop may take, until what is being answered is
    /// answered. What is served in sandboxes has to be closed by them.
    pub async fn close(&self) {
        {
            let mut open = self.open.lock().await;
            self.is_closed.store(true, Ordering::Relaxed);
            open.clear();
        }
        self.thread.finish().await;
    }

    /// The workloads that are called so: by the whole id one at most, by a name perhaps several.
    pub(crate) fn called(&self, named: &str) -> Vec<Workload> {
        if let Some(workload) = named.parse().ok().and_then(|id| self.view.workload(&id)) {
            return vec![workload];
        }
        let is_meant =
            |workload: &Workload| Workload::name(&workload.id).eq_ignore_ascii_case(named);
        self.view.workloads().into_iter().filter(is_meant).collect()
    }

    /// What answers for a workload at a socket in a sandbox, and the secret that its requests have to carry, if any.
    pub(crate) async fn lane_inside(
        &self,
        workload: &Workload,
        kind: EndpointKind,
        address: SocketAddrV4,
    ) -> (Arc<Lane>, Option<Secret>) {
        let mut authorities = vec![address.to_string()];
        if address.port() == 80 {
            authorities.push(address.ip().to_string());
        }
        if address.ip().is_loopback() {
            authorities.push(format!("localhost:{}", address.port()));
        }
        let header = kind.has_secret().then(|| self.new_secret());
        let endpoint = Arc::new(LocalEndpoint {
            resource: workload.id.clone(),
            authorities,
            header: header.clone(),
            throttle: Throttle::default(),
        });
        let lane = Arc::new(Lane::new(kind, endpoint, &self.faces));
        let mut inside = self.inside.lock().await;
        inside.retain(|known| known.lane.strong_count() > 0);
        inside.push(Inside {
            id: workload.id.clone(),
            instance_id: workload.instance_id,
            header: header.clone(),
            bearer: Arc::clone(&workload.bearer),
            lane: Arc::downgrade(&lane),
        });
        (lane, header)
    }

    /// What is served in sandboxes goes with a workload that moves, and its secret ends with a restart. It ends with the
    /// workload: another one of the same name is not it.
    async fn follow_inside(&self, wanted: &BTreeMap<String, Workload>) {
        let mut inside = self.inside.lock().await;
        if inside.is_empty() {
            return;
        }
        let by_instance: HashMap<Uuid, &Workload> =
            wanted.values().map(|workload| (workload.instance_id, workload)).collect();
        inside.retain_mut(|known| {
            let Some(lane) = known.lane.upgrade() else { return false };
            let Some(workload) = by_instance.get(&known.instance_id) else {
                lane.end();
                return false;
            };
            let has_restarted =
                known.header.is_some() && known.bearer.starts != workload.bearer.starts;
            if has_restarted {
                known.header = Some(self.new_secret());
            }
            if has_restarted || known.id != workload.id {
                lane.rebind(&workload.id, known.header.clone());
                known.id = workload.id.clone();
            } else if !Arc::ptr_eq(&known.bearer, &workload.bearer) {
                lane.forget_answers();
            }
            known.bearer = Arc::clone(&workload.bearer);
            true
        });
    }

    /// Whoever learnt the former secret of a workload that was started anew can do nothing with it any more; the address
    /// stays. What was answered before a resource changed is asked anew: another identity may be the default one.
    async fn follow_bearers(&self, wanted: &BTreeMap<String, Workload>) {
        for ((key, _), listener) in self.open.lock().await.iter_mut() {
            let Some(workload) = wanted.get(key) else { continue };
            if Arc::ptr_eq(&listener.bearer, &workload.bearer) {
                continue;
            }
            let has_restarted = listener.bearer.starts != workload.bearer.starts;
            if has_restarted && listener.attachment.header.is_some() {
                let header = Some(self.new_secret());
                listener.lane.rebind(&workload.id, header.clone());
                listener.attachment.header = header;
            } else {
                listener.lane.forget_answers();
            }
            listener.bearer = Arc::clone(&workload.bearer);
        }
    }

    /// A workload that moved keeps its endpoint, under its new id; that of one that is gone is closed.
    async fn move_or_close(&self, wanted: &BTreeMap<String, Workload>) {
        let mut open = self.open.lock().await;
        let is_stray = |key: &String, listener: &OpenListener| {
            wanted.get(key).is_none_or(|workload| workload.instance_id != listener.instance_id)
        };
        let stray = open.iter().filter(|((key, _), listener)| is_stray(key, listener));
        let stray: Vec<(String, EndpointKind)> = stray.map(|(key, _)| key.clone()).collect();
        if stray.is_empty() {
            return;
        }
        let by_instance: HashMap<Uuid, &Workload> =
            wanted.values().map(|workload| (workload.instance_id, workload)).collect();
        for key in stray {
            let Some(mut listener) = open.remove(&key) else { continue };
            let Some(moved) = by_instance.get(&listener.instance_id) else { continue };
            let place = (moved.id.key(), key.1);
            if let Entry::Vacant(vacant) = open.entry(place) {
                listener.lane.rebind(&moved.id, listener.attachment.header.clone());
                listener.attachment.resource_id = moved.id.clone();
                vacant.insert(listener);
            }
        }
    }

    async fn ensure(
        &self,
        workload: &Workload,
        kind: EndpointKind,
    ) -> Result<Attachment, AttachmentError> {
        let mut open = self.open.lock().await;
        let key = (workload.id.key(), kind);
        if let Some(listener) = open.get(&key) {
            return Ok(listener.attachment.clone());
        }
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(AttachmentError::Unavailable("the host stops".to_owned()));
        }
        if open.len() >= self.endpoints_max {
            let reason = format!("a host has at most {} of them", self.endpoints_max);
            return Err(AttachmentError::Unavailable(reason));
        }
        let listener = self.bind(workload, kind).await?;
        let attachment = listener.attachment.clone();
        open.insert(key, listener);
        Ok(attachment)
    }

    async fn bind(
        &self,
        workload: &Workload,
        kind: EndpointKind,
    ) -> Result<OpenListener, AttachmentError> {
        let id = &workload.id;
        let unavailable = |error: io::Error| AttachmentError::Unavailable(error.to_string());
        let listener = self.thread.bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
        let listener = listener.map_err(unavailable)?;
        let port = listener.local_addr().map_err(unavailable)?.port();
        let header = kind.has_secret().then(|| self.new_secret());
        let url = keycard_wire::local::url(kind, &format!("127.0.0.1:{port}"));
        let endpoint = Arc::new(LocalEndpoint {
            resource: id.clone(),
            authorities: authorities(port),
            header: header.clone(),
            throttle: Throttle::default(),
        });
        let (open, closed) = watch::channel(());
        let lane = Arc::new(Lane::new(kind, endpoint, &self.faces));
        if kind.is_over_tls() {
            let certificate = self.certificate.clone();
            self.thread.serve_tls(listener, Arc::clone(&lane), closed.clone(), certificate);
        } else {
            self.thread.serve(listener, Arc::clone(&lane), closed.clone());
        }
        if kind == EndpointKind::Imds && self.is_link_local(id) {
            self.serve_link_local(id, Arc::clone(&lane), closed).await;
        }
        let hints = self.hints(kind);
        let attachment = Attachment { resource_id: id.clone(), kind, url, header, hints };
        let (instance_id, bearer) = (workload.instance_id, Arc::clone(&workload.bearer));
        Ok(OpenListener { attachment, instance_id, lane, bearer, _open: open })
    }

    fn hints(&self, kind: EndpointKind) -> Hints {
        let directory = || self.faces.local.challenges.directory().to_string_lossy().into_owned();
        Hints {
            default_client_id: None,
            challenge_directory: (kind == EndpointKind::Arc).then(directory),
            certificate_thumbprint: kind
                .is_over_tls()
                .then(|| self.certificate.thumbprint().to_owned()),
        }
    }

    fn is_link_local(&self, id: &ArmResourceId) -> bool {
        self.link_local.as_ref().is_some_and(|named| {
            named.eq_ignore_ascii_case(&Workload::name(id))
                || named.eq_ignore_ascii_case(id.as_str())
        })
    }

    fn new_secret(&self) -> Secret {
        let mut bytes = [0; 32];
        self.faces.local.entropy.fill(&mut bytes);
        Secret::new(encoding::hex_encode(&bytes))
    }

    /// Serves a listener that was made in a sandbox until it is closed.
    pub(crate) fn serve_inside(
        &self,
        listener: std::net::TcpListener,
        lane: &Arc<Lane>,
        closed: watch::Receiver<()>,
    ) -> io::Result<()> {
        self.thread.serve(self.thread.adopt(listener)?, Arc::clone(lane), closed);
        Ok(())
    }

    /// The link-local address is served besides the loopback endpoint, which is there whatever becomes of this. Where this
    /// host does not have it, it is put there, until this host's listeners end.
    async fn serve_link_local(
        &self,
        id: &ArmResourceId,
        lane: Arc<Lane>,
        closed: watch::Receiver<()>,
    ) {
        let bound = match self.thread.bind(METADATA) {
            Ok(listener) => Ok((None, listener)),
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => self.put_and_listen(),
            Err(error) => Err(error.into()),
        };
        match bound {
            Ok((address, listener)) => {
                tracing::info!(resource = %id, "serving the metadata endpoint at {METADATA}");
                if address.is_some() {
                    *self.link_local_address.lock().await = address;
                }
                self.thread.serve(listener, lane, closed);
            }
            Err(error) => tracing::error!(resource = %id, %error, "no link-local endpoint"),
        }
    }

    fn put_and_listen(
        &self,
    ) -> Result<(Option<MetadataAddress>, TcpListener), MetadataAddressError> {
        let (address, listener) = MetadataAddress::listen(&LinkChoice::Present("lo".to_owned()))?;
        Ok((Some(address), self.thread.adopt(listener)?))
    }
}

#[async_trait]
impl Attachments for Listeners {
    async fn list(&self) -> Vec<Attachment> {
        // A resource that was just made has its endpoint by the time somebody asks for it.
        self.follow().await;
        let open = self.open.lock().await;
        let mut listed: Vec<&OpenListener> = open.values().collect();
        listed.sort_by_cached_key(|listener| {
            let own = listener.bearer.kind.endpoint();
            (listener.attachment.resource_id.key(), own != Some(listener.attachment.kind))
        });
        listed.into_iter().map(|listener| listener.attachment.clone()).collect()
    }

    async fn attach(
        &self,
        resource: &ArmResourceId,
        kind: EndpointKind,
    ) -> Result<Attachment, AttachmentError> {
        let known = self.view.workload(resource);
        let known = known.ok_or_else(|| AttachmentError::ResourceNotFound(resource.clone()))?;
        let mut attachment = self.ensure(&known, kind).await?;
        let default =
            lookup::find(&known.bearer, &Selector::Default, DefaultRule::OnlyUserAssigned);
        attachment.hints.default_client_id = default.ok().map(|found| found.client_id);
        Ok(attachment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::tests::{VM, local, node_certificate};
    use keycard_domain::compute::scale_set::Instances;
    use keycard_domain::compute::{ComputeKind, ComputeResource, PowerState};
    use keycard_domain::directory::ServicePrincipal;
    use keycard_domain::directory::identity_block::IdentityBlock;
    use keycard_domain::ids::PrincipalId;
    use serde_json::Map;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// A host of so many workloads, all of one machine's identities.
    #[derive(Debug)]
    struct Running(std::ops::Range<u64>);

    impl Running {
        fn workload(number: u64) -> Workload {
            let vm: ArmResourceId = VM.parse().unwrap();
            let bearer = ComputeResource {
                id: vm.clone(),
                kind: ComputeKind::VirtualMachine,
                location: "local".into(),
                tags: BTreeMap::new(),
                identity: IdentityBlock::default(),
                power_state: PowerState::Running,
                instance_id: Uuid::nil(),
                properties: Map::new(),
                other: Map::new(),
                instances: Instances::default(),
                starts: 0,
                switched_at: None,
                cluster: None,
            };
            let id = vm.numbered_part("parts", number);
            let instance_id = Uuid::from_u128(number.into());
            let power_state = PowerState::Running;
            Workload { id, instance_id, power_state, bearer: Arc::new(bearer) }
        }
    }

    impl HostView for Running {
        fn workload(&self, id: &ArmResourceId) -> Option<Workload> {
            self.workloads().into_iter().find(|workload| workload.id == *id)
        }

        fn principal(&self, _: PrincipalId) -> Option<Arc<ServicePrincipal>> {
            None
        }

        fn workloads(&self) -> Vec<Workload> {
            self.0.clone().map(Self::workload).collect()
        }

        fn token_endpoint(&self, _: &ServicePrincipal) -> String {
            String::new()
        }
    }

    fn listeners(view: Running, link_local: Option<&str>) -> Listeners {
        let faults = Arc::new(Faults::none(local().clock));
        let (thread, certificate) = (EndpointThread::start().unwrap(), node_certificate());
        let link_local = link_local.map(str::to_owned);
        Listeners::new(Arc::new(view), local(), faults, thread, link_local, certificate)
    }

    #[tokio::test]
    async fn one_workload_is_served_at_the_link_local_address_by_id_or_name() {
        let group = VM.trim_end_matches("/virtualMachines/vm");
        let instance = format!("{group}/virtualMachineScaleSets/web/virtualMachines/1");
        for (named, id, is_meant) in [
            ("VM", VM, true),
            (&VM.to_uppercase(), VM, true),
            ("web_1", &instance, true),
            (&instance, &instance, true),
            ("1", &instance, false),
            ("web", &instance, false),
            ("web_1", VM, false),
        ] {
            let listeners = listeners(Running(0..0), Some(named));
            assert_eq!(listeners.is_link_local(&id.parse().unwrap()), is_meant, "{named} {id}");
        }
    }

    #[tokio::test]
    async fn what_is_served_in_a_sandbox_ends_with_its_workload() {
        let listeners = listeners(Running(0..1), None);
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("no IPv4") };
        let workload = Running::workload(0);
        let (lane, _) = listeners.lane_inside(&workload, EndpointKind::Imds, address).await;
        let (_open, closed) = watch::channel(());
        listeners.serve_inside(socket, &lane, closed).unwrap();
        let ask = async || {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        assert!(ask().await.contains("metadata header"));
        let anew = Workload { instance_id: Uuid::from_u128(7), ..workload };
        listeners.follow_inside(&BTreeMap::from([(anew.id.key(), anew)])).await;
        assert!(ask().await.contains("another host"), "another of the same name is not it");
    }

    #[tokio::test]
    async fn the_secret_of_a_sandbox_outlives_a_move_and_not_a_restart() {
        let listeners = listeners(Running(0..1), None);
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("no IPv4") };
        let workload = Running::workload(0);
        let kind = EndpointKind::AppService;
        let (lane, secret) = listeners.lane_inside(&workload, kind, address).await;
        let (_open, closed) = watch::channel(());
        listeners.serve_inside(socket, &lane, closed).unwrap();
        let is_known = async || {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let secret = secret.as_ref().unwrap().expose();
            let head = format!(
                "GET /msi/token HTTP/1.1\r\nHost: {address}\r\nX-IDENTITY-HEADER: {secret}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            !answer.starts_with("HTTP/1.1 401")
        };
        assert!(is_known().await);
        let id = workload.id.numbered_part("moved", 0);
        let moved = Workload { id, ..workload };
        listeners.follow_inside(&BTreeMap::from([(moved.id.key(), moved.clone())])).await;
        assert!(is_known().await, "moved");
        let bearer = Arc::new(ComputeResource { starts: 1, ..(*moved.bearer).clone() });
        let restarted = Workload { bearer, ..moved };
        listeners.follow_inside(&BTreeMap::from([(restarted.id.key(), restarted)])).await;
        assert!(!is_known().await, "restarted");
    }

    #[tokio::test]
    async fn once_they_are_closed_nobody_listens() {
        let listeners = listeners(Running(0..1), None);
        let attachment = listeners.list().await.remove(0);
        let address = attachment.url.trim_start_matches("http://").to_owned();
        let mut idle = TcpStream::connect(&address).await.unwrap();
        listeners.close().await;
        assert!(matches!(idle.read(&mut [0; 1]).await, Ok(0) | Err(_)));
        let refused = TcpStream::connect(&address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(listeners.list().await.is_empty(), "and nobody ever will");
    }

    #[tokio::test]
    async fn beyond_the_bound_no_endpoint_is_opened_and_the_others_stay() {
        let of = |view: Running| Listeners { endpoints_max: 2, ..listeners(view, None) };
        let numbers = |all: Vec<Attachment>| -> Vec<String> {
            all.iter().map(|it| it.resource_id.name().to_owned()).collect()
        };
        let listeners = of(Running(0..3));
        assert_eq!(numbers(listeners.list().await), ["0", "1"]);
        for (number, is_open) in [(1, true), (2, false)] {
            let id = Running::workload(number).id;
            let attached = listeners.attach(&id, EndpointKind::Imds).await;
            assert_eq!(attached.is_ok(), is_open, "{number}");
        }
        assert_eq!(numbers(of(Running(2..4)).list().await), ["2", "3"]);
    }
}
