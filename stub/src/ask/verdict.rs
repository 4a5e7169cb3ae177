//! What each libc makes of the replies to its questions, taken together.

use super::Asked;
use super::queries::Queries;
use super::reply::{Harvest, Reply};
use crate::message::{NOERROR, NXDOMAIN};
use crate::resolv_conf::Asking;
use crate::sys::Libc;
use nss_k8s_zone::{Address, Families, Family, Name};

/// No musl process takes more addresses (`MAXADDRS`).
const MUSL_ADDRESSES: usize = 48;

/// What one server's replies come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This libc asks nobody else.
    Final(Asked),
    /// It asks the next server, or again; with nobody left, this is what it knows.
    Next(Asked),
}

/// Judges the replies of one server, one per query, in the order of [`Queries`]. See [`Asked`] for
/// what `room` and `canonical` hold then. What is no reply to its question is
/// [`Asked::NoReply`].
pub fn judge(
    libc: Libc,
    asking: Asking,
    queries: &Queries,
    families: Families,
    messages: [&[u8]; 2],
    room: &mut [Address],
    canonical: &mut Name,
) -> Verdict {
    let mut pairs = messages.iter().take(queries.count()).enumerate();
    if pairs.any(|(index, message)| queries.index_of(message) != Some(index)) {
        return Verdict::Next(Asked::NoReply);
    }
    weigh(libc, asking, queries, families, messages, room, canonical)
}

/// [`judge`] of messages that are known to be the replies.
pub(super) fn weigh(
    libc: Libc,
    asking: Asking,
    queries: &Queries,
    families: Families,
    messages: [&[u8]; 2],
    room: &mut [Address],
    canonical: &mut Name,
) -> Verdict {
    canonical.clear();
    let family = if families.v4 { Family::V4 } else { Family::V6 };
    let [first, second] = messages.map(|message| Reply::new(queries, message));
    let has_two = queries.count() > 1;
    if first.is_none() || has_two && second.is_none() {
        return Verdict::Next(Asked::NoReply);
    }
    let second = second.filter(|_| has_two);
    let replies = [
        first.map(|reply| (reply, family)),
        second.map(|reply| (reply, Family::V6)),
    ];
    match libc {
        Libc::Glibc => as_glibc(asking, replies, room, canonical),
        Libc::Musl => as_musl(replies, room, canonical),
    }
}

/// The reply to each question and its family.
type Replies<'m> = [Option<(Reply<'m>, Family)>; 2];

/// A failure to one question is ignored when the other has a reply (resolv/res_send.c, `send_dg`);
/// over TCP each reply is taken (`send_vc`). Then resolv/res_query.c, `__res_context_query`, and
/// resolv/nss_dns/dns-host.c, `gaih_getanswer` and `getanswer_r`.
#[inline(never)]
fn as_glibc(
    asking: Asking,
    replies: Replies<'_>,
    room: &mut [Address],
    canonical: &mut Name,
) -> Verdict {
    let taken = replies.each_ref().map(|reply| {
        reply
            .as_ref()
            .filter(|(reply, _)| asking.over_tcp || !reply.is_failure())
    });
    let (first, second) = match taken {
        [Some(first), second] => (first, second),
        [None, Some(second)] => (second, None),
        // Of two failures libc remembers the one that came first.
        [None, None] => {
            return Verdict::Next(match replies {
                [Some((reply, _)), _] if reply.is_servfail() => Asked::ServFail,
                _ => Asked::Refused,
            });
        }
    };
    let has_two = matches!(replies, [_, Some(_)]);
    if asking.is_strict && has_two && second.is_none() {
        return Verdict::Next(Asked::Refused);
    }
    if first.0.is_empty() && second.is_none_or(|(second, _)| second.is_empty()) {
        let code = match first.0.code {
            NOERROR => second.map_or(NOERROR, |(second, _)| second.code),
            code => code,
        };
        return Verdict::Final(match code {
            NOERROR => Asked::NoData,
            NXDOMAIN => Asked::NxDomain,
            // resolv/res_query.c, `__res_context_search`, looks at the first reply alone.
            _ if first.0.is_servfail() => Asked::ServFail,
            // To servers that cannot read its OPT record glibc says it again without.
            _ if asking.extends => Asked::Unusable,
            _ => Asked::Refused,
        });
    }
    let mut harvest = Harvest::new(room, usize::MAX);
    for (reply, family) in [Some(first), second].into_iter().flatten() {
        // The first answer with addresses names the host.
        let mut other = Name::new();
        let name = if harvest.count == 0 {
            canonical.clear();
            &mut *canonical
        } else {
            &mut other
        };
        if reply
            .read(Libc::Glibc, *family, &mut harvest, name)
            .is_err()
        {
            return Verdict::Final(Asked::Unusable);
        }
    }
    harvest.verdict(Asked::Unusable)
}

/// src/network/lookup_name.c, `name_from_dns`: a failure to either question is one of the
/// candidate, and so is an NXDOMAIN, whichever comes first. res_msend.c accepts no other codes.
#[inline(never)]
fn as_musl(replies: Replies<'_>, room: &mut [Address], canonical: &mut Name) -> Verdict {
    for (reply, _) in replies.iter().flatten() {
        match reply.code {
            NOERROR => {}
            NXDOMAIN => return Verdict::Final(Asked::NxDomain),
            _ if reply.is_servfail() => return Verdict::Next(Asked::ServFail),
            _ => return Verdict::Next(Asked::Refused),
        }
    }
    let mut harvest = Harvest::new(room, MUSL_ADDRESSES);
    for (reply, family) in replies.into_iter().rev().flatten() {
        if reply
            .read(Libc::Musl, family, &mut harvest, canonical)
            .is_err()
        {
            return Verdict::Final(Asked::Unusable);
        }
    }
    harvest.verdict(Asked::NoData)
}

impl Harvest<'_> {
    /// `none` is what it is to have found nothing.
    fn verdict(&self, none: Asked) -> Verdict {
        Verdict::Final(match self.count {
            0 => none,
            count if self.fits() => Asked::Answer { count },
            count => Asked::Room(count),
        })
    }
}
