//! Puts files, directories and nothing at all over places of the file system, for this process and its descendants only.
//!
//! What is put there stands in a file system in memory that no path leads to: nothing is written to a disk, nothing is left
//! behind. Source: Linux, `fsopen(2)`, `fsmount(2)`, `open_tree(2)`, `move_mount(2)`.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, open};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

/// Most that what is put over places takes in memory.
const LAYER_BYTES_MAX: &str = "64m";

/// Where the layer is attached while its parts are put in their places. Every system has it.
const FOOTHOLD: &str = "/etc";

const PLACE: MoveMountFlags =
    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH.union(MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH);

/// Files and directories in memory, and the places that they go to.
#[derive(Debug)]
pub(super) struct Layer {
    mount: OwnedFd,
    /// The place, and the name of what goes there in the layer.
    places: Vec<(OwnedFd, String)>,
    made: usize,
}

impl Layer {
    /// An empty layer.
    pub(super) fn new() -> io::Result<Self> {
        let writable = MountAttrFlags::empty();
        Ok(Self { mount: memory(LAYER_BYTES_MAX, writable)?, places: Vec::new(), made: 0 })
    }

    /// Puts a file over whatever the path leads to. False: there is nothing at the path, and so nothing to cover.
    pub(super) fn cover_file(&mut self, place: &Path, content: &[u8]) -> io::Result<bool> {
        let Some(target) = target(place)? else { return Ok(false) };
        let name = self.next_name();
        fs::write(self.path(&name), content)?;
        self.places.push((target, name));
        Ok(true)
    }

    /// Puts a directory over the one that the path leads to, and gives the path by which to fill it.
    pub(super) fn cover_directory(&mut self, place: &Path) -> io::Result<Option<PathBuf>> {
        let Some(target) = target(place)? else { return Ok(None) };
        let name = self.next_name();
        let path = self.path(&name);
        fs::create_dir(&path)?;
        self.places.push((target, name));
        Ok(Some(path))
    }

    /// Puts everything in its place.
    pub(super) fn attach(self) -> io::Result<()> {
        move_mount(&self.mount, "", CWD, FOOTHOLD, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        let placed = self.places.iter().try_for_each(|(target, name)| {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let part = open_tree(&self.mount, name.as_str(), flags)?;
            move_mount(&part, "", target, "", PLACE)
        });
        // The parts are mounts of their own by now.
        unmount(FOOTHOLD, UnmountFlags::DETACH)?;
        Ok(placed?)
    }

    fn next_name(&mut self) -> String {
        self.made += 1;
        self.made.to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.mount.as_raw_fd()))
    }
}

/// Hides what the path leads to: a directory under an empty one that cannot be written to, a file under an empty one.
pub(super) fn hide(place: &Path, layer: &mut Layer) -> io::Result<()> {
    let Some(target) = target(place)? else { return Ok(()) };
    if FileType::from_raw_mode(fstat(&target)?.st_mode) != FileType::Directory {
        layer.cover_file(place, b"")?;
        return Ok(());
    }
    let empty = memory("4k", MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    Ok(move_mount(&empty, "", &target, "", PLACE)?)
}

/// A place to mount over. It has to be opened after the namespaces are made: one from before is of the host's mounts.
fn target(place: &Path) -> io::Result<Option<OwnedFd>> {
    match open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(target) => Ok(Some(target)),
        // What this user cannot reach, the command cannot either.
        Err(
            rustix::io::Errno::NOENT
            | rustix::io::Errno::NOTDIR
            | rustix::io::Errno::ACCESS
            | rustix::io::Errno::LOOP,
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A file system in memory that is not attached anywhere.
fn memory(size: &str, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "size", size)?;
    fsconfig_set_string(&context, "mode", "0755")?;
    fsconfig_create(&context)?;
    let safe = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, safe | attributes)?)
}
