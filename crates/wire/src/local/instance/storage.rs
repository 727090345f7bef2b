//! The `storageProfile` of a machine's metadata: image and disks.
//!
//! Source: Microsoft Learn, Azure Instance Metadata Service, "Storage profile".

use keycard_domain::compute::machine::Machine;
use serde_json::{Map, Value};

use super::{Member, member, put, put_members};

const PROFILE_SINCE: &str = "2019-06-01";
const ULTRA_SINCE: &str = "2021-05-01";
const GALLERIES_SINCE: &str = "2023-07-01";

const IMAGE: &[Member] = &[
    member("communityGalleryImageId", GALLERIES_SINCE, "/communityGalleryImageId", ""),
    member("exactVersion", GALLERIES_SINCE, "/exactVersion", ""),
    member("id", PROFILE_SINCE, "/id", ""),
    member("offer", PROFILE_SINCE, "/offer", ""),
    member("publisher", PROFILE_SINCE, "/publisher", ""),
    member("sharedGalleryImageId", GALLERIES_SINCE, "/sharedGalleryImageId", ""),
    member("sku", PROFILE_SINCE, "/sku", ""),
    member("version", PROFILE_SINCE, "/version", ""),
];

/// What every disk says.
const DISK: &[Member] = &[
    member("caching", PROFILE_SINCE, "/caching", ""),
    member("createOption", PROFILE_SINCE, "/createOption", ""),
    member("diffDiskSettings.option", PROFILE_SINCE, "/diffDiskSettings/option", ""),
    member("diskSizeGB", PROFILE_SINCE, "/diskSizeGB", ""),
    member("encryptionSettings.enabled", PROFILE_SINCE, "/encryptionSettings/enabled", "false"),
    member("image.uri", PROFILE_SINCE, "/image/uri", ""),
    member("managedDisk.id", PROFILE_SINCE, "/managedDisk/id", ""),
    member("managedDisk.storageAccountType", PROFILE_SINCE, "/managedDisk/storageAccountType", ""),
    member("name", PROFILE_SINCE, "/name", ""),
    member("osType", PROFILE_SINCE, "/osType", ""),
    member("vhd.uri", PROFILE_SINCE, "/vhd/uri", ""),
    member("writeAcceleratorEnabled", PROFILE_SINCE, "/writeAcceleratorEnabled", "false"),
];

/// What a data disk says besides; the numbers are an Ultra Disk's and never known here.
const DATA_DISK: &[Member] = &[
    member("bytesPerSecondThrottle", ULTRA_SINCE, "/diskMBpsReadWrite", ""),
    member("diskCapacityBytes", ULTRA_SINCE, "/diskCapacityBytes", ""),
    member("isSharedDisk", ULTRA_SINCE, "/isSharedDisk", ""),
    member("isUltraDisk", ULTRA_SINCE, "/isUltraDisk", "false"),
    member("lun", PROFILE_SINCE, "/lun", ""),
    member("opsPerSecondThrottle", ULTRA_SINCE, "/diskIOPSReadWrite", ""),
];

/// Writes the profile, where the version knows it.
pub(super) fn put_profile(
    document: &mut Map<String, Value>,
    version: &str,
    machine: &Machine,
    os_type: &str,
) {
    let mut profile = Map::new();
    let said = |name: &str| machine.property(&format!("/storageProfile/{name}"));
    let image = object(version, said("imageReference"), &[IMAGE]);
    profile.insert("imageReference".to_owned(), Value::Object(image));
    let mut os_disk = object(version, said("osDisk"), &[DISK]);
    os_disk.insert("osType".to_owned(), Value::from(os_type));
    profile.insert("osDisk".to_owned(), Value::Object(os_disk));
    let disks = said("dataDisks").and_then(Value::as_array).into_iter().flatten();
    let disks = disks.map(|disk| Value::Object(object(version, Some(disk), &[DISK, DATA_DISK])));
    profile.insert("dataDisks".to_owned(), disks.collect());
    put(&mut profile, version, "2021-02-01", "resourceDisk.size", Value::from("0"));
    put(document, version, PROFILE_SINCE, "storageProfile", Value::Object(profile));
}

fn object(version: &str, said: Option<&Value>, tables: &[&[Member]]) -> Map<String, Value> {
    let mut object = Map::new();
    for table in tables {
        put_members(&mut object, version, table, |pointer| said?.pointer(pointer));
    }
    object
}
