//! The load generators: simple, bounded, and the same for every server.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::wire::{Connection, Target};

/// One connection of a load, with the requests that it sends in turn, again and again.
pub(crate) struct Client {
    connection: Connection,
    requests: Vec<Vec<u8>>,
    sent: usize,
}

impl Client {
    /// Connects and sends the request once, so that what is measured is not the first time.
    pub(crate) fn warmed_up(target: &Target, request: Vec<u8>) -> Outcome<Self> {
        Self::in_turn(target, vec![request])
    }

    /// Connects and sends the first of the requests.
    pub(crate) fn in_turn(target: &Target, requests: Vec<Vec<u8>>) -> Outcome<Self> {
        let mut client = Self { connection: target.connect()?, requests, sent: 0 };
        client.send()?;
        client.receive()?;
        Ok(client)
    }

    fn send(&mut self) -> Outcome<()> {
        let next = self.requests.get(self.sent % self.requests.len().max(1));
        self.sent += 1;
        self.connection.send(next.ok_or("a client without requests")?)
    }

    fn receive(&mut self) -> Outcome<()> {
        match self.connection.receive()? {
            (200..=299, _) => Ok(()),
            (status, body) => {
                Err(format!("status {status} under load: {}", String::from_utf8_lossy(body)).into())
            }
        }
    }
}

/// Sends a request over every connection, then reads every answer, `count` times. One thread does it, so that the
/// server meets the same pattern each time: it is never out of work for long, and has a processor to itself.
pub(crate) fn rounds(clients: &mut [Client], count: usize) -> Outcome<()> {
    for _ in 0..count {
        clients.iter_mut().try_for_each(Client::send)?;
        clients.iter_mut().try_for_each(Client::receive)?;
    }
    Ok(())
}

/// Sends `count` requests over each connection, each as soon as the one before is answered.
pub(crate) fn closed_loop(clients: &mut [Client], count: usize) -> Outcome<()> {
    let again_and_again = |_, client: &mut Client| {
        (0..count).try_for_each(|_| client.send().and_then(|()| client.receive()))
    };
    side_by_side(clients, again_and_again).map(|_| ())
}

/// Sends `count` requests in all at a steady rate, whether the ones before are answered or not, and returns the
/// latencies. A request that had to wait for its connection counts from the moment it was due; one that this
/// machine's timer woke late counts from when it was sent.
pub(crate) fn open_loop(
    clients: &mut [Client],
    per_second: u32,
    count: u32,
) -> Outcome<Vec<Duration>> {
    let interval = Duration::from_secs(1) / per_second;
    let connections = u32::try_from(clients.len())?;
    let first = Instant::now() + Duration::from_millis(5);
    let latencies = side_by_side(clients, |number, client| {
        let mut latencies = Vec::new();
        for turn in (u32::try_from(number)?..count).step_by(connections as usize) {
            let due = first + interval * turn;
            let mut begin = due;
            if let Some(early) = due.checked_duration_since(Instant::now()) {
                thread::sleep(early);
                begin = Instant::now();
            }
            client.send()?;
            client.receive()?;
            latencies.push(begin.elapsed());
        }
        Ok(latencies)
    })?;
    Ok(latencies.into_iter().flatten().collect())
}

/// Runs a job for each client on a thread of its own; all begin together.
pub(crate) fn side_by_side<C: Send, T: Send>(
    clients: &mut [C],
    job: impl Fn(usize, &mut C) -> Outcome<T> + Sync,
) -> Outcome<Vec<T>> {
    let start = Barrier::new(clients.len());
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(number, client)| {
                let (start, job) = (&start, &job);
                scope.spawn(move || {
                    start.wait();
                    job(number, client)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a load thread panicked")).collect()
    })
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value below which this share of the values lies.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let position = last as f64 * share;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(below), Some(above)) => below + (above - below) * position.fract(),
        _ => f64::NAN,
    }
}
