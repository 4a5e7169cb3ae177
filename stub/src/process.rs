//! Lookups of this process: its files, its environment and the one mapping of the zone.

mod outside;
mod path;

use crate::files::{Files, STANDS_BEFORE_LIBC};
use crate::message::kind;
use crate::order::arrange;
use crate::outcome::{By, Door, Outcome, Query, Reason, Said};
use crate::question::Question;
use crate::records::{self, RecordQuery, View};
use crate::resolv_conf::ResolvConf;
use crate::shadow;
use crate::short_way::ShortWay;
use crate::sys::{self, Libc, RawOs, ResolverState};
use crate::walk::{Lookup, is_ours};
use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};
use nss_k8s_zone::{Address, Families, Family, Found, Name, Now, Reader, Snapshot, text};
use outside::Outside;
pub(crate) use path::{ZONE_FILE, ZONE_PATH, publish_path, published_path, zone_path};

/// The zone, mapped at first use.
static READER: Reader = Reader::new();

/// What is known of names without dots.
static SHORT_WAY: ShortWay = ShortWay::new();

/// See [`crate::resolve`].
pub(crate) fn resolve(query: &Query<'_>, room: &mut [Address], canonical: &mut Name) -> Outcome {
    resolve_or_pass(query, room, canonical).unwrap_or_else(Outcome::Pass)
}

/// See [`crate::reverse`].
pub(crate) fn reverse(address: &Address, door: Door, names: &mut [Name]) -> Outcome {
    reverse_or_pass(address, door, names).unwrap_or_else(Outcome::Pass)
}

/// See [`crate::query`].
pub(crate) fn query(query: &RecordQuery<'_>, message: &mut [u8]) -> Outcome {
    query_or_pass(query, message).unwrap_or_else(Outcome::Pass)
}

fn resolve_or_pass(
    query: &Query<'_>,
    room: &mut [Address],
    canonical: &mut Name,
) -> Result<Outcome, Reason> {
    let path = zone_path()?;
    let question = Question::new(query)?;
    let now = sys::now();
    let libc = libc_behind(query.door)?;
    let files = Files::current(libc, now).ok_or(Reason::ResolvConf)?;
    if STANDS_BEFORE_LIBC && query.door != Door::Nss && files.hosts_may_have_name(query.name) {
        let outcome = files.hosts_addresses(query, room, canonical);
        if let Some(outcome) = outcome {
            return unless_switched_off(path, now, query.door, outcome);
        }
    }
    let resolv_conf = files.settings.admit(&question)?;
    refuse_patched(libc, resolv_conf)?;
    let lookup = Lookup {
        libc,
        resolv_conf,
        question: &question,
    };
    let asks = files.settings.asks_outside(query.door);
    let outcome = Outside::new(lookup, path, now, asks).resolve(room, canonical)?;
    match outcome {
        Outcome::Answer { count: 1 } => Ok(outcome),
        // Compared without regard to order, and with all that libc may have chosen from.
        Outcome::Answer { .. } if STANDS_BEFORE_LIBC && query.door == Door::Shadow => Ok(outcome),
        // What came from a server is in its order.
        Outcome::Answer { count } | Outcome::Asked(By::Held, Said::Answer(count)) => {
            let answer = room.get_mut(..count).unwrap_or(&mut []);
            Ok(outcome.recount(arrange(libc, answer, sys::shuffle_seed)))
        }
        outcome => Ok(files.settings.place(query.door, outcome)),
    }
}

fn reverse_or_pass(address: &Address, door: Door, names: &mut [Name]) -> Result<Outcome, Reason> {
    let path = zone_path()?;
    let now = sys::now();
    let libc = libc_behind(door)?;
    let files = Files::current(libc, now).ok_or(Reason::ResolvConf)?;
    if STANDS_BEFORE_LIBC && door == Door::Shim && files.hosts_may_have_address(address) {
        let outcome = files.hosts_names(address, names);
        if let Some(outcome) = outcome {
            return unless_switched_off(path, now, door, outcome);
        }
    }
    let resolv_conf = files.settings.open(door)?;
    refuse_patched(libc, resolv_conf)?;
    // Both libcs ask DNS for the IPv4 address that a mapped one carries.
    let plain = match address.family {
        Family::V6 if STANDS_BEFORE_LIBC => text::unmapped(address.octets),
        _ => *address,
    };
    let outcome = read(path, now, false, &mut |snapshot: &Snapshot<'_>| {
        let view = View {
            snapshot,
            records: None,
        };
        if !is_ours(resolv_conf, &view) {
            return Outcome::Pass(Reason::Foreign);
        }
        match snapshot.names(&plain, names) {
            Found::Answer { count } => Outcome::Answer { count },
            Found::NoData => Outcome::NoData,
            Found::NxDomain => Outcome::NxDomain,
            Found::Ask(ask) => Outcome::Pass(Reason::Ask(ask)),
            Found::Chase | Found::Outside => Outcome::Pass(Reason::External),
            Found::Room(wanted) => Outcome::Room(wanted),
            Found::Unavailable(why) => Outcome::Pass(Reason::Unavailable(why)),
        }
    })?;
    Ok(files.settings.place(door, outcome))
}

/// See [`crate::may_be_in_hosts_file`].
pub(crate) fn may_be_in_hosts_file(name: &[u8]) -> bool {
    let files = sys::host_libc().and_then(|libc| Files::current(libc, sys::now()));
    files.is_none_or(|files| files.hosts_may_have_name(name))
}

/// What the hosts file says stands only while there is a zone that does not switch us off.
#[inline(never)]
fn unless_switched_off(
    path: &CStr,
    now: Now,
    door: Door,
    outcome: Outcome,
) -> Result<Outcome, Reason> {
    match outcome {
        Outcome::Pass(reason) => Err(reason),
        outcome => read(path, now, door == Door::Shadow, &mut |_: &Snapshot<'_>| {
            outcome
        }),
    }
}

/// Neither the hosts file nor nsswitch.conf counts here: libc goes straight to DNS.
fn query_or_pass(query: &RecordQuery<'_>, message: &mut [u8]) -> Result<Outcome, Reason> {
    let path = zone_path()?;
    let families = Families::BOTH;
    let mut question = Question::new(&Query {
        name: query.name,
        families,
        door: Door::Shim,
    })?;
    question.is_absolute |= !query.searches;
    let now = sys::now();
    let libc = libc_behind(question.door)?;
    let files = Files::current(libc, now).ok_or(Reason::ResolvConf)?;
    let resolv_conf = files.settings.admit_records(&question)?;
    if let Some(state) = query.state
        && (state.adds_options() || !state.agrees_with(resolv_conf))
    {
        return Err(Reason::Patched);
    }
    // Versions that know the option say that there is no such data, without asking.
    if resolv_conf.no_aaaa && query.kind == kind::AAAA {
        return Err(Reason::ResolvConf);
    }
    read(path, now, false, &mut |snapshot: &Snapshot<'_>| {
        records::answer(libc, resolv_conf, snapshot, &question, query.kind, message)
    })
}

/// Where the program has changed this thread's resolver state, glibc does what that says.
#[inline(never)]
fn refuse_patched(libc: Libc, resolv_conf: &ResolvConf) -> Result<(), Reason> {
    if libc == Libc::Musl {
        return Ok(());
    }
    // SAFETY: glibc's own state of this thread, which nobody else writes.
    match ResolverState::of_thread().map(|state| unsafe { state.as_ref() }) {
        Some(state) if state.is_initialized() && !state.agrees_with(resolv_conf) => {
            Err(Reason::Patched)
        }
        _ => Ok(()),
    }
}

/// What looks into the zone. Behind a pointer to `dyn FnMut` each closure's body would be there twice:
/// once more for `call_once`, which nobody calls.
pub(crate) trait Look {
    fn look(&mut self, snapshot: &Snapshot<'_>) -> Outcome;
}

impl<F: FnMut(&Snapshot<'_>) -> Outcome> Look for F {
    fn look(&mut self, snapshot: &Snapshot<'_>) -> Outcome {
        self(snapshot)
    }
}

/// Has `ask` look into the zone, unless the zone itself says that we are switched off, or, but for
/// who sees `in_shadow`, that libc answers. Not generic: both directions share one copy of the
/// reader (2.5 KB).
pub(crate) fn read(
    path: &CStr,
    now: Now,
    in_shadow: bool,
    ask: &mut dyn Look,
) -> Result<Outcome, Reason> {
    read_of(&READER, path, now, in_shadow, ask)
}

/// The same with any file of the zone's format. Not inlined: there is one copy of the reader.
#[inline(never)]
pub(crate) fn read_of(
    reader: &Reader,
    path: &CStr,
    now: Now,
    in_shadow: bool,
    ask: &mut dyn Look,
) -> Result<Outcome, Reason> {
    reader
        .read(&RawOs, path, now, |snapshot| {
            if snapshot.is_for_everybody() {
                return ask.look(snapshot);
            }
            match exclusion(snapshot, in_shadow) {
                Some(reason) => Outcome::Pass(reason),
                None => ask.look(snapshot),
            }
        })
        .map_err(Reason::Unavailable)
}

/// Only glibc has NSS; behind the shim it must be known, for its rules and its memory layout.
fn libc_behind(door: Door) -> Result<Libc, Reason> {
    match door {
        Door::Shim | Door::Shadow if STANDS_BEFORE_LIBC => sys::host_libc().ok_or(Reason::Libc),
        _ => Ok(Libc::Glibc),
    }
}

/// Why the zone itself says that libc answers, if it does: this build is refused, this share of the
/// hosts is switched off, or the view is in shadow.
#[cold]
#[inline(never)]
fn exclusion(snapshot: &Snapshot<'_>, in_shadow: bool) -> Option<Reason> {
    if snapshot.refuses_build(crate::BUILD) || is_of_share(snapshot.disabled_permille()) {
        return Some(Reason::Disabled);
    }
    if !snapshot.is_shadow() || in_shadow {
        return None;
    }
    shadow::switch_on();
    Some(Reason::Shadow)
}

/// Whether this host is among the thousandths that are switched off.
pub(crate) fn is_of_share(permille: u16) -> bool {
    permille > 0 && share_of_host() < permille
}

/// This host's place among the thousand shares that a ramp goes through, from its name: all
/// processes of a pod go together. 0, the first to be switched off, where the name is not known.
fn share_of_host() -> u16 {
    /// 0: not computed yet; else the share plus one. One word; any thread may store it.
    static SHARE: AtomicU32 = AtomicU32::new(0);
    if let Some(share) = SHARE.load(Ordering::Relaxed).checked_sub(1) {
        return u16::try_from(share).unwrap_or(0);
    }
    let mut room = [0; 65];
    let share = share_of(sys::node_name(&mut room));
    SHARE.store(u32::from(share).saturating_add(1), Ordering::Relaxed);
    share
}

/// FNV-1a, then the upper bits scaled to 0..1000; 0 for no name.
fn share_of(name: &[u8]) -> u16 {
    if name.is_empty() {
        return 0;
    }
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in name {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    u16::try_from((hash >> 32).wrapping_mul(1000) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_spread() {
        let mut below_half = 0;
        for number in 0..10_000 {
            let share = share_of(format!("shop-{number}-x7k2p").as_bytes());
            assert!(share < 1000);
            below_half += u32::from(share < 500);
        }
        assert!((4_700..5_300).contains(&below_half), "{below_half}");
        assert_eq!(share_of(b""), 0);
    }
}
