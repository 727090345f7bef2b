//! The one thread that writes the audit log: everything waiting, one write, one sync, then the answers.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::sync::Arc;

use keycard_domain::audit::AuditError;
use tokio::sync::{mpsc, oneshot};

use super::APPENDS_WAITING_MAX;
use super::segment::{self, FIRST_PREVIOUS, Hash, LINE_BYTES_MAX, Link, Next};
use crate::OpenError;
use crate::data_directory::DataDirectory;

/// A serialised record on its way to the writer.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) record: String,
    pub(super) answer: oneshot::Sender<Result<(), AuditError>>,
}

/// Owns the current segment and the end of the chain.
#[derive(Debug)]
pub(super) struct Writer {
    directory: Arc<DataDirectory>,
    segment_bytes_max: u64,
    segment: Segment,
    end: ChainEnd,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: File,
    /// Of whole, synced lines.
    bytes: u64,
    /// A failed write may have left bytes behind the last whole line.
    has_rest: bool,
}

/// What the next line must follow.
#[derive(Clone, Copy, Debug)]
struct ChainEnd {
    sequence: u64,
    hash: Hash,
}

const CHAIN_START: ChainEnd = ChainEnd { sequence: 0, hash: FIRST_PREVIOUS };

/// Lines that reach the disk together.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    answers: Vec<oneshot::Sender<Result<(), AuditError>>>,
}

impl Writer {
    /// Finds the end of the chain, and removes a torn last line.
    pub(super) fn open(
        directory: Arc<DataDirectory>,
        segment_bytes_max: u64,
    ) -> Result<Self, OpenError> {
        let numbers =
            segment::numbers(directory.path()).map_err(OpenError::io(directory.path()))?;
        let number = numbers.last().copied().unwrap_or(1);
        let path = directory.path().join(segment::file_name(number));
        let segment = Segment::open(&directory, number).map_err(OpenError::io(&path))?;
        let mut writer = Self { directory, segment_bytes_max, segment, end: CHAIN_START };
        // Only the last segment may be torn; it may also have no line yet, then the one before has the end.
        let mut tail = scan(&path)?;
        writer.segment.cut(tail.bytes).map_err(OpenError::io(&path))?;
        if tail.end.is_none() && number > 1 {
            tail = scan(&writer.directory.path().join(segment::file_name(number - 1)))?;
        }
        writer.end = tail.end.unwrap_or(CHAIN_START);
        Ok(writer)
    }

    /// Does what a write that fails half way does.
    #[cfg(test)]
    pub(super) fn leave_a_rest(&mut self, bytes: &[u8]) {
        self.segment.has_rest = true;
        self.segment.file.write_all(bytes).unwrap();
    }

    /// Serves until all senders are gone.
    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Append>) {
        let mut appends = Vec::with_capacity(APPENDS_WAITING_MAX);
        while waiting.blocking_recv_many(&mut appends, APPENDS_WAITING_MAX) > 0 {
            let mut appends = appends.drain(..).peekable();
            while appends.peek().is_some() {
                self.append_some(&mut appends);
            }
        }
    }

    /// Takes the appends that go into one segment, at least one, and answers them.
    fn append_some(&mut self, appends: &mut impl Iterator<Item = Append>) {
        let mut end = self.end;
        let mut batch = Batch::default();
        let mut outcome = self.prepare_segment();
        for append in appends {
            end = batch.push(end, append);
            if self.segment.bytes + batch.bytes.len() as u64 >= self.segment_bytes_max {
                break;
            }
        }
        if outcome.is_ok() {
            outcome = self.segment.append(&batch.bytes);
        }
        if outcome.is_ok() {
            self.end = end;
        }
        let outcome = outcome.map_err(|error| AuditError(error.to_string()));
        for answer in batch.answers {
            // A caller that went away does not need its answer.
            drop(answer.send(outcome.clone()));
        }
    }

    /// Makes sure that the next line starts after a whole one, in a segment that has room.
    fn prepare_segment(&mut self) -> io::Result<()> {
        if self.segment.has_rest {
            self.segment.cut(self.segment.bytes)?;
        }
        if self.segment.bytes >= self.segment_bytes_max && self.segment.bytes > 0 {
            self.segment = Segment::open(&self.directory, self.segment.number + 1)?;
        }
        Ok(())
    }
}

impl Batch {
    /// Adds a line; answers the end of the chain after it.
    fn push(&mut self, end: ChainEnd, append: Append) -> ChainEnd {
        let start = self.bytes.len();
        let sequence = end.sequence + 1;
        segment::write_line(&mut self.bytes, sequence, end.hash, &append.record);
        self.answers.push(append.answer);
        let line = self.bytes.get(start..).unwrap_or_default();
        ChainEnd { sequence, hash: Hash::of(line.strip_suffix(b"\n").unwrap_or(line)) }
    }
}

impl Segment {
    fn open(directory: &DataDirectory, number: u64) -> io::Result<Self> {
        let file = directory.open_durable(&segment::file_name(number))?;
        let bytes = file.metadata()?.len();
        Ok(Self { number, file, bytes, has_rest: false })
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.has_rest = true;
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.has_rest = false;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Removes what stands behind the first `bytes`.
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        if self.file.metadata()?.len() > bytes {
            tracing::warn!(
                audit.segment = self.number,
                audit.bytes = bytes,
                "removed an unfinished line from the end of the audit log; it was never acknowledged"
            );
            self.file.set_len(bytes)?;
            self.file.sync_data()?;
        }
        self.bytes = bytes;
        self.has_rest = false;
        Ok(())
    }
}

/// What a segment holds in whole lines.
struct Tail {
    bytes: u64,
    end: Option<ChainEnd>,
}

fn scan(path: &Path) -> Result<Tail, OpenError> {
    let damaged = |what: String| OpenError::Damaged { path: path.to_owned(), what };
    let mut segment = BufReader::new(File::open(path).map_err(OpenError::io(path))?);
    let mut last = Vec::new();
    let mut line = Vec::new();
    let mut bytes = 0;
    loop {
        match segment::next_line(&mut segment, &mut line).map_err(OpenError::io(path))? {
            Next::Line => {
                bytes += line.len() as u64 + 1;
                std::mem::swap(&mut last, &mut line);
            }
            Next::End | Next::Torn => break,
            Next::TooLong => {
                return Err(damaged(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
            }
        }
    }
    if bytes == 0 {
        return Ok(Tail { bytes, end: None });
    }
    let link: Link = serde_json::from_slice(&last)
        .map_err(|error| damaged(format!("its last line is not a record: {error}")))?;
    let end = ChainEnd { sequence: link.sequence, hash: Hash::of(&last) };
    Ok(Tail { bytes, end: Some(end) })
}
