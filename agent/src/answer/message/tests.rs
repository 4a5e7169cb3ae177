use super::*;
use hickory_proto::op::Message;

/// A query for the addresses of `crowd.shop`.
fn request() -> Request<'static> {
    const QUESTION: &[u8] = b"\x05Crowd\x04shop\0\0\x01\0\x01";
    Request {
        identifier: 7,
        recursion_desired: true,
        authentic_data: false,
        checking_disabled: true,
        question: QUESTION,
        name: WireName::read(QUESTION).unwrap(),
        kind: kind::A,
        class: INTERNET,
        extended: None,
    }
}

/// An answer of so many addresses, an SOA record, and one address more.
fn crowd(addresses: u8) -> Vec<u8> {
    let request = request();
    let mut out = Vec::new();
    let mut draft = Draft::new(&mut out, &request);
    let owner = request.name.as_octets();
    for last in 0..addresses {
        draft.record(Section::Answer, owner, kind::A, 5, &[&[10, 0, 0, last]]);
    }
    let numbers = [0; 20];
    let data = [b"\x02ns\x04shop\0", &b"\x04shop\0"[..], &numbers];
    draft.record(Section::Authority, b"\x04shop\0", kind::SOA, 5, &data);
    draft.record(
        Section::Additional,
        b"\x02ns\x04shop\0",
        kind::A,
        5,
        &[&[10, 0, 1, 0]],
    );
    draft.finish(code::NOERROR, true);
    out
}

fn parse(message: &[u8]) -> Message {
    Message::from_vec(message).expect("a message")
}

#[test]
fn what_fits_is_plain() {
    let mut out = crowd(2);
    let whole = out.clone();
    close(&mut out, whole.len(), None);
    assert_eq!(out, whole);
    let message = parse(&out);
    assert_eq!((message.metadata.id, message.answers.len()), (7, 2));
    let flags = &message.metadata;
    assert!(flags.authoritative && flags.recursion_desired && flags.checking_disabled);
    assert!(!flags.truncation && !flags.recursion_available);
}

#[test]
fn what_does_not_is_compressed_and_says_the_same() {
    let mut out = crowd(20);
    let plain = parse(&out);
    let length = out.len();
    close(&mut out, length - 1, None);
    assert!(out.len() < length);
    let message = parse(&out);
    assert_eq!(message.answers, plain.answers);
    assert_eq!(message.authorities, plain.authorities);
    assert_eq!(message.additionals, plain.additionals);
    assert!(!message.metadata.truncation);
    // The owner's case is the question's.
    assert_eq!(&out[request().question.len() + HEADER..][..2], [0xc0, 12]);
}

#[test]
fn every_limit_is_kept_and_says_so() {
    let opt = Answered {
        payload: 1232,
        dnssec_ok: true,
        code: 0,
    };
    let plain = parse(&crowd(40));
    let all = plain.answers.len() + plain.authorities.len() + plain.additionals.len();
    for limit in (60..1400).step_by(7) {
        let mut out = crowd(40);
        close(&mut out, limit, Some(opt));
        assert!(out.len() <= limit, "{} for {limit}", out.len());
        let message = parse(&out);
        let edns = message.edns.as_ref().expect("an OPT record");
        assert!(edns.max_payload() == 1232 && edns.flags().dnssec_ok);
        let kept = message.answers.len() + message.authorities.len() + message.additionals.len();
        assert_eq!(message.metadata.truncation, kept < all, "{limit}");
        assert_eq!(message.answers, plain.answers[..message.answers.len()]);
    }
}

#[test]
fn the_upper_bits_of_a_code_are_in_opt() {
    let mut out = Vec::new();
    Draft::new(&mut out, &request()).finish(code::NOERROR, false);
    let opt = Answered {
        payload: 1232,
        dnssec_ok: false,
        code: code::BADVERS_HIGH,
    };
    close(&mut out, 512, Some(opt));
    assert_eq!(&out[out.len() - OPT..], b"\0\0\x29\x04\xd0\x01\0\0\0\0\0");
}

#[test]
fn what_cannot_be_read_is_no_answer() {
    let mut out = crowd(40);
    // An owner that points at itself.
    let at = HEADER + request().question.len();
    out[at] = 0xc0;
    out[at + 1] = u8::try_from(at).unwrap();
    close(&mut out, 200, None);
    let message = parse(&out);
    assert_eq!(
        message.metadata.response_code,
        hickory_proto::op::ResponseCode::ServFail
    );
    assert!(message.answers.is_empty() && message.authorities.is_empty());
}

#[test]
fn names_are_replaced_where_they_are() {
    let mut out = crowd(1);
    close(&mut out, 90, None);
    let question = b"\x01a\x01b\0\0\x01\0\x01";
    let shop = WireName::from_text(b"shop").unwrap();
    let other = WireName::from_text(b"x.y").unwrap();
    let crowd = request().name;
    let asked = WireName::from_text(b"a.b").unwrap();
    rename(&mut out, &|name| match name {
        name if *name == shop => other,
        name if *name == crowd => asked,
        name => *name,
    })
    .unwrap();
    replace_question(&mut out, question).unwrap();
    let all = Resource::all(&out).unwrap();
    assert_eq!(all[0].owner, asked);
    assert_eq!(all[1].owner, other);
    assert_eq!(all[1].data[..12], *b"\x02ns\x04shop\0\x01x\x01");
    assert_eq!(&out[HEADER..HEADER + question.len()], question);
}
