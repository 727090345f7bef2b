//! The `compute` part of a machine's metadata: what it is, where, of which image, and how it is tagged.
//!
//! Source: Microsoft Learn, Azure Instance Metadata Service, "Instance metadata", whose table says which version introduced
//! which member.

use keycard_domain::compute::Workload;
use keycard_domain::compute::machine::Machine;
use serde_json::{Map, Value, json};

use super::{Member, member, put, put_members, shown, storage};

/// Since the first version that tells anything.
const FIRST: &str = "2017-04-02";

/// What the client said, and the service passes on.
const MEMBERS: &[Member] = &[
    member(
        "additionalCapabilities.hibernationEnabled",
        "2021-11-01",
        "/additionalCapabilities/hibernationEnabled",
        "false",
    ),
    member("evictionPolicy", "2020-12-01", "/evictionPolicy", ""),
    member("host.id", "2021-11-15", "/host/id", ""),
    member("hostGroup.id", "2021-11-15", "/hostGroup/id", ""),
    member("licenseType", "2020-09-01", "/licenseType", ""),
    member("offer", FIRST, "/storageProfile/imageReference/offer", ""),
    member("osProfile.adminUsername", "2020-07-15", "/osProfile/adminUsername", ""),
    member(
        "osProfile.disablePasswordAuthentication",
        "2020-10-01",
        "/osProfile/linuxConfiguration/disablePasswordAuthentication",
        "false",
    ),
    member("platformFaultDomain", FIRST, "/platformFaultDomain", "0"),
    member("priority", "2020-12-01", "/priority", ""),
    member("publisher", FIRST, "/storageProfile/imageReference/publisher", ""),
    member(
        "securityProfile.encryptionAtHost",
        "2021-11-01",
        "/securityProfile/encryptionAtHost",
        "false",
    ),
    member(
        "securityProfile.secureBootEnabled",
        "2020-06-01",
        "/securityProfile/uefiSettings/secureBootEnabled",
        "false",
    ),
    member("securityProfile.securityType", "2021-12-13", "/securityProfile/securityType", ""),
    member(
        "securityProfile.virtualTpmEnabled",
        "2020-06-01",
        "/securityProfile/uefiSettings/vTpmEnabled",
        "false",
    ),
    member("sku", FIRST, "/storageProfile/imageReference/sku", ""),
    member("version", FIRST, "/storageProfile/imageReference/version", ""),
    member("virtualMachineScaleSet.id", "2021-03-01", "/virtualMachineScaleSet/id", ""),
];

/// What is the same for every machine here. The texts of user data and custom data are not kept, as they may be secret.
const CONSTANTS: &[(&str, &str, &str)] = &[
    ("azEnvironment", "2018-10-01", "AzurePublicCloud"),
    ("customData", "2019-02-01", ""),
    ("isHostCompatibilityLayerVm", "2020-06-01", "false"),
    ("physicalZone", "2023-11-15", ""),
    ("placementGroupId", "2017-08-01", ""),
    ("platformSubFaultDomain", "2021-10-01", ""),
    ("platformUpdateDomain", FIRST, "0"),
    ("provider", "2018-10-01", "Microsoft.Compute"),
    ("userData", "2021-01-01", ""),
];

/// What stands beside `properties` in the resource.
const BESIDE_PROPERTIES: &[Member] = &[
    member("extendedLocation.name", "2021-03-01", "/extendedLocation/name", ""),
    member("extendedLocation.type", "2021-03-01", "/extendedLocation/type", ""),
    member("plan.name", "2018-04-02", "/plan/name", ""),
    member("plan.product", "2018-04-02", "/plan/product", ""),
    member("plan.publisher", "2018-04-02", "/plan/publisher", ""),
];

pub(super) fn document(machine: &Machine, version: &str) -> Value {
    let mut document = Map::new();
    for (name, since, value) in CONSTANTS {
        put(&mut document, version, since, name, json!(value));
    }
    put_members(&mut document, version, MEMBERS, |pointer| machine.property(pointer));
    put_members(&mut document, version, BESIDE_PROPERTIES, |pointer| beside(machine, pointer));
    for (name, since, value) in facts(machine) {
        put(&mut document, version, since, name, json!(value));
    }
    put(&mut document, version, "2018-04-02", "publicKeys", public_keys(machine));
    put(&mut document, version, "2019-06-04", "tagsList", tags_list(machine));
    storage::put_profile(&mut document, version, machine, os_type(machine));
    Value::Object(document)
}

/// `/plan/name` of the resource, which stands beside its properties.
pub(in crate::local) fn beside<'a>(machine: &'a Machine, pointer: &str) -> Option<&'a Value> {
    let path = pointer.strip_prefix('/')?;
    let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    machine.workload.bearer.other.get(first)?.pointer(rest)
}

/// What keycard knows of the machine by itself.
fn facts(machine: &Machine) -> [(&'static str, &'static str, String); 12] {
    let workload = &machine.workload;
    let set = machine.scale_set().map(|set| set.name().to_owned());
    [
        ("location", FIRST, workload.bearer.location.clone()),
        ("name", FIRST, Workload::name(&workload.id)),
        ("osProfile.computerName", "2020-07-15", computer_name(machine)),
        ("osType", FIRST, os_type(machine).to_owned()),
        ("resourceGroupName", "2017-08-01", workload.id.resource_group().to_owned()),
        ("resourceId", "2019-03-11", workload.id.to_string()),
        ("subscriptionId", "2017-08-01", workload.id.subscription().to_string()),
        ("tags", "2017-08-01", tags(machine)),
        ("vmId", FIRST, workload.instance_id.to_string()),
        ("vmScaleSetName", "2017-12-01", set.unwrap_or_default()),
        ("vmSize", FIRST, vm_size(machine)),
        ("zone", "2017-12-01", zone(machine)),
    ]
}

fn os_type(machine: &Machine) -> &'static str {
    let said = shown(machine.property("/storageProfile/osDisk/osType"));
    let has_windows = machine.property("/osProfile/windowsConfiguration").is_some();
    if said.eq_ignore_ascii_case("Windows") || (said.is_empty() && has_windows) {
        "Windows"
    } else {
        "Linux"
    }
}

/// Digits of an instance's number in its computer name.
const COMPUTER_NUMBER_DIGITS: usize = 6;

/// As it was given to the machine; an instance's is made of its set's prefix and its number to the base of 36.
fn computer_name(machine: &Machine) -> String {
    let (id, set) = (&machine.workload.id, machine.scale_set());
    let Some(set) = set else {
        let said = shown(machine.property("/osProfile/computerName"));
        return if said.is_empty() { id.name().to_owned() } else { said };
    };
    let prefix = shown(machine.property("/osProfile/computerNamePrefix"));
    let prefix = if prefix.is_empty() { set.name().to_owned() } else { prefix };
    let mut number: u64 = id.name().parse().unwrap_or_default();
    let mut digits = Vec::new();
    while number > 0 || digits.len() < COMPUTER_NUMBER_DIGITS {
        let digit = u32::try_from(number % 36).unwrap_or_default();
        digits.push(char::from_digit(digit, 36).unwrap_or('0').to_ascii_uppercase());
        number /= 36;
    }
    prefix.chars().chain(digits.into_iter().rev()).collect()
}

fn vm_size(machine: &Machine) -> String {
    let own = machine.property("/hardwareProfile/vmSize");
    shown(own.or_else(|| beside(machine, "/sku/name")))
}

/// The zone, where it can only be one.
fn zone(machine: &Machine) -> String {
    let zones = machine.workload.bearer.other.get("zones").and_then(Value::as_array);
    match zones.map(Vec::as_slice) {
        Some([only]) => shown(Some(only)),
        _ => String::new(),
    }
}

/// `name:value;name:value`
fn tags(machine: &Machine) -> String {
    let tags = machine.workload.bearer.tags.iter();
    tags.map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(";")
}

fn tags_list(machine: &Machine) -> Value {
    let tags = machine.workload.bearer.tags.iter();
    tags.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn public_keys(machine: &Machine) -> Value {
    let keys = machine.property("/osProfile/linuxConfiguration/ssh/publicKeys");
    let keys = keys.and_then(Value::as_array).into_iter().flatten();
    let of = |key: &Value, name: &str| shown(key.get(name));
    keys.map(|key| json!({ "keyData": of(key, "keyData"), "path": of(key, "path") })).collect()
}
