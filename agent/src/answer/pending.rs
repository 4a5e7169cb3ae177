//! A question that an upstream must be asked, and the client's message made of what that says.

use super::{
    code,
    message::{self, Answered, Resource, Section},
    rules::Back,
    views::ZoneFile,
};
use crate::forward::{self, Class, Head, Question};
use std::sync::Arc;

/// A question that an upstream must be asked.
pub struct Pending {
    /// Which.
    pub(super) ask: Question,
    /// Whose it is.
    pub(super) class: Option<Class>,
    /// The client's.
    pub(super) question: Vec<u8>,
    pub(super) head: Head,
    pub(super) identifier: u16,
    /// Of an answer whose aliases lead out of the zone: the message so far, with them.
    pub(super) draft: Option<Vec<u8>>,
    pub(super) back: Option<Back>,
    /// Of who may not see everything: the zone with what it may, and its apex.
    pub(super) sight: Option<(Arc<ZoneFile>, String)>,
    pub(super) limit: usize,
    pub(super) opt: Option<Answered>,
}

impl Pending {
    /// The message with the aliases in `draft`, and what they lead to. What an upstream says of the
    /// target is said of the whole, but that an absent target is no absent alias (as CoreDNS has it).
    pub(super) fn append(&self, draft: &[u8], answer: &forward::Answer, out: &mut Vec<u8>) {
        let mut reply = Vec::new();
        answer.write(&self.head, &[], &mut reply);
        let code = reply.get(3).map_or(code::SERVFAIL, |code| code & 15);
        let heard = Resource::all(&reply).zip(Resource::all(draft));
        let Some((reply, aliases)) =
            heard.filter(|_| matches!(code, code::NOERROR | code::NXDOMAIN))
        else {
            out.extend_from_slice(draft);
            self.fail(out);
            return;
        };
        out.extend_from_slice(draft);
        let mut count: usize = aliases.len();
        let answers = reply.iter();
        for resource in answers.filter(|resource| resource.section == Section::Answer) {
            out.extend_from_slice(resource.owner.as_octets());
            for number in [resource.kind, resource.class] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            out.extend_from_slice(&resource.time_to_live.to_be_bytes());
            let length = u16::try_from(resource.data.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&resource.data);
            count += 1;
        }
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        out[6..8].copy_from_slice(&count.to_be_bytes());
    }

    /// Makes SERVFAIL of the message.
    pub(super) fn fail(&self, out: &mut Vec<u8>) {
        self.bare(code::SERVFAIL, out);
    }

    /// A response code, and no record.
    pub(super) fn bare(&self, code: u8, out: &mut Vec<u8>) {
        out.clear();
        let [high, low] = self.identifier.to_be_bytes();
        let flags = 0x80 | u8::from(self.head.recursion_desired);
        out.extend_from_slice(&[high, low, flags, code, 0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.question);
    }
}

/// Turns the names of a message back into what the client asked for.
pub(super) fn turn_back(out: &mut Vec<u8>, back: &Back, question: &[u8]) -> Option<()> {
    message::rename(out, &|name| back.turn(name))?;
    message::replace_question(out, question)
}
