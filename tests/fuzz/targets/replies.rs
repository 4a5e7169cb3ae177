//! What servers reply: the stub reads it in the address space of whatever program asked.

use nss_k8s_stub::{
    Address, Families, Family, Name,
    ask::{Asked, Queries, Verdict, judge},
    resolv_conf::Asking,
    sys::Libc,
};

/// Octets of a header.
const HEADER: usize = 12;

/// The first octet chooses who asks for what, and whether the replies get the header and question
/// that make them be read; then come two replies, the first behind its length of one octet.
pub(crate) fn replies(bytes: &[u8]) {
    let Some(([options, length], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let has = |bit: u8| options >> bit & 1 == 1;
    let libc = if has(0) { Libc::Musl } else { Libc::Glibc };
    let families = match (has(1), has(2)) {
        (false, false) => Families::V4,
        (false, true) => Families::V6,
        _ => Families::BOTH,
    };
    let asking = Asking {
        over_tcp: has(3),
        is_strict: has(4),
        extends: has(5),
        ..Asking::default()
    };
    let queries = Queries::new(b"w.example", families, asking, 0x0807_0605_0403_0201);
    let queries = queries.expect("a name");
    let (first, second) = rest.split_at(rest.len().min(usize::from(*length) * 2));
    let mut messages = [first.to_vec(), second.to_vec()];
    if !has(6) {
        for (index, message) in messages.iter_mut().enumerate() {
            dress(&queries, index, message);
        }
    }
    let messages = messages.each_ref().map(Vec::as_slice);
    let mut room = [Address::UNSPECIFIED; 8];
    let mut canonical = Name::new();
    let mut ask = |room: &mut [Address]| {
        judge(
            libc,
            asking,
            &queries,
            families,
            messages,
            room,
            &mut canonical,
        )
    };
    let verdict = ask(&mut room);
    match verdict {
        Verdict::Final(Asked::Answer { count }) => check(libc, families, &room[..count]),
        Verdict::Final(Asked::Room(count)) => {
            assert!(count > room.len());
            let mut room = vec![Address::UNSPECIFIED; count];
            assert_eq!(ask(&mut room), Verdict::Final(Asked::Answer { count }));
            check(libc, families, &room);
        }
        Verdict::Final(Asked::NoReply) => panic!("nobody replied for good"),
        Verdict::Final(_) => {}
        Verdict::Next(asked) => assert!(matches!(
            asked,
            Asked::ServFail | Asked::Refused | Asked::NoReply
        )),
    }
    assert!(!canonical.as_bytes().contains(&0));
}

/// Of the families asked for, in this libc's order, and no more than it takes.
fn check(libc: Libc, families: Families, addresses: &[Address]) {
    assert!(!addresses.is_empty());
    assert!(addresses.iter().all(|one| families.contains(one.family)));
    let first = match libc {
        Libc::Glibc => Family::V4,
        Libc::Musl => Family::V6,
    };
    assert!(addresses.is_sorted_by_key(|one| one.family != first));
    assert!(libc == Libc::Glibc || addresses.len() <= 48);
}

/// Puts the query's identifier, QR and the question before what is left of a message: its first
/// octets are the flags, the code and the number of answers.
fn dress(queries: &Queries, index: usize, message: &mut Vec<u8>) {
    let framed = queries.framed(index);
    let Some((query, ([flags, code, count], records))) =
        framed.get(2..).zip(message.split_first_chunk())
    else {
        return;
    };
    let Some((header, question)) = query.split_first_chunk::<HEADER>() else {
        return;
    };
    let mut dressed = header.to_vec();
    dressed[2] = 0x80 | flags & 0x07;
    dressed[3] = *code;
    dressed[7] = *count;
    // No more records than the question: an OPT record stays where it is.
    let question = &question[..b"\x01w\x07example\0\0\x01\0\x01".len()];
    dressed.extend(question);
    dressed.extend(records);
    *message = dressed;
}
