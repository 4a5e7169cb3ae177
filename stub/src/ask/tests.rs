//! Verdicts on replies, against tables and against a reader written apart.

mod oracle;

use super::{Asked, Queries, Verdict, judge};
use crate::resolv_conf::{Asking, ResolvConf};
use crate::sys::Libc::{self, Glibc, Musl};
use nss_k8s_zone::{Address, Families, Name};

/// The questions of every case.
fn queries(families: Families) -> Queries {
    Queries::new(b"w.example", families, asking(), 0x0102_0304_0506_0708).unwrap()
}

fn asking() -> Asking {
    ResolvConf::empty().asking
}

/// A reply to one of them: flags beside QR and RD, a code, and records as octets.
fn reply(queries: &Queries, index: usize, flags: [u8; 2], count: u16, records: &[u8]) -> Vec<u8> {
    let mut message = queries.framed(index)[2..].to_vec();
    message[2] |= 0x80 | flags[0];
    message[3] = flags[1];
    message[6..8].copy_from_slice(&count.to_be_bytes());
    message.extend(records);
    message
}

/// A record of the question's name.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    owned(&[0xc0, 12], kind, data)
}

fn owned(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut octets = owner.to_vec();
    octets.extend(kind.to_be_bytes());
    octets.extend([0, 1, 0, 0, 0, 30]);
    octets.extend((data.len() as u16).to_be_bytes());
    octets.extend(data);
    octets
}

/// What a reply to either question says.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// An address of its family.
    Data,
    /// RA and this code, and nothing else.
    Code(u8),
    /// Neither knows nor can find out.
    Lame,
    /// A CNAME alone.
    Alias,
    /// A CNAME, and that its target does not exist.
    Broken,
}

impl Says {
    fn message(self, queries: &Queries, index: usize) -> Vec<u8> {
        let alias = record(5, b"\x01t\xc0\x0e");
        let (flags, records) = match self {
            Self::Data if index == 0 => ([0, 0x80], vec![record(1, &[192, 0, 2, 1])]),
            Self::Data => ([0, 0x80], vec![record(28, &[0x20; 16])]),
            Self::Code(code) => ([0, 0x80 | code], vec![]),
            Self::Lame => ([0, 0], vec![]),
            Self::Alias => ([0, 0x80], vec![alias]),
            Self::Broken => ([0, 0x83], vec![alias]),
        };
        reply(
            queries,
            index,
            flags,
            records.len() as u16,
            &records.concat(),
        )
    }
}

fn verdict(libc: Libc, asking: Asking, first: Says, second: Says) -> Verdict {
    let queries = queries(Families::BOTH);
    let messages = [first.message(&queries, 0), second.message(&queries, 1)];
    judged(libc, asking, &queries, Families::BOTH, &messages).0
}

fn judged(
    libc: Libc,
    asking: Asking,
    queries: &Queries,
    families: Families,
    messages: &[Vec<u8>; 2],
) -> (Verdict, Vec<Address>, String) {
    let mut room = [Address::UNSPECIFIED; 64];
    let mut canonical = Name::new();
    let messages = messages.each_ref().map(Vec::as_slice);
    let verdict = judge(
        libc,
        asking,
        queries,
        families,
        messages,
        &mut room,
        &mut canonical,
    );
    let count = match verdict {
        Verdict::Final(Asked::Answer { count }) => count,
        _ => 0,
    };
    let name = String::from_utf8(canonical.as_bytes().to_vec()).unwrap();
    (verdict, room[..count].to_vec(), name)
}

const fn answer(count: usize) -> Verdict {
    Verdict::Final(Asked::Answer { count })
}

#[test]
fn two_replies_are_taken_together_as_each_libc_does() {
    use Asked::{NoData, NxDomain, Refused, ServFail, Unusable};
    use Says::{Alias, Broken, Code, Data, Lame};
    use Verdict::{Final, Next};
    let none = Code(0);
    let cases = [
        (Data, Data, answer(2), answer(2)),
        (Data, none, answer(1), answer(1)),
        (none, Data, answer(1), answer(1)),
        (none, none, Final(NoData), Final(NoData)),
        (Code(3), Code(3), Final(NxDomain), Final(NxDomain)),
        (Data, Code(3), answer(1), Final(NxDomain)),
        (Code(3), Data, answer(1), Final(NxDomain)),
        (none, Code(3), Final(NxDomain), Final(NxDomain)),
        (Code(3), none, Final(NxDomain), Final(NxDomain)),
        (Data, Code(2), answer(1), Next(ServFail)),
        (Code(2), Data, answer(1), Next(ServFail)),
        (Data, Code(5), answer(1), Next(Refused)),
        (none, Code(2), Final(NoData), Next(ServFail)),
        (Code(3), Code(2), Final(NxDomain), Final(NxDomain)),
        (Code(2), Code(3), Final(NxDomain), Next(ServFail)),
        (Code(2), Code(2), Next(ServFail), Next(ServFail)),
        (Code(2), Code(5), Next(ServFail), Next(ServFail)),
        (Code(5), Code(2), Next(Refused), Next(Refused)),
        (Code(5), Code(4), Next(Refused), Next(Refused)),
        (Code(1), Code(1), Final(Refused), Next(Refused)),
        (Code(1), Data, answer(1), Next(Refused)),
        (Code(1), Code(3), Final(Refused), Next(Refused)),
        (Lame, Lame, Next(Refused), Final(NoData)),
        (Data, Lame, answer(1), answer(1)),
        (Lame, none, Final(NoData), Final(NoData)),
        (Alias, Alias, Final(Unusable), Final(NoData)),
        (Data, Alias, answer(1), answer(1)),
        (Alias, Data, answer(1), answer(1)),
        (Alias, Code(3), Final(Unusable), Final(NxDomain)),
        (Broken, Broken, Final(NxDomain), Final(NxDomain)),
        (Data, Broken, answer(1), Final(NxDomain)),
    ];
    for (first, second, on_glibc, on_musl) in cases {
        let got = [Glibc, Musl].map(|libc| verdict(libc, asking(), first, second));
        assert_eq!(got, [on_glibc, on_musl], "{first:?} {second:?}");
    }
}

#[test]
fn options_change_what_a_failure_is() {
    use Says::{Code, Data, Lame};
    let over_tcp = Asking {
        over_tcp: true,
        ..asking()
    };
    for (first, second, expected) in [
        (Code(2), Code(2), Asked::ServFail),
        (Code(5), Code(5), Asked::Refused),
        (Lame, Lame, Asked::NoData),
        // glibc looks at the first reply's code alone to tell whether to go on in the list.
        (Code(0), Code(2), Asked::Refused),
        (Code(2), Data, Asked::Answer { count: 1 }),
    ] {
        let got = verdict(Glibc, over_tcp, first, second);
        assert_eq!(got, Verdict::Final(expected), "{first:?} {second:?}");
    }
    let strict = Asking {
        is_strict: true,
        ..asking()
    };
    let extended = Asking {
        extends: true,
        ..asking()
    };
    let unusable = Verdict::Final(Asked::Unusable);
    assert_eq!(verdict(Glibc, extended, Code(1), Code(1)), unusable);
    assert_eq!(verdict(Glibc, extended, Code(1), Data), answer(1));
    let refused = Verdict::Next(Asked::Refused);
    assert_eq!(verdict(Glibc, strict, Data, Code(2)), refused);
    assert_eq!(verdict(Glibc, strict, Code(2), Data), refused);
    assert_eq!(verdict(Glibc, strict, Data, Data), answer(2));
}

#[test]
fn a_server_that_knows_or_can_find_out_is_not_lame() {
    let queries = queries(Families::V4);
    // AA; RA; a record of authority or an additional one: glibc looks at the latter alone.
    for (flags, authorities, additionals, is_lame) in [
        ([0, 0], 0, 0, true),
        ([0, 0], 1, 0, true),
        ([4, 0], 0, 0, false),
        ([0, 0x80], 0, 0, false),
        ([0, 0], 0, 1, false),
    ] {
        let mut message = reply(&queries, 0, flags, 0, b"");
        message[9] = authorities;
        message[11] = additionals;
        let messages = [message, Vec::new()];
        let got = judged(Glibc, asking(), &queries, Families::V4, &messages);
        let expected = if is_lame {
            Verdict::Next(Asked::Refused)
        } else {
            Verdict::Final(Asked::NoData)
        };
        assert_eq!(got.0, expected, "{flags:?} {authorities} {additionals}");
    }
}

#[test]
fn the_first_reply_with_addresses_names_the_host() {
    let queries = queries(Families::BOTH);
    let chain =
        |target: &[u8], kind, data: &[u8]| [record(5, target), owned(target, kind, data)].concat();
    let messages = [
        reply(&queries, 0, [0, 0x80], 2, &chain(b"\x02v4\0", 1, &[1; 4])),
        reply(&queries, 1, [0, 0x80], 2, &chain(b"\x02v6\0", 28, &[1; 16])),
    ];
    // musl reads the second reply first, and lets each CNAME name the host anew.
    for libc in [Glibc, Musl] {
        let got = judged(libc, asking(), &queries, Families::BOTH, &messages);
        assert_eq!((got.0, got.2.as_str()), (answer(2), "v4"), "{libc:?}");
    }
    let [first, mut second] = messages;
    second[2] |= 0x02;
    let cut = [first, second];
    let got = judged(Glibc, asking(), &queries, Families::BOTH, &cut);
    assert_eq!(got.0, Verdict::Next(Asked::NoReply), "one of them is cut");
}

#[test]
fn one_question_has_one_reply() {
    for (families, kind, octets) in [(Families::V4, 1, 4), (Families::V6, 28, 16)] {
        let queries = queries(families);
        let data = record(kind, &[7; 16][..octets]);
        for libc in [Glibc, Musl] {
            let messages = [reply(&queries, 0, [0, 0x80], 1, &data), Vec::new()];
            let got = judged(libc, asking(), &queries, families, &messages);
            assert_eq!(got.0, answer(1));
            let messages = [reply(&queries, 0, [0, 0x82], 0, b""), Vec::new()];
            let got = judged(libc, asking(), &queries, families, &messages);
            assert_eq!(got.0, Verdict::Next(Asked::ServFail));
        }
    }
}

#[test]
fn addresses_belong_to_the_end_of_the_chain() {
    let queries = queries(Families::V4);
    let data = [192, 0, 2, 1];
    // The target of the alias: label "t" before "example" of the question.
    let alias = record(5, b"\x01t\xc0\x0e");
    let target = b"\x01T\x07eXample\0";
    /// Records, and what each libc makes of them: verdict and canonical name.
    type Case<'c> = (Vec<Vec<u8>>, Verdict, &'c str, Verdict, &'c str);
    let unusable = Verdict::Final(Asked::Unusable);
    let cases: &[Case<'_>] = &[
        (
            vec![alias.clone(), owned(target, 1, &data)],
            answer(1),
            "t.example",
            answer(1),
            "t.example",
        ),
        (
            vec![alias.clone(), record(1, &data)],
            unusable,
            "",
            answer(1),
            "t.example",
        ),
        (
            vec![owned(b"\x01x\0", 1, &data)],
            unusable,
            "",
            answer(1),
            "",
        ),
        // What is neither address nor alias is nobody's.
        (
            vec![owned(b"\x01x\0", 46, b"signature"), record(1, &data)],
            answer(1),
            "",
            answer(1),
            "",
        ),
        // An underscore is no part of a host's name on musl.
        (
            vec![record(5, b"\x02_t\0"), owned(b"\x02_t\0", 1, &data)],
            answer(1),
            "_t",
            answer(1),
            "",
        ),
        (
            vec![record(5, b"\x02-t\0"), owned(b"\x02-t\0", 1, &data)],
            unusable,
            "",
            answer(1),
            "-t",
        ),
        (
            vec![record(5, b"\x02a*\0"), owned(b"\x02a*\0", 1, &data)],
            unusable,
            "",
            answer(1),
            "",
        ),
        (
            vec![record(5, b"\x02a\xc3\0"), owned(b"\x02a\xc3\0", 1, &data)],
            unusable,
            "",
            unusable,
            "",
        ),
        // A dot inside of a label.
        (
            vec![record(5, b"\x03a.b\0"), owned(b"\x03a.b\0", 1, &data)],
            unusable,
            "",
            unusable,
            "",
        ),
        (vec![record(1, &data[..3])], unusable, "", unusable, ""),
        (vec![record(1, &[1; 5])], unusable, "", unusable, ""),
        // Something behind the target: musl looks at its beginning.
        (
            vec![record(5, b"\x01t\0\0"), owned(b"\x01t\0", 1, &data)],
            unusable,
            "",
            answer(1),
            "t",
        ),
        // Of the other family.
        (
            vec![record(28, &[1; 16]), record(1, &data)],
            unusable,
            "",
            answer(1),
            "",
        ),
    ];
    for (records, on_glibc, name, on_musl, musl_name) in cases {
        let message = reply(
            &queries,
            0,
            [0, 0x80],
            records.len() as u16,
            &records.concat(),
        );
        for (libc, expected, name) in [(Glibc, on_glibc, name), (Musl, on_musl, musl_name)] {
            let messages = [message.clone(), Vec::new()];
            let got = judged(libc, asking(), &queries, Families::V4, &messages);
            assert_eq!(got.0, *expected, "{libc:?} {records:?}");
            if got.0 == answer(1) {
                assert_eq!(got.2, *name, "{libc:?} {records:?}");
            }
        }
    }
}

#[test]
fn names_end() {
    let queries = queries(Families::V4);
    let at = (queries.framed(0).len() - 2) as u16;
    let pointer = |to: u16| (0xc000 | to).to_be_bytes();
    // Pointers at themselves, at each other, beyond the end, and more of them than any name needs.
    let mut chain = Vec::new();
    for number in 0..200 {
        chain.extend(pointer(at + 2 * number + 2));
    }
    chain.push(0);
    let long = [&[63_u8][..], &[b'a'; 63]].concat();
    let tails = [
        pointer(at).to_vec(),
        [pointer(at + 2), pointer(at)].concat(),
        pointer(0x3fff).to_vec(),
        chain,
        [&long.repeat(4)[..], b"\0"].concat(),
        b"\x40a\0".to_vec(),
        b"\x80a\0".to_vec(),
        vec![0xc0],
        vec![3, b'a'],
        Vec::new(),
    ];
    for name in tails {
        let records = owned(&name, 1, &[1, 2, 3, 4]);
        for cut in [records.len(), name.len()] {
            let messages = [
                reply(&queries, 0, [0, 0x80], 1, &records[..cut]),
                Vec::new(),
            ];
            for libc in [Glibc, Musl] {
                let got = judged(libc, asking(), &queries, Families::V4, &messages);
                assert_eq!(got.0, Verdict::Final(Asked::Unusable), "{name:?}");
            }
        }
    }
}
