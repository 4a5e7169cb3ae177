//! What the kernel said in this second: a table in static memory that any thread reads and writes
//! without a lock.
//!
//! A slot holds a value and a check that is computed from the value, the question and the second.
//! Whoever reads computes the check again: a slot that two threads wrote at once, that a thread left
//! half-written (siglongjmp, fork), or that is from another second simply does not fit, and the
//! kernel is asked again. So nothing ever has to be locked, repaired or expired.
//!
//! The words are Relaxed: a slot publishes nothing but itself.

use core::sync::atomic::{AtomicU64, Ordering};

/// A question to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// An address, or a number.
    pub(super) subject: u128,
    /// Tells what is asked about the subject.
    pub(super) topic: u8,
}

/// An answer: an address, and 48 bits of facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) address: u128,
    /// Only the lower 48 bits are kept.
    pub(super) facts: u64,
}

/// Answers kept. A power of two; 32 octets each.
const SLOTS: usize = 512;
/// In so many slots from its own on an answer is looked for. With 250 answers kept, fewer than one
/// in a thousand finds none.
const REACH: usize = 16;

/// The table of a process.
pub(super) struct Table([[AtomicU64; 4]; SLOTS]);

impl Table {
    pub(super) const fn new() -> Self {
        Self([const { [const { AtomicU64::new(0) }; 4] }; SLOTS])
    }

    /// What was remembered in the second `now`.
    pub(super) fn recall(&self, question: Question, now: u64) -> Option<Answer> {
        let hash = hash(question, now);
        for place in 0..REACH {
            let [check, high, low, last] = self.slot(hash, place)?;
            let (high, low, last) = (
                high.load(Ordering::Relaxed),
                low.load(Ordering::Relaxed),
                last.load(Ordering::Relaxed),
            );
            if check.load(Ordering::Relaxed) == check_of(hash, high, low, last) {
                return Some(Answer {
                    address: u128::from(high) << 64 | u128::from(low),
                    facts: last >> 16,
                });
            }
            // Answers are never taken away: behind an empty slot there is none.
            if last == 0 {
                break;
            }
        }
        None
    }

    /// Remembers for the second `now`; another answer of this second may be forgotten for it.
    /// Without a clock (0) every answer would hold for good: then nothing is remembered.
    #[inline(never)]
    pub(super) fn remember(&self, question: Question, answer: Answer, now: u64) {
        if now == 0 {
            return;
        }
        let hash = hash(question, now);
        // The sixteen bits of the second decide only which slot is taken. 0 means empty.
        let second = (now % 0xffff).saturating_add(1);
        let full = usize::try_from(hash >> 60).unwrap_or(0);
        let place = (0..REACH)
            .find(|place| {
                self.slot(hash, *place)
                    .is_some_and(|[.., last]| last.load(Ordering::Relaxed) & 0xffff != second)
            })
            .unwrap_or(full);
        let Some([check, high, low, last]) = self.slot(hash, place) else {
            return;
        };
        let upper = u64::try_from(answer.address >> 64).unwrap_or(0);
        let lower = u64::try_from(answer.address & u128::from(u64::MAX)).unwrap_or(0);
        let facts = answer.facts << 16 | second;
        high.store(upper, Ordering::Relaxed);
        low.store(lower, Ordering::Relaxed);
        last.store(facts, Ordering::Relaxed);
        check.store(check_of(hash, upper, lower, facts), Ordering::Relaxed);
    }

    /// A slot: check, both halves of the address, facts above the second.
    fn slot(&self, hash: u64, place: usize) -> Option<&[AtomicU64; 4]> {
        let own = usize::try_from(hash >> 32).unwrap_or(0);
        self.0.get(own.wrapping_add(place) & (SLOTS - 1))
    }
}

/// Of the question and the second.
fn hash(question: Question, now: u64) -> u64 {
    let upper = u64::try_from(question.subject >> 64).unwrap_or(0);
    let lower = u64::try_from(question.subject & u128::from(u64::MAX)).unwrap_or(0);
    let when = now << 8 | u64::from(question.topic);
    mix(lower ^ mix(upper ^ mix(when)))
}

/// Never what an empty slot holds, but for one question in 2^64.
fn check_of(hash: u64, high: u64, low: u64, last: u64) -> u64 {
    let high = high.wrapping_mul(0x9fb2_1c65_1e98_df25);
    let low = low.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mix(hash ^ high ^ low.rotate_left(32) ^ last.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The finalizer of splitmix64: every input bit reaches every output bit.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(subject: u128) -> Question {
        Question { subject, topic: 1 }
    }

    fn answer(number: u64) -> Answer {
        Answer {
            address: u128::from(number) << 32 | 0xff00_0000_0000_0000_0000_0000_0000_0000,
            facts: number,
        }
    }

    #[test]
    fn an_answer_holds_for_its_second_its_subject_and_its_topic() {
        let table = Table::new();
        assert_eq!(table.recall(question(0), 3), None);
        table.remember(question(0), answer(7), 3);
        table.remember(question(5), answer(8), 3);
        assert_eq!(table.recall(question(0), 3), Some(answer(7)));
        assert_eq!(table.recall(question(5), 3), Some(answer(8)));
        assert_eq!(table.recall(question(5), 4), None);
        assert_eq!(table.recall(question(6), 3), None);
        let other = Question {
            topic: 2,
            ..question(5)
        };
        assert_eq!(table.recall(other, 3), None);
        table.remember(question(5), answer(8), 0);
        assert_eq!(table.recall(question(5), 0), None);
    }

    #[test]
    fn hundreds_fit_second_after_second() {
        let table = Table::new();
        for now in 1_000_000..1_000_020 {
            for number in 0..250 {
                table.remember(question(u128::from(number)), answer(number), now);
            }
            let kept = (0..250)
                .filter(|number| {
                    table.recall(question(u128::from(*number)), now) == Some(answer(*number))
                })
                .count();
            assert!(kept >= 248, "{kept}");
        }
    }

    #[test]
    fn more_than_fit_are_forgotten_and_never_mixed_up() {
        let table = Table::new();
        for number in 0..5000 {
            table.remember(question(u128::from(number)), answer(number), 9);
        }
        let mut kept = 0;
        for number in 0..5000 {
            if let Some(found) = table.recall(question(u128::from(number)), 9) {
                assert_eq!(found, answer(number));
                kept += 1;
            }
        }
        assert!((300..=SLOTS).contains(&kept), "{kept}");
    }

    /// Every mixture of an old and a new answer that a reader can see: a writer may be stopped
    /// anywhere, and another thread may see its words in any order.
    #[test]
    fn a_mixture_is_no_answer() {
        let (old, new) = (Table::new(), Table::new());
        old.remember(question(1), answer(1), 9);
        new.remember(question(1), answer(2), 9);
        let used = |slot: &[AtomicU64; 4]| slot[3].load(Ordering::Relaxed) != 0;
        let place = old.0.iter().position(used).unwrap();
        assert_eq!(new.0.iter().position(used), Some(place));
        for mixture in 0..16_u8 {
            let table = Table::new();
            for word in 0..4 {
                let of = if mixture >> word & 1 == 0 { &old } else { &new };
                let value = of.0[place][word].load(Ordering::Relaxed);
                table.0[place][word].store(value, Ordering::Relaxed);
            }
            // The upper half of the address (bit 1) is the same in both.
            let expected = match mixture & 0b1101 {
                0 => Some(answer(1)),
                0b1101 => Some(answer(2)),
                _ => None,
            };
            assert_eq!(table.recall(question(1), 9), expected, "{mixture:#06b}");
        }
    }

    #[test]
    fn threads_may_write_at_once() {
        let table = Table::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..2000_u64 {
                        let number = round % 40;
                        let subject = question(u128::from(number));
                        match table.recall(subject, 3) {
                            Some(found) => assert_eq!(found, answer(number)),
                            None => table.remember(subject, answer(number), 3),
                        }
                        table.remember(question(u128::from(round)), answer(round), 3);
                    }
                });
            }
        });
    }
}
