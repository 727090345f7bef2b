//! The keys that belong to an installation: the master key, and the local TLS authority sealed under it.
//!
//! Nothing secret stands in clear in a data directory: the master key of a directory is kept with the user's
//! configuration, found by an id that stands in the directory.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keycard_crypto::encoding;
use keycard_crypto::random;
use keycard_crypto::seal::SealingKey;
use keycard_crypto::x509::CertificateAuthority;
use serde::{Deserialize, Serialize};
use time::UtcDateTime;

use crate::config::Places;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory was sealed under a key that is not here.
    #[error(
        "the master key of {directory} is not on this machine (looked for {id}.key); give it with --master-key-file"
    )]
    MasterKeyMissing {
        /// The data directory.
        directory: PathBuf,
        /// The key's id.
        id: String,
    },
    /// The file holds something else.
    #[error("{0} does not hold what it should")]
    Malformed(PathBuf),
    /// The authority could not be made or opened.
    #[error("the local certificate authority cannot be used: {0}")]
    Authority(String),
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> KeyError + use<> {
    let path = path.to_owned();
    move |source| KeyError::File { path, source }
}

/// Makes a directory that only its owner enters.
pub(crate) fn private_directory(path: &Path) -> Result<(), KeyError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// Writes a file that only its owner reads, whole or not at all, and has it on disk when it returns.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    write_through(path, bytes, fs::File::sync_all)
}

/// The same for what each start makes anew: nobody misses it after a loss of power.
pub(crate) fn write_for_this_run(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    write_through(path, bytes, |_| Ok(()))
}

fn write_through(
    path: &Path,
    bytes: &[u8],
    settle: impl FnOnce(&fs::File) -> std::io::Result<()>,
) -> Result<(), KeyError> {
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| settle(&file)))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(at(path))
}

/// Reads a file; `None` when there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, KeyError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

fn key_from_text(path: &Path, text: &[u8]) -> Result<SealingKey, KeyError> {
    let malformed = || KeyError::Malformed(path.to_owned());
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    let bytes = encoding::base64_decode_any(text.trim(), 32).ok_or_else(malformed)?;
    Ok(SealingKey::from_bytes(bytes.try_into().map_err(|_| malformed())?))
}

/// Stands in a directory whose master key was given by a file: a start without the file must not make another key.
const GIVEN: &str = "given-by-file";

/// The master key of a data directory: from the given file, or the one made when the directory was.
pub(crate) fn master_key(
    places: &Places,
    data: &Path,
    given: Option<&Path>,
) -> Result<SealingKey, KeyError> {
    let id_file = data.join("master-key-id");
    if let Some(path) = given {
        let key = key_from_text(path, &fs::read(path).map_err(at(path))?)?;
        if read(&id_file)?.is_none() {
            write_private(&id_file, GIVEN.as_bytes())?;
        }
        return Ok(key);
    }
    match read(&id_file)? {
        Some(id) => find_master_key(places, data, String::from_utf8_lossy(&id).trim()),
        None => make_master_key(places, &id_file),
    }
}

fn find_master_key(places: &Places, data: &Path, id: &str) -> Result<SealingKey, KeyError> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let directories = places.master_key_directories();
    for directory in directories.iter().filter(|_| is_id) {
        let path = directory.join(format!("{id}.key"));
        if let Some(text) = read(&path)? {
            return key_from_text(&path, &text);
        }
    }
    Err(KeyError::MasterKeyMissing { directory: data.to_owned(), id: id.to_owned() })
}

/// The key is on disk before the directory names it: a crash in between leaves only an unused key.
fn make_master_key(places: &Places, id_file: &Path) -> Result<SealingKey, KeyError> {
    let key = SealingKey::generate();
    let mut id = [0; 16];
    random::fill(&mut id);
    let id = encoding::hex_encode(&id);
    let text = encoding::base64_encode(key.expose());
    let [first, second] = places.master_key_directories();
    let keep = |directory: &Path| {
        private_directory(directory)?;
        write_private(&directory.join(format!("{id}.key")), text.as_bytes())
    };
    keep(&first).or_else(|_| keep(&second))?;
    write_private(id_file, id.as_bytes())?;
    Ok(key)
}

/// The stored form of the TLS authority.
#[derive(Serialize, Deserialize)]
struct StoredAuthority {
    certificate: String,
    key_sealed: String,
}

const AUTHORITY_PLACE: &str = "tls-authority";
const AUTHORITY_BYTES_MAX: usize = 16 * 1024;

/// The local TLS authority of a data directory, made at the first start; without a directory, a new one.
pub(crate) fn tls_authority(
    data: Option<&Path>,
    master: &SealingKey,
    domain: &str,
    permitted: &[&str],
    now: UtcDateTime,
) -> Result<CertificateAuthority, KeyError> {
    let unusable = |error: &dyn std::fmt::Display| KeyError::Authority(error.to_string());
    let generate = || {
        CertificateAuthority::generate_tls(domain, permitted, now.into())
            .map_err(|error| unusable(&error))
    };
    let Some(path) = data.map(|data| data.join("tls-authority.json")) else { return generate() };
    if let Some(bytes) = read(&path)? {
        return open_authority(&path, &bytes, master);
    }
    let authority = generate()?;
    let key = authority.to_pkcs8().map_err(|error| unusable(&error))?;
    let sealed = master.seal(AUTHORITY_PLACE, &key).map_err(|error| unusable(&error))?;
    let stored = StoredAuthority {
        certificate: encoding::base64_encode(authority.certificate_der()),
        key_sealed: encoding::base64_encode(&sealed),
    };
    let bytes = serde_json::to_vec(&stored).map_err(|error| unusable(&error))?;
    write_private(&path, &bytes)?;
    Ok(authority)
}

fn open_authority(
    path: &Path,
    bytes: &[u8],
    master: &SealingKey,
) -> Result<CertificateAuthority, KeyError> {
    let malformed = || KeyError::Malformed(path.to_owned());
    let stored: StoredAuthority = serde_json::from_slice(bytes).map_err(|_| malformed())?;
    let decode =
        |text: &str| encoding::base64_decode_any(text, AUTHORITY_BYTES_MAX).ok_or_else(malformed);
    let key = master
        .open(AUTHORITY_PLACE, &decode(&stored.key_sealed)?)
        .map_err(|error| KeyError::Authority(error.to_string()))?;
    CertificateAuthority::from_parts(&decode(&stored.certificate)?, &key)
        .map_err(|error| KeyError::Authority(error.to_string()))
}
