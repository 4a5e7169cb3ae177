//! What of everything that is no reply, and of replies that are hard to read.

use super::servers::*;
use nss_k8s_stub::Families;
use nss_k8s_stub::ask::Asked;
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn broken_replies_are_no_replies() {
    type Breaker = fn(&mut std::net::TcpStream, &Query);
    let breakers: &[(&str, Breaker)] = &[
        ("closed at once", |stream, _| {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
        ("closed amid", |stream, query| {
            let whole = framed(&good(query));
            let _ = stream.write_all(&whole[..whole.len() - 1]);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
        ("no length", |stream, _| {
            let _ = stream.write_all(&[0]);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
        ("empty ones", |stream, _| {
            let _ = stream.write_all(&[0; 4096]);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
        ("garbage", |stream, _| {
            let _ = stream.write_all(&[0xa5; 100_000]);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
        ("wrong identifier", |stream, query| {
            let mut reply = good(query);
            reply[0] ^= 1;
            send(stream, &reply);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
        ("wrong name", |stream, query| {
            let mut reply = good(query);
            reply[13] ^= 1;
            send(stream, &reply);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
        ("no response", |stream, query| {
            let mut reply = good(query);
            reply[2] &= 0x7f;
            send(stream, &reply);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
    ];
    for (what, breaker) in breakers {
        let server = serve(breaker);
        for client in [GLIBC, MUSL] {
            assert_eq!(
                client.ask(&[&server], "abc"),
                Got::no(Asked::NoReply),
                "{what}"
            );
        }
    }
}

#[test]
fn a_cut_reply_is_asked_for_once() {
    let server = serve(|stream, query| {
        let mut reply = good(query);
        reply[2] |= 0x02;
        send(stream, &reply);
    });
    for (client, count) in [(GLIBC, 2), (MUSL, 4)] {
        assert_eq!(client.ask(&[&server], "a"), Got::no(Asked::NoReply));
        assert_eq!(server.seen.queries().len(), count);
    }
}

#[test]
fn the_right_reply_may_follow_wrong_ones() {
    let server = serve(|stream, query| {
        let mut reply = good(query);
        reply[1] ^= 0x10;
        send(stream, &reply);
        send(stream, b"");
        send(stream, &[0xff; 2_000]);
        answer(stream, query);
        answer(stream, query);
    });
    assert_eq!(GLIBC.ask(&[&server], "a"), good_answer());
}

#[test]
fn the_right_reply_may_be_longer_than_wrong_ones() {
    let server = serve(|stream, query| {
        send(stream, &[0xff; 600]);
        let records: Vec<_> = (0..60).map(Record::v4).collect();
        send(stream, &query.reply(0, &records));
    });
    let client = Client {
        families: Families::V4,
        room: 60,
        ..GLIBC
    };
    let got = client.ask(&[&server], "a");
    assert_eq!(got.asked, Asked::Answer { count: 60 });
}

#[test]
fn a_flood_of_wrong_replies_is_left() {
    let server = serve(|stream, query| {
        let mut lie = query.reply(0, &[Record::v4(1)]);
        lie[0] ^= 1;
        let flood = framed(&lie).repeat(1_000);
        while stream.write_all(&flood).is_ok() {}
    });
    let client = Client {
        options: "timeout:2",
        ..GLIBC
    };
    let begin = Instant::now();
    assert_eq!(client.ask(&[&server], "a"), Got::no(Asked::NoReply));
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(499), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_reply_may_come_octet_by_octet() {
    let server = serve(|stream, query| {
        stream.set_nodelay(true).unwrap();
        for octet in framed(&good(query)) {
            let _ = stream.write_all(&[octet]);
        }
    });
    assert_eq!(GLIBC.ask(&[&server], "a"), good_answer());
}

#[test]
fn the_longest_reply_is_read_whole() {
    let server = serve(|stream, query| {
        let count = (65_535 - 12 - 7 - 4) / 16;
        let records: Vec<_> = (0..count).map(|number| Record::v4(number as u8)).collect();
        let mut reply = query.reply(0, &records);
        assert!(reply.len() <= 65_535);
        if query.kind == AAAA {
            reply = query.reply(0, &[]);
            // Whatever stands behind the records.
            reply.resize(65_535, 0);
        }
        send(stream, &reply);
    });
    let Asked::Room(count) = GLIBC.ask(&[&server], "a").asked else {
        panic!("it had room");
    };
    assert_eq!(count, 4094);
    let client = Client {
        room: count,
        ..GLIBC
    };
    let got = client.ask(&[&server], "a");
    assert_eq!(got.asked, Asked::Answer { count });
    assert_eq!(got.addresses[4093], "192.0.2.253");
    // No musl process takes more than 48.
    let client = Client { room: 48, ..MUSL };
    assert_eq!(
        client.ask(&[&server], "a").asked,
        Asked::Answer { count: 48 }
    );
}

#[test]
fn a_loop_of_pointers_is_no_name() {
    let server = serve(|stream, query| {
        let mut reply = query.reply(0, &[Record::alias("x"), Record::v4(1)]);
        // The alias's owner and target become pointers at each other, and at themselves.
        let at = 12 + wire(&query.name).len() + 4;
        reply[at..at + 2].copy_from_slice(&[0xc0, at as u8 + 12]);
        reply[at + 10..at + 15].copy_from_slice(&[0, 3, 0xc0, at as u8, 0]);
        send(stream, &reply);
    });
    for client in [GLIBC, MUSL] {
        assert_eq!(client.ask(&[&server], "a"), Got::no(Asked::Unusable));
    }
}
