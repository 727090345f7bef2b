//! What a program that is started here finds: variables, files, and what names mean. Given, so that a test can provoke
//! whatever goes wrong on other people's machines.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config;

/// Bytes of a file that are read; a bundle of authorities has 300,000, Java's store about as many.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Entries of a folder that are looked at; a folder of authorities has 500, `/proc` of a busy machine thousands.
const ENTRIES_MAX: usize = 65_536;

/// What the system's resolver answers for a name; empty where it knows none.
pub type Resolver = Arc<dyn Fn(&str) -> Vec<IpAddr> + Send + Sync>;

/// The machine as programs see it.
#[derive(Clone)]
pub struct Surroundings {
    variables: BTreeMap<String, String>,
    root: PathBuf,
    is_root: bool,
    resolver: Resolver,
}

impl fmt::Debug for Surroundings {
    /// Values of variables can be secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        formatter
            .debug_struct("Surroundings")
            .field("root", &self.root)
            .field("variables", &names)
            .finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        Self {
            variables: config::all_variables(),
            root: PathBuf::from("/"),
            is_root: rustix::process::geteuid().is_root(),
            resolver: Arc::new(|name| {
                (name, 443).to_socket_addrs().into_iter().flatten().map(|at| at.ip()).collect()
            }),
        }
    }

    /// Others: the file system below `root`, an ordinary user, and a resolver.
    pub fn new(variables: &[(&str, &str)], root: &Path, resolver: Resolver) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            variables: variables.iter().map(owned).collect(),
            root: root.to_owned(),
            is_root: false,
            resolver,
        }
    }

    /// A variable's value; an empty one is as none.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether it is there, even empty.
    pub(super) fn has_variable(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// Those of these names that have a value, in this order.
    pub(super) fn those_set(&self, names: &[&'static str]) -> Vec<&'static str> {
        names.iter().copied().filter(|name| self.variable(name).is_some()).collect()
    }

    pub(super) const fn is_root(&self) -> bool {
        self.is_root
    }

    pub(super) fn resolve(&self, name: &str) -> Vec<IpAddr> {
        (self.resolver)(name)
    }

    fn below_root(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.below_root(path).exists()
    }

    pub(super) fn is_directory(&self, path: &str) -> bool {
        self.below_root(path).is_dir()
    }

    /// A file's bytes; none where it cannot be read.
    pub(super) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let path = self.below_root(path);
        if !path.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        Some(String::from_utf8_lossy(&self.bytes(path)?).into_owned())
    }

    /// The names in a folder, in their order.
    pub(super) fn entries(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.below_root(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .take(ENTRIES_MAX)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Where a link points to.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.below_root(path)).ok()?;
        Some(target.to_string_lossy().into_owned())
    }
}
