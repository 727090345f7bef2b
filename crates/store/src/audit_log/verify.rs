//! Walks the chain of an audit log from its first line to its last.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use super::segment::{self, FIRST_PREVIOUS, Hash, Link, Next};

/// An audit log whose chain is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Lines of all segments.
    pub records: u64,
    /// Segment files.
    pub segments: u64,
    /// SHA-256 of the last line, in hex; 64 zeros for an empty log. Noted elsewhere it also guards the log's end.
    pub last_hash: String,
}

/// Where the chain of an audit log breaks, and how.
#[derive(Debug, thiserror::Error)]
#[error("audit segment {segment}, line {line}: {what}")]
pub struct VerifyError {
    /// The number in the name of the segment file; 0 when the directory itself is at fault.
    pub segment: u64,
    /// Counted from 1 in its segment; 0 when the segment as a whole is at fault.
    pub line: u64,
    /// What is wrong there.
    pub what: VerifyFault,
}

/// What is wrong with a line of an audit log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyFault {
    /// The line does not carry the hash of the one before it.
    #[error("the hash of the line before does not match: that line or this one was changed")]
    Chain,
    /// Lines are missing or not in their place.
    #[error("expected record {expected}, found record {found}: lines were removed, added or moved")]
    Sequence {
        /// The number after that of the line before.
        expected: u64,
        /// The number that stands there.
        found: u64,
    },
    /// A segment file is missing.
    #[error("the segment is missing")]
    MissingSegment,
    /// The line is not one of an audit log.
    #[error("the line cannot be read as a record: {0}")]
    Malformed(String),
    /// The segment ends in the middle of a line, and another one follows it.
    #[error("the line has no end")]
    Torn,
    /// A file could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// Checks every line of the audit log in `directory`.
///
/// A last line without an end is not counted: it was never acknowledged, or is just being written.
pub fn verify(directory: &Path) -> Result<Verified, VerifyError> {
    let numbers = segment::numbers(directory).map_err(|error| VerifyError {
        segment: 0,
        line: 0,
        what: error.into(),
    })?;
    let mut walk = Walk::default();
    for (expected, number) in (1..).zip(&numbers) {
        let is_last = numbers.last() == Some(number);
        walk.line = 0;
        let step = if expected == *number {
            walk.segment(&directory.join(segment::file_name(*number)), is_last)
        } else {
            Err(VerifyFault::MissingSegment)
        };
        step.map_err(|what| VerifyError { segment: expected, line: walk.line, what })?;
    }
    Ok(Verified {
        records: walk.sequence,
        segments: numbers.len() as u64,
        last_hash: walk.previous.to_hex(),
    })
}

/// The place reached so far.
struct Walk {
    sequence: u64,
    previous: Hash,
    /// In the current segment, from 1.
    line: u64,
}

impl Default for Walk {
    fn default() -> Self {
        Self { sequence: 0, previous: FIRST_PREVIOUS, line: 0 }
    }
}

impl Walk {
    fn segment(&mut self, path: &Path, is_last: bool) -> Result<(), VerifyFault> {
        let mut segment = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        loop {
            self.line += 1;
            match segment::next_line(&mut segment, &mut line)? {
                Next::Line => self.line(&line)?,
                Next::End => return Ok(()),
                Next::Torn if is_last => return Ok(()),
                Next::Torn => return Err(VerifyFault::Torn),
                Next::TooLong => return Err(VerifyFault::Malformed("it is too long".to_owned())),
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), VerifyFault> {
        let link: Link = serde_json::from_slice(line)
            .map_err(|error| VerifyFault::Malformed(error.to_string()))?;
        let expected = self.sequence + 1;
        if link.sequence != expected {
            return Err(VerifyFault::Sequence { expected, found: link.sequence });
        }
        if link.previous != self.previous.to_hex() {
            return Err(VerifyFault::Chain);
        }
        self.sequence = expected;
        self.previous = Hash::of(line);
        Ok(())
    }
}
