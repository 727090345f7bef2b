//! The files by which a workload of an Arc-enabled server proves that it may have a token: each holds a key that counts
//! once, for a short time, and only who may read the directory's files can present it.
//!
//! Source: Microsoft Learn, "Authenticate against Azure resources with Azure Arc-enabled servers"; clients refuse files
//! that are elsewhere, are not called `.key`, or have more than 4,096 bytes.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keycard_crypto::encoding;
use keycard_crypto::secret::Secret;
use keycard_domain::entropy::Entropy;
use keycard_domain::limits;
use keycard_domain::resource_id::ArmResourceId;
use keycard_wire::local::arc::{ChallengeError, Challenges};
use rustix::fs::{AtFlags, Gid, Mode, OFlags};
use rustix::io::Errno;
use time::UtcDateTime;

/// Where clients look on Linux; no variable moves it.
pub const DIRECTORY: &str = "/var/opt/azcmagent/tokens";

/// The group of those who may have a machine's tokens, where it exists.
const GROUP: &str = "himds";

/// Others may not even know that they may not read: the owner and the group read, nobody writes.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::RGRP);

/// The challenges that are not answered yet.
#[derive(Debug)]
pub struct ChallengeFiles {
    directory: PathBuf,
    entropy: Arc<dyn Entropy>,
    /// By the keys of their resources' ids.
    outstanding: Mutex<BTreeMap<String, VecDeque<Challenge>>>,
}

#[derive(Debug)]
struct Challenge {
    key: Secret,
    file_name: String,
    until: UtcDateTime,
}

impl ChallengeFiles {
    /// No file yet; the directory is made when the first one is written.
    pub fn new(directory: PathBuf, entropy: Arc<dyn Entropy>) -> Self {
        Self { directory, entropy, outstanding: Mutex::default() }
    }

    fn outstanding(&self) -> MutexGuard<'_, BTreeMap<String, VecDeque<Challenge>>> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hex<const N: usize>(&self) -> String {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        encoding::hex_encode(&bytes)
    }

    fn error(&self, reason: impl std::fmt::Display) -> ChallengeError {
        let directory = self.directory.to_string_lossy().into_owned();
        ChallengeError { directory, reason: reason.to_string() }
    }

    /// The directory, made where it is missing. It is held open, so that whatever becomes of its path meanwhile, the file
    /// is made in the one that was looked at.
    fn open_directory(&self) -> Result<OwnedFd, ChallengeError> {
        if !is_writable_in_a_header(&self.directory) {
            return Err(self
                .error("the path has to be absolute, of letters, digits, `/`, `.`, `_` and `-`"));
        }
        make_directory(&self.directory).map_err(|error| self.error(error))?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.directory, flags, Mode::empty())
            .map_err(|errno| self.error(errno))?;
        let found = rustix::fs::fstat(&directory).map_err(|errno| self.error(errno))?;
        let is_ours = found.st_uid == rustix::process::geteuid().as_raw() || found.st_uid == 0;
        let others_write = Mode::from_raw_mode(found.st_mode).intersects(Mode::WGRP | Mode::WOTH);
        if !is_ours || others_write {
            return Err(self.error("others may write there"));
        }
        Ok(directory)
    }

    fn remove(&self, challenges: impl IntoIterator<Item = Challenge>) {
        let mut directory = None;
        for challenge in challenges {
            if directory.is_none() {
                directory = self.open_directory().ok();
            }
            let Some(opened) = &directory else { return };
            // What stands under the name now goes, were it somebody else's link: never what a link leads to.
            match rustix::fs::unlinkat(opened, challenge.file_name.as_str(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    tracing::warn!(%errno, "the file of a challenge could not be removed");
                }
            }
        }
    }

    /// Takes out what has ended, and the oldest where the resource has too many.
    fn take_ended(&self, resource: &ArmResourceId, now: UtcDateTime) -> Vec<Challenge> {
        let own = resource.key();
        let mut outstanding = self.outstanding();
        let mut ended = Vec::new();
        for (of, challenges) in outstanding.iter_mut() {
            let kept = if *of == own { limits::ARC_CHALLENGES_MAX - 1 } else { usize::MAX };
            while challenges.len() > kept
                || challenges.front().is_some_and(|oldest| oldest.until <= now)
            {
                ended.extend(challenges.pop_front());
            }
        }
        outstanding.retain(|_, challenges| !challenges.is_empty());
        ended
    }
}

impl Challenges for ChallengeFiles {
    fn directory(&self) -> &Path {
        &self.directory
    }

    fn issue(&self, resource: &ArmResourceId, now: UtcDateTime) -> Result<String, ChallengeError> {
        self.remove(self.take_ended(resource, now));
        let directory = self.open_directory()?;
        let file_name = format!("{}.key", self.hex::<16>());
        let key = Secret::new(self.hex::<32>());
        write_new(&directory, &file_name, key.expose()).map_err(|error| self.error(error))?;
        let path = format!("{}/{file_name}", self.directory.display());
        let challenge = Challenge { key, file_name, until: now + limits::ARC_CHALLENGE_LIFETIME };
        self.outstanding().entry(resource.key()).or_default().push_back(challenge);
        Ok(path)
    }

    fn redeem(&self, resource: &ArmResourceId, presented: &str, now: UtcDateTime) -> bool {
        let found = {
            let mut outstanding = self.outstanding();
            outstanding.get_mut(&resource.key()).and_then(|challenges| {
                let position = challenges.iter().position(|it| it.key.matches(presented))?;
                challenges.remove(position)
            })
        };
        let is_in_time = found.as_ref().is_some_and(|challenge| now < challenge.until);
        self.remove(found);
        is_in_time
    }
}

/// No key outlives the server that knows it.
impl Drop for ChallengeFiles {
    fn drop(&mut self) {
        let outstanding = std::mem::take(&mut *self.outstanding());
        self.remove(outstanding.into_values().flatten());
    }
}

/// Whether a path can stand in `Basic realm=PATH` as clients take that apart.
fn is_writable_in_a_header(path: &Path) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    path.is_absolute() && path.to_str().is_some_and(|text| text.chars().all(is_plain))
}

/// Everybody may pass the directory, so that the files' own group decides who reads; no umask changes the mode of what is
/// made.
fn make_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_directory(above)?;
    }
    match std::fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made
            .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))),
    }
}

/// Writes a file that was not there, through no link, and takes it away again where that fails half-way.
fn write_new(directory: &OwnedFd, name: &str, content: &str) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, name, flags, FILE_MODE)?);
    let written = give_to_group(&file).and_then(|()| file.write_all(content.as_bytes()));
    if written.is_err() {
        let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
    }
    written
}

/// Lets the machine's own group read it, where there is one and this process may say so; and no umask changes the mode.
fn give_to_group(file: &File) -> std::io::Result<()> {
    if let Some(group) = group_id(&std::fs::read_to_string("/etc/group").unwrap_or_default()) {
        match rustix::fs::fchown(file, None, Some(Gid::from_raw(group))) {
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(rustix::fs::fchmod(file, FILE_MODE)?)
}

/// The number of the machine's group in the lines of `group(5)`.
fn group_id(groups: &str) -> Option<u32> {
    let line = groups.lines().find(|line| line.split(':').next() == Some(GROUP))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::tests::VM;
    use keycard_domain::entropy::SeededEntropy;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use tempfile::TempDir;
    use time::Duration;

    const NOW: UtcDateTime = UtcDateTime::UNIX_EPOCH;

    fn vm() -> ArmResourceId {
        VM.parse().unwrap()
    }

    /// A directory below one that nobody else may write to, and the challenges in it.
    fn challenges() -> (TempDir, ChallengeFiles) {
        let directory = TempDir::new().unwrap();
        let files = of(&directory);
        (directory, files)
    }

    fn of(directory: &TempDir) -> ChallengeFiles {
        let path = directory.path().join("tokens");
        ChallengeFiles::new(path, Arc::new(SeededEntropy::new(1)))
    }

    fn count(files: &ChallengeFiles) -> usize {
        std::fs::read_dir(&files.directory).unwrap().count()
    }

    #[test]
    fn a_file_holds_a_key_that_counts_once_and_goes() {
        let (_directory, files) = challenges();
        let path = files.issue(&vm(), NOW).unwrap();
        assert!(path.starts_with(files.directory.to_str().unwrap()) && path.ends_with(".key"));
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o440);
        assert!(metadata.size() > 0 && metadata.size() <= 4096, "{}", metadata.size());
        let key = std::fs::read_to_string(&path).unwrap();
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric()), "nothing that a client would trim");
        assert!(files.redeem(&vm(), &key, NOW));
        assert!(!Path::new(&path).exists(), "removed after use");
        assert!(!files.redeem(&vm(), &key, NOW), "counts once");
    }

    #[test]
    fn a_key_counts_for_its_resource_and_time_only() {
        let (_directory, files) = challenges();
        let other: ArmResourceId = VM.replace("/vm", "/other").parse().unwrap();
        let read = || std::fs::read_to_string(files.issue(&vm(), NOW).unwrap()).unwrap();
        let key = read();
        assert!(!files.redeem(&other, &key, NOW));
        assert!(!files.redeem(&vm(), "", NOW));
        assert!(!files.redeem(&vm(), &format!("{key}\n"), NOW));
        assert!(files.redeem(&vm(), &key, NOW + limits::ARC_CHALLENGE_LIFETIME - Duration::SECOND));
        let late = read();
        assert!(!files.redeem(&vm(), &late, NOW + limits::ARC_CHALLENGE_LIFETIME));
        assert_eq!(count(&files), 0, "what came too late is removed too");
    }

    #[test]
    fn beyond_the_bound_the_oldest_goes_and_what_has_ended_goes_with_the_next() {
        let (_directory, files) = challenges();
        let first = std::fs::read_to_string(files.issue(&vm(), NOW).unwrap()).unwrap();
        for _ in 0..limits::ARC_CHALLENGES_MAX {
            files.issue(&vm(), NOW).unwrap();
        }
        assert_eq!(count(&files), limits::ARC_CHALLENGES_MAX);
        assert!(!files.redeem(&vm(), &first, NOW));
        files.issue(&vm(), NOW + limits::ARC_CHALLENGE_LIFETIME).unwrap();
        assert_eq!(count(&files), 1);
    }

    #[test]
    fn nothing_is_left_when_the_server_stops() {
        let (directory, files) = challenges();
        files.issue(&vm(), NOW).unwrap();
        drop(files);
        assert_eq!(std::fs::read_dir(directory.path().join("tokens")).unwrap().count(), 0);
    }

    /// Somebody who guessed the next file's name gets nothing written through a link, and nothing overwritten.
    #[test]
    fn a_link_that_waits_under_the_files_name_is_not_followed() {
        let (directory, files) = challenges();
        let target = directory.path().join("target");
        let guessed = files.issue(&vm(), NOW).unwrap();
        drop(files);
        std::fs::write(&target, "before").unwrap();
        symlink(&target, &guessed).unwrap();
        let refused = of(&directory).issue(&vm(), NOW).unwrap_err();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "before", "{refused}");
        std::fs::remove_file(&guessed).unwrap();
        symlink(directory.path().join("nowhere"), &guessed).unwrap();
        assert!(of(&directory).issue(&vm(), NOW).is_err());
        assert!(!directory.path().join("nowhere").exists());
    }

    /// A file that was swapped for another, or for a link, is worth nothing; and what a link leads to stays.
    #[test]
    fn what_was_put_in_the_files_place_is_not_believed_and_not_removed_behind_a_link() {
        let (directory, files) = challenges();
        let target = directory.path().join("target");
        std::fs::write(&target, "other").unwrap();
        let path = files.issue(&vm(), NOW).unwrap();
        let key = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        symlink(&target, &path).unwrap();
        assert!(!files.redeem(&vm(), &std::fs::read_to_string(&path).unwrap(), NOW));
        assert!(
            files.redeem(&vm(), &key, NOW),
            "the key is what was written, whatever stands there"
        );
        assert!(std::fs::symlink_metadata(&path).is_err() && target.exists());
    }

    #[test]
    fn a_directory_that_others_can_change_is_not_used() {
        let check = |prepare: &dyn Fn(&Path)| {
            let (directory, files) = challenges();
            prepare(directory.path());
            assert!(files.issue(&vm(), NOW).is_err(), "{:?}", files.directory);
        };
        check(&|above| {
            std::fs::create_dir(above.join("tokens")).unwrap();
            let mode = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(above.join("tokens"), mode).unwrap();
        });
        check(&|above| {
            std::fs::create_dir(above.join("elsewhere")).unwrap();
            symlink(above.join("elsewhere"), above.join("tokens")).unwrap();
        });
        check(&|above| std::fs::write(above.join("tokens"), "").unwrap());
        for path in ["tokens", "/tmp/to=kens", "/tmp/to kens", "/tmp/\"tokens\""] {
            let files = ChallengeFiles::new(path.into(), Arc::new(SeededEntropy::new(1)));
            assert!(files.issue(&vm(), NOW).is_err(), "{path}");
            assert!(!Path::new(path).exists(), "{path}");
        }
    }

    #[test]
    fn the_machines_group_is_found_by_its_name() {
        for (groups, expected) in [
            ("root:x:0:\nhimds:x:998:alice\n", Some(998)),
            ("himdsx:x:1:\nxhimds:x:2:", None),
            ("himds:x:no:", None),
            ("himds", None),
            ("", None),
        ] {
            assert_eq!(group_id(groups), expected, "{groups}");
        }
    }
}
