//! The forwarder by itself as a DNS server: every question goes to the cache and the upstreams.

use super::{Client, Forwarder, Head, Question, Service, reply::HEADER};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};

impl Service for Forwarder {
    async fn answer(&self, query: &[u8], client: &Client) -> Vec<u8> {
        let Ok(message) = Message::from_vec(query) else {
            return malformed(query);
        };
        if message.metadata.message_type != MessageType::Query {
            return Vec::new();
        }
        if message.metadata.op_code != OpCode::Query {
            return refusal(&message, ResponseCode::NotImp);
        }
        let section = query.get(HEADER..).unwrap_or_default();
        let Some((question, length)) =
            Question::read(section).filter(|_| message.queries.len() == 1)
        else {
            return refusal(&message, ResponseCode::FormErr);
        };
        let dnssec_ok = message.edns.as_ref().is_some_and(|it| it.flags().dnssec_ok);
        let question = question.with_bits(dnssec_ok, message.metadata.checking_disabled);
        let answer = self.resolve(Some(&client.class), &question).await;
        let mut out = Vec::new();
        let head = Head::of(&message.metadata, dnssec_ok);
        answer.write(&head, &section[..length], &mut out);
        if message.edns.is_some() {
            append_edns(&mut out, dnssec_ok);
        }
        out
    }
}

/// Adds an OPT record to a message that has none (RFC 6891 6.1.2).
fn append_edns(message: &mut Vec<u8>, dnssec_ok: bool) {
    let [high, low] = Edns::new().max_payload().to_be_bytes();
    let flags = if dnssec_ok { 0x80 } else { 0 };
    if let Some(count) = message.get_mut(10..).and_then(<[u8]>::first_chunk_mut) {
        *count = u16::from_be_bytes(*count).saturating_add(1).to_be_bytes();
        message.extend_from_slice(&[0, 0, 41, high, low, 0, 0, flags, 0, 0, 0]);
    }
}

/// An answer with a code only.
fn refusal(query: &Message, code: ResponseCode) -> Vec<u8> {
    let mut message = Message::error_msg(query.metadata.id, query.metadata.op_code, code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.add_queries(query.queries.iter().cloned());
    message.to_vec().unwrap_or_default()
}

/// FORMERR to what has a header of a query at least; nothing to anything else.
fn malformed(query: &[u8]) -> Vec<u8> {
    match query.get(..HEADER) {
        Some([id, more, flags, ..]) if flags & 0x80 == 0 => {
            vec![*id, *more, 0x80 | (flags & 0x79), 1, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        _ => Vec::new(),
    }
}
