//! Answers octet by octet (RFC 1035 section 4): a message is written plain, from its header on, and
//! is taken apart again only where it is too long, or where names in it are to be others.

use super::{
    code, kind,
    name::{LONGEST, WireName},
    request::{HEADER, INTERNET, OPT, Request},
};
use std::collections::HashMap;

/// A message over TCP (RFC 1035 section 4.2.2).
pub(super) const LONGEST_MESSAGE: usize = 65_535;
/// So far a pointer reaches.
const POINTER_LIMIT: usize = 0x4000;
/// QR.
const RESPONSE: u8 = 0x80;
/// AA.
const AUTHORITATIVE: u8 = 0x04;
/// TC.
const TRUNCATED: u8 = 0x02;
/// CD.
const CHECKING_DISABLED: u8 = 0x10;

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// A message that is being written: sections in their order.
pub(super) struct Draft<'d> {
    out: &'d mut Vec<u8>,
    /// Where the records start.
    records: usize,
    counts: [u16; 3],
    /// There are more records than can be counted.
    overflows: bool,
}

impl<'d> Draft<'d> {
    /// An answer to `request`, empty so far, in the place of what `out` holds.
    pub(super) fn new(out: &'d mut Vec<u8>, request: &Request<'_>) -> Self {
        out.clear();
        out.extend_from_slice(&request.identifier.to_be_bytes());
        let checking = if request.checking_disabled {
            CHECKING_DISABLED
        } else {
            0
        };
        let flags = [RESPONSE | u8::from(request.recursion_desired), checking];
        out.extend_from_slice(&flags);
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(request.question);
        let records = out.len();
        Self {
            out,
            records,
            counts: [0; 3],
            overflows: false,
        }
    }

    /// Forgets all records.
    pub(super) fn clear(&mut self) {
        self.out.truncate(self.records);
        self.counts = [0; 3];
        self.overflows = false;
    }

    /// Adds a record of class IN; owner and names in its data plain.
    pub(super) fn record(
        &mut self,
        section: Section,
        owner: &[u8],
        kind: u16,
        time_to_live: u32,
        data: &[&[u8]],
    ) {
        let Some(count) = self.counts[section as usize].checked_add(1) else {
            self.overflows = true;
            return;
        };
        self.counts[section as usize] = count;
        self.out.extend_from_slice(owner);
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&INTERNET.to_be_bytes());
        self.out.extend_from_slice(&time_to_live.to_be_bytes());
        // Data made here is a few names at most.
        let length: usize = data.iter().map(|part| part.len()).sum();
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.out.extend_from_slice(&length.to_be_bytes());
        for part in data {
            self.out.extend_from_slice(part);
        }
    }

    /// Writes the header's part that is known only now.
    pub(super) fn finish(self, response_code: u8, is_authoritative: bool) {
        let Self {
            out,
            counts,
            overflows,
            ..
        } = self;
        if is_authoritative {
            out[2] |= AUTHORITATIVE;
        }
        if overflows {
            out[2] |= TRUNCATED;
        }
        out[3] |= response_code & 15;
        write_counts(out, counts);
    }
}

/// One record, its names plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) section: Section,
    pub(super) owner: WireName,
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) time_to_live: u32,
    pub(super) data: Vec<u8>,
}

impl Resource {
    /// Every record of a message with one question. `None`: it is malformed.
    pub(super) fn all(message: &[u8]) -> Option<Vec<Self>> {
        let (_, end) = WireName::decompress(message, HEADER)?;
        let mut at = end + 4;
        let mut all = Vec::new();
        for (index, section) in [Section::Answer, Section::Authority, Section::Additional]
            .into_iter()
            .enumerate()
        {
            for _ in 0..number(message, 6 + 2 * index)? {
                let (resource, next) = Self::read(message, at, section)?;
                all.push(resource);
                at = next;
            }
        }
        Some(all)
    }

    fn read(message: &[u8], at: usize, section: Section) -> Option<(Self, usize)> {
        let (owner, at) = WireName::decompress(message, at)?;
        let fixed: [u8; 10] = *message.get(at..)?.first_chunk()?;
        let [a, b, c, d, e, f, g, h, i, j] = fixed;
        let kind = u16::from_be_bytes([a, b]);
        let start = at + fixed.len();
        let end = start + usize::from(u16::from_be_bytes([i, j]));
        let raw = message.get(start..end)?;
        let mut data = Vec::with_capacity(raw.len());
        let layout = Layout::of(kind);
        let mut at = start + layout.before;
        data.extend_from_slice(message.get(start..at.min(end))?);
        for _ in 0..layout.names {
            let (name, next) = WireName::decompress(message, at)?;
            data.extend_from_slice(name.as_octets());
            at = next;
        }
        // Also where a name ends behind the data's end.
        data.extend_from_slice(message.get(at..end)?);
        let resource = Self {
            section,
            owner,
            kind,
            class: u16::from_be_bytes([c, d]),
            time_to_live: u32::from_be_bytes([e, f, g, h]),
            data,
        };
        Some((resource, end))
    }

    /// The names in its data.
    pub(super) fn names(&self) -> Vec<WireName> {
        let layout = Layout::of(self.kind);
        let mut rest = self.data.get(layout.before..).unwrap_or(&[]);
        let mut names = Vec::with_capacity(layout.names);
        for _ in 0..layout.names {
            let Some(name) = WireName::read(rest) else {
                break;
            };
            rest = rest.get(name.as_octets().len()..).unwrap_or(&[]);
            names.push(name);
        }
        names
    }

    /// Puts other names into the place of its own: of the owner, and of those in its data.
    pub(super) fn rename(&mut self, rename: &dyn Fn(&WireName) -> WireName) {
        self.owner = rename(&self.owner);
        let layout = Layout::of(self.kind);
        let mut data = Vec::with_capacity(self.data.len());
        let mut rest = &self.data[..];
        if let Some((before, after)) = rest.split_at_checked(layout.before) {
            data.extend_from_slice(before);
            rest = after;
            for _ in 0..layout.names {
                let Some(name) = WireName::read(rest) else {
                    break;
                };
                rest = rest.get(name.as_octets().len()..).unwrap_or(&[]);
                data.extend_from_slice(rename(&name).as_octets());
            }
        }
        data.extend_from_slice(rest);
        self.data = data;
    }
}

/// Where the names are in the data of the types that may have compressed ones (RFC 3597 section 4).
struct Layout {
    /// Octets before the names.
    before: usize,
    /// Names, one after the other.
    names: usize,
    /// Whether servers compress them: not those of later types than RFC 1035's.
    compresses: bool,
}

impl Layout {
    const fn of(kind: u16) -> Self {
        let (before, names, compresses) = match kind {
            kind::NS | kind::CNAME | kind::PTR => (0, 1, true),
            kind::SOA => (0, 2, true),
            kind::MX => (2, 1, true),
            kind::DNAME => (0, 1, false),
            kind::SRV => (6, 1, false),
            _ => (0, 0, false),
        };
        Self {
            before,
            names,
            compresses,
        }
    }
}

/// Makes the message in `out` (which has no OPT record) fit `limit` octets with the request's OPT
/// record, and adds that. What does not fit plain is compressed; what then does not fit is cut
/// between two records and marked, as miekg/dns does it (msg_truncate.go).
pub(super) fn close(out: &mut Vec<u8>, limit: usize, opt: Option<Answered>) {
    let limit = limit.min(LONGEST_MESSAGE) - opt.map_or(0, |_| OPT);
    if out.len() > limit {
        compress(out, limit);
    }
    if let Some(Answered {
        payload,
        dnssec_ok,
        code,
    }) = opt
    {
        let additionals = number(out, 10).unwrap_or(0).saturating_add(1);
        out[10..12].copy_from_slice(&additionals.to_be_bytes());
        out.extend_from_slice(&[0]);
        out.extend_from_slice(&kind::OPT.to_be_bytes());
        out.extend_from_slice(&payload.to_be_bytes());
        out.extend_from_slice(&[code, 0, u8::from(dnssec_ok) << 7, 0, 0, 0]);
    }
}

/// What our OPT record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// So many octets we take over UDP.
    pub(super) payload: u16,
    /// DO, as the client set it (RFC 3225 section 3).
    pub(super) dnssec_ok: bool,
    /// The upper octet of the response code.
    pub(super) code: u8,
}

/// Writes the message again, compressed, with as many of its records as fit.
#[cold]
fn compress(out: &mut Vec<u8>, limit: usize) {
    let Some(resources) = Resource::all(out) else {
        // An upstream's, and not one that can be read: there is no honest part of it.
        out[3] = out[3] & 0xf0 | code::SERVFAIL;
        write_counts(out, [0; 3]);
        let end = WireName::decompress(out, HEADER).map_or(HEADER, |(_, end)| end + 4);
        out.truncate(end);
        return;
    };
    let Some((question, records)) = WireName::decompress(out, HEADER) else {
        return;
    };
    out.truncate(records + 4);
    let mut offsets = HashMap::new();
    remember(&mut offsets, question.as_octets(), HEADER);
    let mut counts = [0; 3];
    for resource in resources {
        let start = out.len();
        put_compressed(out, &mut offsets, resource.owner.as_octets());
        for number in [resource.kind, resource.class] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&resource.time_to_live.to_be_bytes());
        let at_length = out.len();
        out.extend_from_slice(&[0, 0]);
        let layout = Layout::of(resource.kind);
        let mut rest = &resource.data[..];
        if layout.compresses
            && let Some((before, after)) = rest.split_at_checked(layout.before)
        {
            out.extend_from_slice(before);
            rest = after;
            for _ in 0..layout.names {
                let Some(name) = WireName::read(rest) else {
                    break;
                };
                put_compressed(out, &mut offsets, name.as_octets());
                rest = rest.get(name.as_octets().len()..).unwrap_or(&[]);
            }
        }
        out.extend_from_slice(rest);
        let length = u16::try_from(out.len() - at_length - 2).unwrap_or(u16::MAX);
        out[at_length..at_length + 2].copy_from_slice(&length.to_be_bytes());
        if out.len() > limit {
            out.truncate(start);
            out[2] |= TRUNCATED;
            break;
        }
        counts[resource.section as usize] += 1;
    }
    write_counts(out, counts);
}

/// Appends a name, its end by reference where it has been written before.
fn put_compressed(out: &mut Vec<u8>, offsets: &mut HashMap<Vec<u8>, u16>, name: &[u8]) {
    let mut rest = name;
    while let Some(&length) = rest.first()
        && length > 0
    {
        if let Some(offset) = offsets.get(rest) {
            out.extend_from_slice(&(0xc000 | offset).to_be_bytes());
            return;
        }
        let at = out.len();
        let (label, next) = rest.split_at(usize::from(length) + 1);
        if at < POINTER_LIMIT {
            offsets.insert(rest.to_vec(), u16::try_from(at).unwrap_or(0));
        }
        out.extend_from_slice(label);
        rest = next;
    }
    out.push(0);
}

/// Takes down where a name that stands at `at`, and its ends, can be referred to.
fn remember(offsets: &mut HashMap<Vec<u8>, u16>, name: &[u8], at: usize) {
    debug_assert!(at + LONGEST < POINTER_LIMIT, "only the question's name");
    let mut rest = name;
    while let Some(&length) = rest.first()
        && length > 0
    {
        let offset = at + name.len() - rest.len();
        offsets.insert(rest.to_vec(), u16::try_from(offset).unwrap_or(0));
        rest = rest.get(usize::from(length) + 1..).unwrap_or(&[]);
    }
}

/// Puts other names in the place of the records' own; nothing else changes.
#[cold]
pub(super) fn rename(out: &mut Vec<u8>, rename: &dyn Fn(&WireName) -> WireName) -> Option<()> {
    let mut resources = Resource::all(out)?;
    for resource in &mut resources {
        resource.rename(rename);
    }
    write_resources(out, &resources)
}

/// Puts these records into the place of a message's own; they are in the order of their sections.
#[cold]
pub(super) fn write_resources(out: &mut Vec<u8>, resources: &[Resource]) -> Option<()> {
    let (_, records) = WireName::decompress(out, HEADER)?;
    out.truncate(records + 4);
    let mut counts = [0; 3];
    for resource in resources {
        out.extend_from_slice(resource.owner.as_octets());
        for number in [resource.kind, resource.class] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&resource.time_to_live.to_be_bytes());
        let length = u16::try_from(resource.data.len()).ok()?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&resource.data);
        counts[resource.section as usize] += 1;
    }
    write_counts(out, counts);
    Some(())
}

/// Puts another question into the place of a message's.
pub(super) fn replace_question(out: &mut Vec<u8>, question: &[u8]) -> Option<()> {
    let (_, end) = WireName::decompress(out, HEADER)?;
    out.get(..end + 4)?;
    out.splice(HEADER..end + 4, question.iter().copied());
    Some(())
}

fn write_counts(out: &mut [u8], counts: [u16; 3]) {
    for (place, count) in out[6..HEADER].chunks_exact_mut(2).zip(counts) {
        place.copy_from_slice(&count.to_be_bytes());
    }
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
