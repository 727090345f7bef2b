//! The responder's sockets: UDP, and TCP for whoever insists.

use std::sync::Arc;
use std::time::Duration;

use keycard_domain::limits;
use keycard_wire::connection;
use keycard_wire::local::names::{QUESTION_BYTES_MAX, Zone};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

/// How long the responder rests when a socket cannot be read.
const PAUSE: Duration = Duration::from_millis(20);

/// One question, one datagram.
pub(super) async fn answer_udp(
    socket: UdpSocket,
    zone: Arc<Zone>,
    mut closed: watch::Receiver<()>,
) {
    // A longer question is cut here and found out by its length there.
    let mut question = [0; QUESTION_BYTES_MAX + 1];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut question) => received,
            _ = closed.changed() => return,
        };
        let Ok((length, from)) = received else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if let Some(answer) = zone.answer(question.get(..length).unwrap_or_default()) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// Questions one after another on a connection, each after its length.
pub(super) async fn answer_tcp(
    listener: TcpListener,
    zone: Arc<Zone>,
    closed: watch::Receiver<()>,
) {
    let connections_max = limits::RESOLVER_CONNECTIONS_MAX;
    connection::accept_up_to(connections_max, listener, closed, |stream, mut closed| {
        let zone = Arc::clone(&zone);
        async move {
            tokio::select! {
                _ = converse(stream, &zone) => {}
                _ = closed.changed() => {}
            }
        }
    })
    .await;
}

async fn converse(mut stream: TcpStream, zone: &Zone) -> std::io::Result<()> {
    loop {
        let asked = tokio::time::timeout(limits::HEAD_TIME_MAX, read_question(&mut stream)).await;
        let question = asked.map_err(|_| std::io::ErrorKind::TimedOut)??;
        let Some(answer) = zone.answer(&question) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(|_| std::io::ErrorKind::InvalidData)?;
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
}

async fn read_question(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > QUESTION_BYTES_MAX {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await?;
    Ok(question)
}
