//! The one thread that writes: it puts the commits that wait into one transaction and answers when that is on disk.

use keycard_domain::store::{Commit, Expectation, Revision, StoreError, StoreKey, Write};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::schema;
use super::unavailable;

/// Commits that share one sync of the disk.
const GROUP_MAX: usize = 128;

/// A commit on its way to the writer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) commit: Commit,
    pub(super) answer: oneshot::Sender<Result<Revision, StoreError>>,
}

/// Owns the connection that writes and what it must know between two transactions.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    position: Position,
    deletions_kept_max: usize,
    revision: watch::Sender<Revision>,
}

/// Where the store stands; a transaction works on a copy that replaces it after COMMIT.
#[derive(Clone, Copy, Debug)]
struct Position {
    revision: Revision,
    deletions: usize,
}

impl Writer {
    pub(super) fn new(connection: Connection, deletions_kept_max: usize) -> rusqlite::Result<Self> {
        let revision = schema::meta_revision(&connection, "revision")?;
        let count = "SELECT count(*) FROM deletions";
        let deletions = connection.query_row(count, [], |row| row.get(0))?;
        let position = Position { revision, deletions };
        let revision = watch::Sender::new(revision);
        Ok(Self { connection, position, deletions_kept_max, revision })
    }

    /// Follows the revision of the last durable commit.
    pub(super) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Serves until all senders are gone.
    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Request>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while waiting.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            let (commits, answers): (Vec<_>, Vec<_>) =
                group.drain(..).map(|request| (request.commit, request.answer)).unzip();
            for (answer, outcome) in answers.into_iter().zip(self.commit_group(&commits)) {
                // A caller that went away does not need its answer.
                drop(answer.send(outcome));
            }
        }
    }

    /// Makes a group durable and answers each of its commits. If the database fails, none took effect.
    pub(super) fn commit_group(&mut self, commits: &[Commit]) -> Vec<Result<Revision, StoreError>> {
        match self.try_commit_group(commits) {
            Ok(outcomes) => {
                self.revision.send_replace(self.position.revision);
                outcomes
            }
            Err(error) => {
                let error = unavailable(error);
                commits.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    /// Makes the disk look full once the database has this many pages.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }

    fn try_commit_group(
        &mut self,
        commits: &[Commit],
    ) -> rusqlite::Result<Vec<Result<Revision, StoreError>>> {
        let mut position = self.position;
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let mut outcomes = Vec::with_capacity(commits.len());
        for commit in commits {
            outcomes.push(position.commit(&transaction, commit)?);
        }
        if position.revision == self.position.revision {
            // Nothing but refusals: there is nothing to make durable.
            return Ok(outcomes);
        }
        position.compact(&transaction, self.deletions_kept_max)?;
        schema::set_meta_revision(&transaction, "revision", position.revision)?;
        transaction.commit()?;
        self.position = position;
        Ok(outcomes)
    }
}

impl Position {
    /// One commit inside the group's transaction; a refused one has written nothing.
    fn commit(
        &mut self,
        connection: &Connection,
        commit: &Commit,
    ) -> rusqlite::Result<Result<Revision, StoreError>> {
        for expectation in &commit.expectations {
            if let Some(key) = broken(connection, expectation)? {
                return Ok(Err(StoreError::Conflict(key.clone())));
            }
        }
        self.revision = Revision(self.revision.0 + 1);
        for write in &commit.writes {
            match write {
                Write::Put(key, value) => self.put(connection, key, value)?,
                Write::Delete(key) => self.delete(connection, key)?,
            }
        }
        Ok(Ok(self.revision))
    }

    fn put(
        &mut self,
        connection: &Connection,
        key: &StoreKey,
        value: &[u8],
    ) -> rusqlite::Result<()> {
        let upsert = "INSERT INTO entries (key, value, revision) VALUES (?1, ?2, ?3)
            ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision";
        let parameters = (key.as_str(), value, self.revision.0);
        connection.prepare_cached(upsert)?.execute(parameters)?;
        let revive = "DELETE FROM deletions WHERE key = ?1";
        self.deletions -= connection.prepare_cached(revive)?.execute([key.as_str()])?;
        Ok(())
    }

    fn delete(&mut self, connection: &Connection, key: &StoreKey) -> rusqlite::Result<()> {
        let delete = "DELETE FROM entries WHERE key = ?1";
        if connection.prepare_cached(delete)?.execute([key.as_str()])? == 0 {
            return Ok(());
        }
        let remember = "INSERT INTO deletions (key, revision) VALUES (?1, ?2)";
        let parameters = (key.as_str(), self.revision.0);
        self.deletions += connection.prepare_cached(remember)?.execute(parameters)?;
        Ok(())
    }

    /// Forgets the oldest deletions beyond the bound.
    fn compact(&mut self, connection: &Connection, kept_max: usize) -> rusqlite::Result<()> {
        let excess = self.deletions.saturating_sub(kept_max);
        let Some(last) = excess.checked_sub(1) else { return Ok(()) };
        let select = "SELECT revision FROM deletions ORDER BY revision, key LIMIT 1 OFFSET ?1";
        let compacted = connection.prepare_cached(select)?.query_row([last], |row| row.get(0))?;
        // Whole commits go: half of one would be of no use to a reader.
        let forget = "DELETE FROM deletions WHERE revision <= ?1";
        self.deletions -= connection.prepare_cached(forget)?.execute([compacted])?;
        schema::set_meta_revision(connection, "compacted", Revision(compacted))
    }
}

/// The key of an expectation that does not hold.
fn broken<'a>(
    connection: &Connection,
    expectation: &'a Expectation,
) -> rusqlite::Result<Option<&'a StoreKey>> {
    let (key, expected) = match expectation {
        Expectation::Absent(key) => (key, None),
        Expectation::Unchanged(key, revision) => (key, Some(*revision)),
    };
    let select = "SELECT revision FROM entries WHERE key = ?1";
    let found = connection
        .prepare_cached(select)?
        .query_row([key.as_str()], |row| row.get(0))
        .optional()?
        .map(Revision);
    Ok((found != expected).then_some(key))
}
