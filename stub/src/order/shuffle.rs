//! The order in which libc receives addresses: the families apart, each shuffled anew for every
//! lookup, as the cluster's DNS would, so that clients spread over endpoints.

use crate::sys::Libc;
use nss_k8s_zone::{Address, Family};

/// No musl process can take more addresses than this (`MAXADDRS`).
const MUSL_ADDRESSES: usize = 48;

/// Arranges an answer and returns how many addresses of it this libc can take. glibc gets IPv4
/// first and musl IPv6, as their own DNS code hands them on to their sorting by RFC 6724.
pub(crate) fn arrange(libc: Libc, answer: &mut [Address], seed: impl FnOnce() -> u64) -> usize {
    let count = answer.len();
    if count > 1 {
        let first = match libc {
            Libc::Glibc => Family::V4,
            Libc::Musl => Family::V6,
        };
        let boundary = bring_forward(answer, first);
        let mut state = seed();
        if let Some((front, back)) = answer.split_at_mut_checked(boundary) {
            shuffle(front, &mut state);
            shuffle(back, &mut state);
        }
    }
    match libc {
        Libc::Glibc => count,
        Libc::Musl => count.min(MUSL_ADDRESSES),
    }
}

/// Moves the addresses of one family to the front; returns their number.
fn bring_forward(answer: &mut [Address], family: Family) -> usize {
    let mut boundary: usize = 0;
    for place in 0..answer.len() {
        if answer
            .get(place)
            .is_some_and(|address| address.family == family)
        {
            swap(answer, boundary, place);
            boundary = boundary.wrapping_add(1);
        }
    }
    boundary
}

/// Fisher-Yates. The generator is Marsaglia's xorshift64*; the bias of scaling by multiplication
/// is far below what 4,096 addresses could show.
fn shuffle(answer: &mut [Address], state: &mut u64) {
    let mut left = u32::try_from(answer.len()).unwrap_or(0);
    *state |= 1;
    while left > 1 {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        let random = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        let chosen = random.wrapping_mul(u64::from(left)) >> 32;
        left = left.wrapping_sub(1);
        let last = usize::try_from(left).unwrap_or(0);
        swap(answer, usize::try_from(chosen).unwrap_or(0), last);
    }
}

/// `slice::swap` without its panic.
fn swap(answer: &mut [Address], one: usize, other: usize) {
    if let (Some(first), Some(second)) = (answer.get(one).copied(), answer.get(other).copied()) {
        if let Some(slot) = answer.get_mut(one) {
            *slot = second;
        }
        if let Some(slot) = answer.get_mut(other) {
            *slot = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(number: u8, is_v6: bool) -> Address {
        if is_v6 {
            Address::v6([number; 16])
        } else {
            Address::v4([10, 0, 0, number])
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_families_stay_apart(
            kinds in proptest::collection::vec(any::<bool>(), 0..200),
            seed in any::<u64>(),
            is_musl in any::<bool>(),
        ) {
            let libc = if is_musl { Libc::Musl } else { Libc::Glibc };
            let before: Vec<_> =
                kinds.iter().zip(0..).map(|(is_v6, number)| address(number, *is_v6)).collect();
            let mut after = before.clone();
            let count = arrange(libc, &mut after, || seed);
            prop_assert_eq!(count, if is_musl { before.len().min(48) } else { before.len() });
            let first = if is_musl { Family::V6 } else { Family::V4 };
            prop_assert!(after.is_sorted_by_key(|address| address.family != first));
            after.sort();
            let mut before = before;
            before.sort();
            prop_assert_eq!(after, before);
        }
    }

    #[test]
    fn every_address_comes_first_about_as_often() {
        let mut firsts = [0_u32; 5];
        for seed in 0..10_000_u64 {
            let mut answer: Vec<_> = (0..5).map(|number| address(number, false)).collect();
            arrange(Libc::Glibc, &mut answer, || {
                seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            });
            firsts[usize::from(answer[0].octets[3])] += 1;
        }
        assert!(
            firsts.iter().all(|count| (1_800..2_200).contains(count)),
            "{firsts:?}"
        );
    }
}
