//! Segment files by number, and the lines in them.

use std::fs;
use std::io::{self, BufRead, Read};
use std::path::Path;

use keycard_crypto::digest;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Bytes of a line; records are far shorter, so a longer one is refused, and damage when it stands in a file.
pub(super) const LINE_BYTES_MAX: u64 = 1 << 16;

/// Bytes of a record: a line without its sequence number, hash and punctuation.
pub(super) const RECORD_BYTES_MAX: usize = (1 << 16) - 256;

/// What the first line of all has as the hash of the line before it.
pub(super) const FIRST_PREVIOUS: Hash = Hash([0; 32]);

/// The SHA-256 of a line, without its line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash([u8; 32]);

impl Hash {
    pub(super) fn of(line: &[u8]) -> Self {
        Self(digest::sha256(line))
    }

    pub(super) fn to_hex(self) -> String {
        const DIGITS: [char; 16] =
            ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        nibbles.filter_map(|nibble| DIGITS.get(usize::from(nibble))).collect()
    }
}

/// What a line says of its place in the chain.
#[derive(Deserialize)]
pub(super) struct Link {
    pub(super) sequence: u64,
    pub(super) previous: String,
    #[serde(rename = "record")]
    _record: IgnoredAny,
}

/// Appends a line to `out`.
pub(super) fn write_line(out: &mut Vec<u8>, sequence: u64, previous: Hash, record: &str) {
    let previous = previous.to_hex();
    let head = format!(r#"{{"sequence":{sequence},"previous":"{previous}","record":"#);
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(record.as_bytes());
    out.extend_from_slice(b"}\n");
}

pub(super) fn file_name(number: u64) -> String {
    format!("audit-{number:08}.jsonl")
}

/// The numbers of the segments in a directory, ascending.
pub(super) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(directory)? {
        numbers.extend(file?.file_name().to_str().and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// One step through a segment.
pub(super) enum Next {
    /// A whole line is in the buffer, without its line feed.
    Line,
    /// The segment ends after a whole line.
    End,
    /// The segment ends in the middle of a line.
    Torn,
    /// The line is longer than [`LINE_BYTES_MAX`].
    TooLong,
}

/// Reads the next line of a segment into `line`.
pub(super) fn next_line(segment: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Next> {
    line.clear();
    let read = segment.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', line)?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        Ok(Next::Line)
    } else if read == 0 {
        Ok(Next::End)
    } else if line.len() as u64 > LINE_BYTES_MAX {
        Ok(Next::TooLong)
    } else {
        Ok(Next::Torn)
    }
}
