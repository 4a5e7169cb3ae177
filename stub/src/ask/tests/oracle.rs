//! The reader again, as simple as it gets: names as owned strings, records as a list, and what both
//! libcs' sources say in as many words. Replies are broken at random.

use super::{asking, judged, owned, queries, record, reply};
use crate::ask::{Asked, Verdict};
use crate::sys::Libc;
use nss_k8s_zone::{Address, Families, Family};
use proptest::prelude::*;

type Labels = Vec<Vec<u8>>;

/// A name and where it ends.
fn name(message: &[u8], at: usize, depth: usize) -> Option<(Labels, usize)> {
    let length = usize::from(*message.get(at)?);
    if depth > 300 {
        return None;
    }
    if length == 0 {
        return Some((Vec::new(), at + 1));
    }
    if length >= 0xc0 {
        let target = (length - 0xc0) << 8 | usize::from(*message.get(at + 1)?);
        return Some((name(message, target, depth + 1)?.0, at + 2));
    }
    if length > 63 {
        return None;
    }
    let label = message.get(at + 1..at + 1 + length)?.to_vec();
    let (rest, end) = name(message, at + 1 + length, depth + 1)?;
    Some(([vec![label], rest].concat(), end))
}

fn lower(labels: &Labels) -> Labels {
    labels
        .iter()
        .map(|label| label.to_ascii_lowercase())
        .collect()
}

struct Record {
    owner: Labels,
    kind: u16,
    class: u16,
    data: Vec<u8>,
    target: Option<Labels>,
}

fn records(message: &[u8]) -> Option<Vec<Record>> {
    let (_, end) = name(message, 12, 0)?;
    let mut at = end + 4;
    let count = u16::from_be_bytes([message[6], message[7]]);
    (0..count)
        .map(|_| {
            let (owner, end) = name(message, at, 0)?;
            let fixed = message.get(end..end + 10)?;
            let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
            let data = message.get(end + 10..end + 10 + length)?.to_vec();
            at = end + 10 + length;
            Some(Record {
                owner,
                kind: u16::from_be_bytes([fixed[0], fixed[1]]),
                class: u16::from_be_bytes([fixed[2], fixed[3]]),
                data,
                target: name(message, end + 10, 0).map(|(labels, _)| labels),
            })
        })
        .collect()
}

/// The addresses and the canonical name that the sources' loops find. `None`: malformed.
fn read(libc: Libc, message: &[u8], kind: u16) -> Option<(Vec<Vec<u8>>, Option<String>)> {
    let mut expected = lower(&name(message, 12, 0)?.0);
    let (mut addresses, mut canonical) = (Vec::new(), None);
    for record in records(message)? {
        if record.kind == 5 {
            let target = record.target?;
            canonical = Some(String::from_utf8(target.join(&b'.')).ok()?);
            expected = lower(&target);
        } else if record.kind == kind
            && record.class == 1
            && (libc == Libc::Musl || lower(&record.owner) == expected)
        {
            addresses.push(record.data);
        }
    }
    Some((addresses, canonical))
}

/// A label, mostly of a host's name.
fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-c]{1,3}".prop_map(String::into_bytes),
        1 => "[a-c_*.-]{1,3}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..64),
    ]
}

/// A name on the wire, often ending in a pointer to the question's.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![
        Just(vec![0]),
        Just(vec![0xc0, 12]),
        Just(vec![0xc0, 14]),
        (0_u8..64, any::<u8>()).prop_map(|(high, low)| vec![0xc0 | (high & 1), low]),
    ];
    (proptest::collection::vec(label(), 0..3), end).prop_map(|(labels, end)| {
        let mut octets = Vec::new();
        for label in labels {
            octets.push(label.len() as u8);
            octets.extend(label);
        }
        [octets, end].concat()
    })
}

/// A record: mostly an address or an alias in a chain that holds.
fn any_record() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any::<[u8; 4]>().prop_map(|data| record(1, &data)),
        1 => any::<[u8; 16]>().prop_map(|data| record(28, &data)),
        2 => wire().prop_map(|target| record(5, &target)),
        2 => (wire(), any::<[u8; 4]>()).prop_map(|(owner, data)| owned(&owner, 1, &data)),
        1 => (wire(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..8))
            .prop_map(|(owner, kind, data)| owned(&owner, kind, &data)),
    ]
}

fn octets(address: &Address) -> Vec<u8> {
    address.as_octets().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn an_answer_is_what_the_records_say(
        records in proptest::collection::vec(any_record(), 0..6),
        claimed in prop_oneof![4 => Just(None), 1 => any::<u16>().prop_map(Some)],
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        is_musl in any::<bool>(),
    ) {
        let libc = if is_musl { Libc::Musl } else { Libc::Glibc };
        let queries = queries(Families::V4);
        let count = claimed.unwrap_or(records.len() as u16);
        let mut message = reply(&queries, 0, [0, 0x80], count, &records.concat());
        let header = queries.framed(0).len() - 2;
        for (place, value) in flips {
            if message.len() > header {
                let place = header + place.index(message.len() - header);
                message[place] = value;
            }
        }
        let messages = [message.clone(), Vec::new()];
        let (verdict, addresses, canonical) =
            judged(libc, asking(), &queries, Families::V4, &messages);
        match verdict {
            Verdict::Final(Asked::Answer { count }) => {
                let (expected, name) = read(libc, &message, 1).expect("it can be read");
                prop_assert_eq!(count, addresses.len());
                prop_assert!(addresses.iter().all(|one| one.family == Family::V4));
                let found: Vec<_> = addresses.iter().map(octets).collect();
                prop_assert_eq!(found, expected);
                // musl leaves out names that it takes for none.
                if libc == Libc::Glibc || !canonical.is_empty() && name == Some(canonical.clone()) {
                    prop_assert_eq!(canonical, name.unwrap_or_default());
                }
            }
            Verdict::Final(Asked::NoData) => {
                if count > 0 {
                    prop_assert!(is_musl);
                    prop_assert!(read(libc, &message, 1).is_some_and(|found| found.0.is_empty()));
                }
            }
            other => prop_assert_eq!(other, Verdict::Final(Asked::Unusable)),
        }
    }

    #[test]
    fn any_octets_can_be_judged(
        first in proptest::collection::vec(any::<u8>(), 0..300),
        second in proptest::collection::vec(any::<u8>(), 0..300),
        is_musl in any::<bool>(),
    ) {
        let libc = if is_musl { Libc::Musl } else { Libc::Glibc };
        let queries = queries(Families::BOTH);
        let messages = [first, second];
        let got = judged(libc, asking(), &queries, Families::BOTH, &messages);
        prop_assert_eq!(got.0, Verdict::Next(Asked::NoReply));
    }
}
