//! Makes programs inside trust keycard's authority, by what they read and not by what they are told: the system's directory
//! of certificates, and the bundles that programs carry. What was there stays in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use keycard_crypto::trust_store::java_trust_store;

use super::bundles::{self, Surroundings};
use super::mounts::Layer;

/// The authority's file in a directory of certificates.
const AUTHORITY_FILE: &str = "keycard.pem";

/// Directories of certificates: OpenSSL's, and where Red Hat's is a directory of its own.
const DIRECTORIES: &[&str] = &["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// Largest file that is taken for a bundle, in bytes.
const BUNDLE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most entries of a directory of certificates.
const ENTRIES_MAX: usize = 4096;

/// The authority, in the forms that stores want.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) pem: String,
    /// OpenSSL's name for its subject, eight hexadecimal digits.
    pub(super) subject_hash: String,
}

/// Puts everything in its place; gives a file that holds the authority, for programs that have to be told.
pub(super) fn cover(
    layer: &mut Layer,
    authority: &Authority,
    surroundings: &Surroundings,
    named: &[PathBuf],
) -> io::Result<Option<PathBuf>> {
    let mut holder = None;
    let own = surroundings.variables.get("SSL_CERT_DIR").map(PathBuf::as_path);
    let directories = DIRECTORIES.iter().map(|path| Path::new(*path)).chain(own);
    let mut real: Vec<PathBuf> =
        directories.filter_map(|path| fs::canonicalize(path).ok()).collect();
    real.dedup();
    for directory in real.iter().filter(|path| path.is_dir()) {
        cover_directory(layer, authority, directory)?;
        holder.get_or_insert_with(|| directory.join(AUTHORITY_FILE));
    }
    let found = bundles::find(surroundings);
    let is_apart = |path: &&PathBuf| !real.iter().any(|directory| path.starts_with(directory));
    for bundle in found.bundles.iter().filter(is_apart).chain(named) {
        if let Some(content) = with_authority(bundle, authority)? {
            layer.cover_file(bundle, &content)?;
            holder.get_or_insert_with(|| bundle.clone());
        }
    }
    let mut java = None;
    for store in found.java_stores.iter().filter(is_apart) {
        let content = java.get_or_insert_with(|| java_store(authority));
        layer.cover_file(store, content)?;
    }
    Ok(holder)
}

/// A bundle's content with the authority after it; `None` for what is no bundle.
fn with_authority(bundle: &Path, authority: &Authority) -> io::Result<Option<Vec<u8>>> {
    if fs::metadata(bundle)?.len() > BUNDLE_BYTES_MAX {
        return Ok(None);
    }
    // What this user cannot read, the command cannot either.
    let Ok(mut content) = fs::read(bundle) else { return Ok(None) };
    if !content.ends_with(b"\n") {
        content.push(b'\n');
    }
    content.extend_from_slice(authority.pem.as_bytes());
    Ok(Some(content))
}

/// A directory like the old one: links stay links, bundles have the authority in them, and it stands there by itself, under
/// its name and under the one that OpenSSL looks for.
fn cover_directory(layer: &mut Layer, authority: &Authority, directory: &Path) -> io::Result<()> {
    let Some(path) = layer.cover_directory(directory)? else { return Ok(()) };
    for entry in fs::read_dir(directory)?.flatten().take(ENTRIES_MAX) {
        let (from, to) = (entry.path(), path.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_dir() && entry.file_name() == "java" {
            fs::create_dir(&to)?;
            fs::write(to.join("cacerts"), java_store(authority))?;
        } else if kind.is_file() {
            copy_file(authority, &from, &to)?;
        }
    }
    fs::write(path.join(AUTHORITY_FILE), &authority.pem)?;
    let hashed = format!("{}.0", authority.subject_hash);
    match std::os::unix::fs::symlink(AUTHORITY_FILE, path.join(hashed)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

/// A file that holds several certificates is a bundle; the others are copied as they are.
fn copy_file(authority: &Authority, from: &Path, to: &Path) -> io::Result<()> {
    let Some(content) = with_authority(from, authority)? else { return Ok(()) };
    let old = content.strip_suffix(authority.pem.as_bytes()).unwrap_or(&content);
    let is_bundle = old.windows(BEGIN.len()).filter(|window| *window == BEGIN).nth(1).is_some();
    fs::write(to, if is_bundle { &content } else { old })
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Java's form of the system's authorities and ours.
fn java_store(authority: &Authority) -> Vec<u8> {
    let system = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
    let old = system.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    java_trust_store(&format!("{old}\n{}", authority.pem))
}
