//! Lifetimes, and messages written again.

use super::*;
use hickory_proto::{
    op::OpCode,
    rr::{
        Name,
        rdata::{A, CNAME, MX, SOA, TXT},
    },
};
use proptest::prelude::*;
use std::net::Ipv4Addr;

const BOUNDS: Lifetimes = Lifetimes {
    min: 5,
    max: 100,
    negative: 50,
    failure: 1,
};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn question(text: &str) -> Question {
    Question::of(&name(text), RecordType::A).unwrap()
}

fn message(code: ResponseCode) -> Message {
    let mut message = Message::error_msg(7, OpCode::Query, code);
    message.metadata.recursion_available = true;
    message
}

fn address(owner: &str, ttl: u32) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(Ipv4Addr::LOCALHOST)))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(
        name("ns.example."),
        name("root.example."),
        1,
        2,
        3,
        4,
        minimum,
    );
    Record::from_rdata(name("example."), ttl, RData::SOA(soa))
}

fn reply(message: Message) -> Reply {
    Reply::new(message, &question("www.example."), &BOUNDS).unwrap()
}

/// Without its OPT record BADVERS would read as NOERROR: that there are no such records.
#[test]
fn a_code_that_needs_edns_is_a_failure() {
    for code in [ResponseCode::BADVERS, ResponseCode::BADCOOKIE] {
        let reply = reply(message(code));
        assert_eq!(reply.code(), ResponseCode::ServFail);
        assert_eq!(reply.verdict(), Verdict::Failure);
    }
}

#[test]
fn an_answer_lives_as_long_as_its_shortest_record() {
    for (ttls, lifetime) in [
        (&[60, 30][..], 30),
        (&[3][..], 5),
        (&[1000][..], 100),
        (&[60, 0][..], 0),
    ] {
        let mut message = message(ResponseCode::NoError);
        for ttl in ttls {
            message.add_answer(address("www.example.", *ttl));
        }
        let reply = reply(message);
        assert_eq!(
            (reply.lifetime(), reply.verdict()),
            (lifetime, Verdict::Records)
        );
        let shown = reply.to_message().unwrap().answers[0].ttl;
        assert_eq!(shown, ttls[0].clamp(BOUNDS.min, BOUNDS.max));
    }
    let mut other = message(ResponseCode::NoError);
    other.add_answer(address("www.example.", 60));
    other.add_additional(address("ns.example.", 20));
    assert_eq!(reply(other).lifetime(), 20);
}

#[test]
fn a_denial_lives_as_long_as_the_zone_says() {
    for (code, verdict) in [
        (ResponseCode::NXDomain, Verdict::NxDomain),
        (ResponseCode::NoError, Verdict::NoData),
    ] {
        for (ttl, minimum, lifetime) in [(40, 30, 30), (30, 40, 30), (900, 900, 50), (0, 9, 0)] {
            let mut message = message(code);
            message.add_authority(soa(ttl, minimum));
            let reply = reply(message);
            assert_eq!((reply.lifetime(), reply.verdict()), (lifetime, verdict));
        }
        assert_eq!(reply(message(code)).lifetime(), 0, "no SOA record");
    }
    // An alias to a name without addresses.
    let mut message = message(ResponseCode::NoError);
    let alias = RData::CNAME(CNAME(name("end.example.")));
    message.add_answer(Record::from_rdata(name("www.example."), 10, alias));
    message.add_authority(soa(40, 40));
    assert_eq!(reply(message).lifetime(), 10);
}

#[test]
fn what_is_truncated_or_refused_is_not_kept() {
    let mut truncated = message(ResponseCode::NoError);
    truncated.metadata.truncation = true;
    truncated.add_answer(address("www.example.", 60));
    assert_eq!(reply(truncated).lifetime(), 0);
    assert_eq!(reply(message(ResponseCode::Refused)).lifetime(), 0);
    assert_eq!(reply(message(ResponseCode::ServFail)).lifetime(), 1);
}

#[test]
fn a_client_gets_its_own_header_and_question() {
    let mut original = message(ResponseCode::NoError);
    original.metadata.authoritative = true;
    original.metadata.authentic_data = true;
    original.add_answer(address("www.example.", 60));
    original.set_edns(hickory_proto::op::Edns::new());
    let answer = Answer {
        age: 20,
        ..Answer::fresh(Arc::new(reply(original)), Source::Cache)
    };
    let asked = b"\x03WwW\x07eXample\x00\x00\x01\x00\x01";
    let mut octets = vec![9, 9];
    let head = Head {
        id: 0x1234,
        recursion_desired: true,
        authentic_data: false,
        checking_disabled: true,
    };
    answer.write(&head, asked, &mut octets);
    let octets = octets.strip_prefix(&[9, 9]).unwrap();
    assert_eq!(&octets[HEADER..HEADER + asked.len()], asked);
    let written = Message::from_vec(octets).unwrap();
    let metadata = &written.metadata;
    assert_eq!(metadata.id, 0x1234);
    assert!(metadata.authoritative && metadata.recursion_available);
    assert!(metadata.recursion_desired && metadata.checking_disabled);
    assert!(
        !metadata.authentic_data,
        "who did not ask for it is not told"
    );
    assert!(written.edns.is_none());
    assert_eq!(written.answers[0].ttl, 40);
    let mut octets = Vec::new();
    let head = Head {
        authentic_data: true,
        ..head
    };
    answer.write(&head, b"another question", &mut octets);
    let written = Message::from_vec(&octets).unwrap();
    assert!(written.metadata.authentic_data);
    assert_eq!(written.queries[0].name(), &name("www.example."));
}

#[test]
fn stale_answers_say_thirty_seconds_everywhere() {
    let mut original = message(ResponseCode::NoError);
    original.add_answer(address("www.example.", 90));
    original.add_answer(address("www.example.", 10));
    let answer = Answer {
        stale: Some(30),
        ..Answer::fresh(Arc::new(reply(original)), Source::Stale)
    };
    let mut octets = Vec::new();
    answer.write(&Head::default(), &[], &mut octets);
    let written = Message::from_vec(&octets).unwrap();
    assert!(written.answers.iter().all(|it| it.ttl == 30));
    assert_eq!(answer.remaining().as_secs(), 30);
}

#[test]
fn a_reply_of_ours_is_a_message() {
    let question = question("www.example.");
    for code in [ResponseCode::ServFail, ResponseCode::Refused] {
        let reply = Reply::bare(&question, code, 1);
        assert_eq!((reply.code(), reply.verdict()), (code, Verdict::Failure));
        let message = reply.to_message().unwrap();
        assert_eq!(message.queries, [question.to_query()]);
        assert_eq!(message.metadata.response_code, code);
        assert!(message.metadata.recursion_available && reply.is_ours());
    }
}

/// A record of some kind below a few names, so that names are compressed.
fn record() -> impl Strategy<Value = Record> {
    let owner = prop::sample::select(vec!["www.example.", "a.www.example.", "org.", "."]);
    (owner, any::<u32>(), 0..5).prop_map(|(owner, ttl, kind)| {
        let data = match kind {
            0 => RData::A(A(Ipv4Addr::LOCALHOST)),
            1 => RData::CNAME(CNAME(name("b.www.example."))),
            2 => RData::MX(MX::new(10, name("mx.org."))),
            3 => RData::TXT(TXT::new(vec!["\u{c0}\u{c}".to_owned(), String::new()])),
            _ => RData::SOA(SOA::new(
                name("ns.org."),
                name("www.example."),
                1,
                2,
                3,
                4,
                5,
            )),
        };
        Record::from_rdata(name(owner), ttl, data)
    })
}

proptest! {
    /// Whatever an upstream says, writing it counts down the TTLs of all its records and changes
    /// nothing else.
    #[test]
    fn writing_changes_times_only(
        answers in prop::collection::vec(record(), 0..20),
        authorities in prop::collection::vec(record(), 0..5),
        additionals in prop::collection::vec(record(), 0..5),
        age in 0..200u32,
    ) {
        let mut original = message(ResponseCode::NoError);
        original.add_answers(answers);
        original.add_authorities(authorities);
        original.add_additionals(additionals);
        let bounds = Lifetimes { min: 0, max: u32::MAX, negative: u32::MAX, failure: 1 };
        let question = question("www.example.");
        let reply = Arc::new(Reply::new(original.clone(), &question, &bounds).unwrap());
        let answer = Answer { age, ..Answer::fresh(reply, Source::Cache) };
        let mut octets = Vec::new();
        answer.write(&Head { id: 7, ..Head::default() }, &[], &mut octets);
        let written = Message::from_vec(&octets).unwrap();
        for record in original
            .answers
            .iter_mut()
            .chain(&mut original.authorities)
            .chain(&mut original.additionals)
        {
            record.ttl = record.ttl.saturating_sub(age);
        }
        original.queries = vec![question.to_query()];
        prop_assert_eq!(written, original);
    }

    /// Whatever octets come, they are refused, or become a reply that can be written and read.
    #[test]
    fn no_octets_break_a_reply(
        answers in prop::collection::vec(record(), 0..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let question = question("www.example.");
        let mut sound = message(ResponseCode::NoError);
        sound.add_query(question.to_query());
        sound.add_answers(answers);
        let mut octets = sound.to_vec().unwrap();
        for (at, octet) in &changes {
            let at = at.index(octets.len());
            octets[at] = *octet;
        }
        if changes.len() == 5 {
            octets.truncate(cut.index(octets.len()));
        }
        let Ok(message) = Message::from_vec(&octets) else {
            prop_assert!(!changes.is_empty());
            return Ok(());
        };
        let Ok(reply) = Reply::new(message, &question, &BOUNDS) else {
            return Ok(());
        };
        let _ = crate::forward::Held::of(&question, &reply);
        let answer = Answer { age: 7, ..Answer::fresh(Arc::new(reply), Source::Cache) };
        let mut octets = Vec::new();
        answer.write(&Head::default(), &[], &mut octets);
        prop_assert!(Message::from_vec(&octets).is_ok());
    }
}
