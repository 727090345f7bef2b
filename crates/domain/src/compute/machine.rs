//! A machine as its metadata service shows it: the workload, and the network interfaces that it names, as far as they are
//! known.
//!
//! Interfaces, addresses and subnets are resources that are kept as they were sent; what nobody said of them stays empty.

use serde_json::{Map, Value};

use super::{ComputeKind, Workload};
use crate::limits;
use crate::resource_id::ArmResourceId;
use crate::resources::generic::GenericResource;
use crate::snapshot::Snapshot;

/// A workload with its place in the network.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What runs.
    pub workload: Workload,
    /// Its interfaces, in the order in which it names them.
    pub interfaces: Vec<Interface>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Twelve hexadecimal digits, or nothing.
    pub mac_address: String,
    /// Its configurations for IPv4.
    pub ipv4: Vec<IpConfiguration>,
    /// Its configurations for IPv6.
    pub ipv6: Vec<IpConfiguration>,
}

/// One address of an interface; what is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpConfiguration {
    /// The address in the subnet.
    pub private_address: String,
    /// The address for the outside.
    pub public_address: String,
    /// The prefix of its subnet, such as `10.0.0.0/24`.
    pub subnet_prefix: String,
}

impl Machine {
    /// The machine with this id.
    pub fn find(snapshot: &Snapshot, id: &ArmResourceId) -> Option<Self> {
        Workload::find(snapshot, id).map(|workload| Self::of(snapshot, workload))
    }

    fn of(snapshot: &Snapshot, workload: Workload) -> Self {
        let interfaces = interfaces(snapshot, &workload);
        Self { workload, interfaces }
    }

    /// A member of what the client said of the machine; of an instance, what it said of all of its set.
    pub fn property(&self, pointer: &str) -> Option<&Value> {
        property(&self.workload, pointer)
    }

    /// The scale set that the machine is an instance of.
    pub fn scale_set(&self) -> Option<&ArmResourceId> {
        let bearer = &self.workload.bearer;
        (bearer.kind == ComputeKind::ScaleSet).then_some(&bearer.id)
    }
}

fn property<'a>(workload: &'a Workload, pointer: &str) -> Option<&'a Value> {
    let said = &workload.bearer.properties;
    let (first, rest) = split_pointer(pointer)?;
    match workload.bearer.kind == ComputeKind::ScaleSet {
        true => said.get("virtualMachineProfile")?.get(first),
        false => said.get(first),
    }?
    .pointer(rest)
}

/// `/a/b/c` as `a` and `/b/c`.
fn split_pointer(pointer: &str) -> Option<(&str, &str)> {
    let path = pointer.strip_prefix('/')?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

fn interfaces(snapshot: &Snapshot, workload: &Workload) -> Vec<Interface> {
    let items = |pointer| property(workload, pointer).and_then(Value::as_array);
    let named = items("/networkProfile/networkInterfaces").into_iter().flatten();
    let of = &workload.id;
    let named = named.filter_map(|item| referred(snapshot, of, item));
    let named = named.map(|resource| {
        let mac = resource.properties.get("macAddress").and_then(Value::as_str).unwrap_or_default();
        let configurations = resource.properties.get("ipConfigurations");
        interface(snapshot, of, mac, configurations)
    });
    let configured = items("/networkProfile/networkInterfaceConfigurations").into_iter().flatten();
    let configured = configured
        .map(|item| interface(snapshot, of, "", item.pointer("/properties/ipConfigurations")));
    named.chain(configured).take(limits::INTERFACES_SHOWN_MAX).collect()
}

fn interface(
    snapshot: &Snapshot,
    of: &ArmResourceId,
    mac: &str,
    configurations: Option<&Value>,
) -> Interface {
    let mac_address: String = mac.chars().filter(char::is_ascii_hexdigit).collect();
    let mut interface =
        Interface { mac_address: mac_address.to_ascii_uppercase(), ..Interface::default() };
    let all = configurations.and_then(Value::as_array).into_iter().flatten();
    for item in all.take(limits::IP_CONFIGURATIONS_SHOWN_MAX) {
        let version = text(item, "/properties/privateIPAddressVersion");
        let family = if version.eq_ignore_ascii_case("IPv6") {
            &mut interface.ipv6
        } else {
            &mut interface.ipv4
        };
        family.push(configuration(snapshot, of, item));
    }
    interface
}

fn configuration(snapshot: &Snapshot, of: &ArmResourceId, item: &Value) -> IpConfiguration {
    let public = item.pointer("/properties/publicIPAddress");
    let public = public.and_then(|reference| referred(snapshot, of, reference));
    let public = public.and_then(|public| public.properties.get("ipAddress"));
    let subnet = item.pointer("/properties/subnet");
    IpConfiguration {
        private_address: text(item, "/properties/privateIPAddress").to_owned(),
        public_address: public.and_then(Value::as_str).unwrap_or_default().to_owned(),
        subnet_prefix: subnet
            .and_then(|reference| subnet_prefix(snapshot, of, reference))
            .unwrap_or_default(),
    }
}

/// The prefix of a subnet: as it stands in the subnet, or in the network that it was made with.
fn subnet_prefix(snapshot: &Snapshot, of: &ArmResourceId, reference: &Value) -> Option<String> {
    let prefix = |properties: &Map<String, Value>| {
        let several = properties.get("addressPrefixes").and_then(|all| all.get(0));
        properties.get("addressPrefix").or(several)?.as_str().map(str::to_owned)
    };
    if let Some(subnet) = referred(snapshot, of, reference) {
        return prefix(&subnet.properties);
    }
    let id: ArmResourceId = text(reference, "/id").parse().ok()?;
    let network = kept(snapshot, of, &id.parent()?)?;
    let subnets = network.properties.get("subnets")?.as_array()?;
    let subnet = subnets.iter().find(|it| text(it, "/name").eq_ignore_ascii_case(id.name()))?;
    prefix(subnet.get("properties")?.as_object()?)
}

/// The resource that a member `{"id": …}` refers to.
fn referred<'a>(
    snapshot: &'a Snapshot,
    of: &ArmResourceId,
    reference: &Value,
) -> Option<&'a GenericResource> {
    kept(snapshot, of, &text(reference, "/id").parse().ok()?)
}

/// A resource of the machine's own tenant: whoever names another's learns nothing of it.
fn kept<'a>(
    snapshot: &'a Snapshot,
    of: &ArmResourceId,
    id: &ArmResourceId,
) -> Option<&'a GenericResource> {
    let tenant = |id: &ArmResourceId| Some(snapshot.subscription(id.subscription())?.tenant_id);
    let is_own = tenant(id)? == tenant(of)?;
    let found = snapshot.generic_resources.get(&id.key()).filter(|_| is_own)?;
    Some(found.record.as_ref())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What the metadata service of a host knows of the machines that it serves.
pub trait Machines: std::fmt::Debug + Send + Sync + 'static {
    /// The machine with this id, if it exists.
    fn machine(&self, id: &ArmResourceId) -> Option<Machine>;

    /// The content with a signature that others can verify: a CMS `ContentInfo` in DER. `None` when it cannot be signed.
    fn sign_document(&self, content: &[u8]) -> Option<Vec<u8>>;
}
