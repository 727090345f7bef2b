//! A bounded pool of threads for RSA signatures, so that async callers never block a runtime
//! thread.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use thiserror::Error;
use tokio::sync::oneshot;

use crate::signing_key::{KeyError, SigningKey};

/// Why there is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SigningError {
    /// The queue is full; try again later. Nothing was queued.
    #[error("too many signatures are waiting")]
    Overloaded,
    /// The pool's threads are gone.
    #[error("the signing threads have stopped")]
    Stopped,
    /// The signature itself failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// One message on its way to a signing thread, and the way back.
struct Job {
    key: Arc<SigningKey>,
    message: Vec<u8>,
    answer: oneshot::Sender<Result<Vec<u8>, KeyError>>,
}

/// Threads that sign, behind a queue of limited length. They end when the pool is dropped, after
/// the signatures already queued.
#[derive(Debug)]
pub struct SigningPool {
    queue: SyncSender<Job>,
}

impl SigningPool {
    /// Starts `threads` threads (at least one) with room for `queue_max` waiting signatures.
    ///
    /// # Panics
    /// If the operating system refuses a thread; call it at start-up only.
    #[must_use]
    pub fn start(threads: usize, queue_max: usize) -> Arc<Self> {
        let (queue, jobs) = sync_channel(queue_max.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads.max(1) {
            let jobs = Arc::clone(&jobs);
            #[expect(
                clippy::expect_used,
                reason = "a server that gets no thread at start can't serve"
            )]
            thread::Builder::new()
                .name(format!("sign-{number}"))
                .spawn(move || sign_until_closed(&jobs))
                .expect("the system gives a thread");
        }
        Arc::new(Self { queue })
    }

    /// Signs `message` with `key` (RS256) on one of the threads. Dropping the future takes a
    /// message that still waits out of the queue's work.
    ///
    /// # Errors
    /// [`SigningError::Overloaded`] at once if the queue is full.
    pub async fn sign(
        &self,
        key: Arc<SigningKey>,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, SigningError> {
        let (answer, signature) = oneshot::channel();
        self.queue.try_send(Job { key, message, answer }).map_err(|error| match error {
            TrySendError::Full(_) => SigningError::Overloaded,
            TrySendError::Disconnected(_) => SigningError::Stopped,
        })?;
        Ok(signature.await.map_err(|_| SigningError::Stopped)??)
    }
}

/// One thread's life: idle threads take turns in holding the receiver.
fn sign_until_closed(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { key, message, answer }) = next else { return };
        if answer.is_closed() {
            continue; // whoever asked has gone
        }
        // The asker may leave while we sign; then nobody wants the signature.
        let _ = answer.send(key.sign(&message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_key::Algorithm;
    use crate::test_keys;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn signatures_come_back_to_whoever_asked() {
        let pool = SigningPool::start(2, 64);
        let key = Arc::new(test_keys::signing_key());
        block_on(async {
            for number in 0..16_u8 {
                let signature = pool.sign(Arc::clone(&key), vec![number]).await.unwrap();
                key.public_key().verify(Algorithm::Rs256, &[number], &signature).unwrap();
            }
        });
    }

    #[test]
    fn full_queue_is_refused_at_once_and_abandoned_work_is_skipped() {
        // No thread takes anything from this queue.
        let (queue, jobs) = sync_channel(1);
        let pool = SigningPool { queue };
        let key = Arc::new(test_keys::signing_key());
        block_on(async {
            {
                let mut first = std::pin::pin!(pool.sign(Arc::clone(&key), vec![1]));
                let poll = std::future::poll_fn(|context| {
                    std::task::Poll::Ready(first.as_mut().poll(context).is_pending())
                });
                assert!(poll.await, "the first waits");
                let second = pool.sign(Arc::clone(&key), vec![2]).await;
                assert_eq!(second, Err(SigningError::Overloaded));
            }
            assert!(jobs.try_recv().unwrap().answer.is_closed());
            drop(jobs);
            assert_eq!(pool.sign(key, vec![3]).await, Err(SigningError::Stopped));
        });
    }

    #[test]
    fn threads_end_with_the_pool() {
        let (queue, jobs) = sync_channel(1);
        let worker = thread::spawn(move || sign_until_closed(&Mutex::new(jobs)));
        drop(SigningPool { queue });
        worker.join().unwrap();
    }
}
