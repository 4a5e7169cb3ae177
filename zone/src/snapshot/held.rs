//! Answers to external names, as the forwarder held them.

use super::{Lookup, Snapshot};
use crate::{
    Address, Ask, Families, Family, Found, Name, Now,
    layout::{HELD_OTHER_TARGET, MAX_HELD_TTL, kind, verdict},
};

impl Snapshot<'_> {
    /// See [`Snapshot::held`].
    pub(super) fn find_held(
        &self,
        name: &[u8],
        families: Families,
        now: Now,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Option<Found> {
        let Lookup::Present(head) = self.record(name)? else {
            return Some(Found::Ask(Ask::NotHeld));
        };
        if head.kind() != kind::HELD || head.flags() & !HELD_OTHER_TARGET != 0 {
            return Some(Found::Ask(Ask::Unknown));
        }
        let expiries = self.words.load(head.chunks_at())?;
        let (mut denied, mut exists) = (false, false);
        for family in [Family::V4, Family::V6] {
            if families.contains(family) {
                match head.verdict(family) {
                    _ if !is_fresh(expiries, family, now) => {
                        return Some(Found::Ask(Ask::NotHeld));
                    }
                    verdict::DATA => exists = true,
                    verdict::NXDOMAIN => denied = true,
                    _ => return Some(Found::Ask(Ask::NotHeld)),
                }
            }
        }
        if denied == exists {
            // The families disagree, and what that means differs from libc to libc.
            return Some(Found::Ask(Ask::NotHeld));
        }
        if denied {
            return Some(Found::NxDomain);
        }
        let found = self.own_addresses(&head, families, room)?;
        let is_v4 = families.v4 && (!families.v6 || head.has(Families::V4) || !head.has(families));
        if is_v4 || head.flags() & HELD_OTHER_TARGET == 0 {
            self.words
                .append_to(head.target_at(), head.target_length(), canonical)?;
        } else {
            let at = head.chunks_at().wrapping_add(1);
            let length = usize::try_from(self.words.load(at)?).ok()?;
            self.words
                .append_to(at.wrapping_add(1), length, canonical)?;
        }
        Some(found)
    }
}

/// Whether an expiry (IPv4 : 32, IPv6 : 32) is still to come, or never comes. One that is further
/// away than any is ever written was written before the clock was put back.
const fn is_fresh(expiries: u64, family: Family, now: Now) -> bool {
    let expiry = match family {
        Family::V4 => expiries as u32,
        Family::V6 => (expiries >> 32) as u32,
    } as u64;
    expiry == 0 || (expiry > now.0 && expiry <= now.0.saturating_add(MAX_HELD_TTL))
}
