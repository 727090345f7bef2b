//! Typed records on top of the store's bytes: key, encoding, version. Written once for every noun.
//!
//! A stored form is frozen by a golden line in `records/golden.rs`; changing it is a migration and a new version.

#[cfg(test)]
mod golden;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::{Revision, StoreKey};

/// Everything the snapshot is built from stands below this prefix.
pub const STATE_PREFIX: &str = "state/";
/// What is too large or too secret for the snapshot stands below this prefix.
pub const PAYLOAD_PREFIX: &str = "payload/";

/// A noun that is kept in the store.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The noun's place below its prefix, plural, as the URL names it.
    const KIND: &'static str;
    /// Grows with each migration of the stored form.
    const VERSION: u32 = 1;

    /// The record's own key below its kind.
    fn record_id(&self) -> String;
}

/// The envelope of a stored record.
#[derive(Serialize, Deserialize)]
struct Envelope<R> {
    v: u32,
    r: R,
}

/// A stored form that this version of keycard cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored {kind} cannot be read: {reason}")]
pub struct UnreadableRecord {
    /// Which noun.
    pub kind: &'static str,
    /// What is wrong with its form.
    pub reason: String,
}

/// The stored form of a record.
pub fn encode<R: Record>(record: &R) -> Arc<[u8]> {
    // The records are plain structs of strings, numbers and string-keyed maps: their encoding cannot fail, and an
    // empty value would be refused on reading.
    serde_json::to_vec(&Envelope { v: R::VERSION, r: record }).unwrap_or_default().into()
}

/// How deep objects and arrays stand inside each other in a JSON text. Readers of JSON refuse what is deeper than 127.
pub fn json_depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut is_text, mut is_escaped) = (false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The record of a stored form.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, UnreadableRecord> {
    let unreadable = |reason: String| UnreadableRecord { kind: R::KIND, reason };
    let envelope: Envelope<R> =
        serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    if envelope.v == R::VERSION {
        Ok(envelope.r)
    } else {
        Err(unreadable(format!("version {} is not known", envelope.v)))
    }
}

/// Where a record of the snapshot stands.
pub fn state_key<R: Record>(record_id: &str) -> StoreKey {
    StoreKey::new(format!("{STATE_PREFIX}{}/{record_id}", R::KIND))
}

/// Where a record outside the snapshot stands.
pub fn payload_key<R: Record>(record_id: &str) -> StoreKey {
    StoreKey::new(format!("{PAYLOAD_PREFIX}{}/{record_id}", R::KIND))
}

/// A record with the revision that wrote it: its ETag, and what a write relies on.
#[derive(Debug)]
pub struct Versioned<R> {
    /// The revision that wrote it.
    pub revision: Revision,
    /// The record.
    pub record: Arc<R>,
}

impl<R> Clone for Versioned<R> {
    fn clone(&self) -> Self {
        Self { revision: self.revision, record: Arc::clone(&self.record) }
    }
}

impl<R> std::ops::Deref for Versioned<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.record
    }
}

/// Bytes in stored records: standard base64, so that a record stays readable text.
pub(crate) mod base64_bytes {
    use keycard_crypto::encoding;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Longest byte string of any record.
    const LENGTH_MAX: usize = 1024 * 1024;

    pub(crate) fn serialize<S: Serializer>(
        bytes: &impl AsRef<[u8]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encoding::base64_encode(bytes.as_ref()))
    }

    pub(crate) fn deserialize<'de, T: TryFrom<Vec<u8>>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = encoding::base64_decode_any(&text, LENGTH_MAX)
            .ok_or_else(|| D::Error::custom("not base64"))?;
        T::try_from(bytes).map_err(|_| D::Error::custom("wrong number of bytes"))
    }
}
