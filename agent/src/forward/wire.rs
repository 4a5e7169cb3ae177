//! One connection that carries one question at a time: hickory's framed TCP or TLS stream, used
//! directly. hickory's multiplexer above it would answer 33 questions at a time with "busy", and
//! gives no way to keep to one.

use super::{Question, tls::Trust, upstream::Trouble};
use futures::{FutureExt, Stream, StreamExt};
use hickory_net::{
    BufDnsStreamHandle, DnsStreamHandle, NetError,
    proto::op::{Message, MessageType, SerialMessage},
    runtime::TokioRuntimeProvider,
    tcp::TcpClientStream,
    tls::tls_client_connect,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// A framed stream, whatever carries it.
type Framed = Box<dyn Stream<Item = Result<SerialMessage, NetError>> + Unpin + Send>;

/// An open connection. Dropping it closes it, whatever it is still to carry.
pub(super) struct Wire {
    stream: Framed,
    sender: BufDnsStreamHandle,
    peer: SocketAddr,
}

impl Wire {
    /// Opens a TCP connection within `limit`.
    pub(super) async fn tcp(peer: SocketAddr, limit: Duration) -> Result<Self, Trouble> {
        let provider = TokioRuntimeProvider::new();
        let (opening, sender) = TcpClientStream::new(peer, None, Some(limit), provider);
        let stream = opening.await.map_err(Trouble::opening)?;
        let stream = Box::new(stream);
        Ok(Self {
            stream,
            sender,
            peer,
        })
    }

    /// Opens a TCP connection and TLS on it (RFC 7858), within hickory's own limit of 5 seconds.
    pub(super) async fn tls(peer: SocketAddr, trust: &Trust) -> Result<Self, Trouble> {
        let provider = TokioRuntimeProvider::new();
        let (opening, sender) = tls_client_connect(
            peer,
            trust.name.clone(),
            Arc::clone(&trust.config),
            provider,
        );
        let stream = opening.await.map_err(Trouble::opening)?;
        let stream = Box::new(stream);
        Ok(Self {
            stream,
            sender,
            peer,
        })
    }

    /// Whether the other side still waits for a question: it neither closed nor said anything
    /// unasked. It may close at any moment after.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.stream.next().now_or_never().is_none()
    }

    /// Asks one question and waits for its answer, however long. After an error, or when dropped
    /// before the end, the connection must not be used again.
    pub(super) async fn exchange(
        &mut self,
        query: &Message,
        question: &Question,
    ) -> Result<Message, Trouble> {
        let octets = query.to_vec().map_err(|_| Trouble::Garbage("query"))?;
        let message = SerialMessage::new(octets, self.peer);
        self.sender.send(message).map_err(|_| Trouble::Closed)?;
        match self.stream.next().await {
            Some(Ok(message)) => check(message.bytes(), query.metadata.id, question),
            Some(Err(_)) | None => Err(Trouble::Closed),
        }
    }
}

/// Reads what came and checks that it answers this question: its id, its kind, and the question
/// itself (RFC 5452 9.1). On a connection, anything else is an error of the server.
pub(super) fn check(octets: &[u8], id: u16, question: &Question) -> Result<Message, Trouble> {
    let message = Message::from_vec(octets).map_err(|_| Trouble::Garbage("malformed"))?;
    if message.metadata.id != id {
        return Err(Trouble::Garbage("id"));
    }
    check_question(&message, question)?;
    Ok(message)
}

/// Checks that a message is a response to the question.
pub(super) fn check_question(message: &Message, question: &Question) -> Result<(), Trouble> {
    if message.metadata.message_type != MessageType::Response {
        return Err(Trouble::Garbage("no response"));
    }
    match message.queries.as_slice() {
        [one] if *one == question.to_query() => Ok(()),
        _ => Err(Trouble::Garbage("question")),
    }
}
