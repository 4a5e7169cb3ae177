//! Asking servers over TCP: what is sent, what is made of the replies, and what of everything that
//! is no reply.

#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc)]

#[path = "ask/servers.rs"]
mod servers;

use nss_k8s_stub::ask::{Asked, Share, Way, ask_port};
use nss_k8s_stub::resolv_conf::{ResolvConf, Surroundings};
use nss_k8s_stub::sys::Libc;
use nss_k8s_stub::{Address, Families, Name};
use servers::*;
use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

#[test]
fn two_questions_take_two_connections_at_once() {
    let server = serve(answer);
    assert_eq!(GLIBC.ask(&[&server], "www.example"), good_answer());
    assert_eq!(server.seen.kinds(), [A, AAAA]);
    assert_eq!(server.seen.connections(), 2);
    assert!(
        server
            .seen
            .queries()
            .iter()
            .all(|query| query.name == "www.example")
    );
    assert_eq!(server.seen.resets_of(2), 2, "closed by reset");
}

#[test]
fn musl_takes_ipv6_first() {
    let server = serve(answer);
    let addresses = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"];
    assert_eq!(
        MUSL.ask(&[&server], "www.example"),
        Got::answer(&addresses, "")
    );
}

#[test]
fn one_family_is_one_question() {
    for (families, kind) in [(Families::V4, A), (Families::V6, AAAA)] {
        let server = serve(answer);
        let client = Client { families, ..GLIBC };
        assert_eq!(
            client.ask(&[&server], "a").asked,
            Asked::Answer { count: 2 }
        );
        assert_eq!(server.seen.kinds(), [kind]);
        assert_eq!(server.seen.connections(), 1);
    }
}

#[test]
fn the_end_of_a_chain_is_the_canonical_name() {
    let server = serve(|stream, query| {
        let data = match query.kind {
            A => Record::v4(1),
            _ => Record::v6(1),
        };
        let records = [
            Record::alias("one.example"),
            Record::alias("Two.example").owned_by("one.example"),
            data.owned_by("two.EXAMPLE"),
        ];
        send(stream, &query.reply(0, &records));
    });
    let both = ["192.0.2.1", "2001:db8::1"];
    assert_eq!(
        GLIBC.ask(&[&server], "w.example"),
        Got::answer(&both, "Two.example")
    );
    let both = ["2001:db8::1", "192.0.2.1"];
    assert_eq!(
        MUSL.ask(&[&server], "w.example"),
        Got::answer(&both, "Two.example")
    );
}

#[test]
fn a_server_that_takes_no_connection_is_not_asked_again() {
    let address = fresh_address();
    // Holds the port, and nobody listens at the address.
    let holder = TcpListener::bind((fresh_address(), 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    assert_eq!(GLIBC.ask_at(port, &[address], "a"), Got::no(Asked::NoReply));
    let late = TcpListener::bind((address, port)).unwrap();
    late.set_nonblocking(true).unwrap();
    assert_eq!(GLIBC.ask_at(port, &[address], "a"), Got::no(Asked::NoReply));
    assert!(late.accept().is_err(), "it was asked");
}

#[test]
fn who_has_answered_and_takes_no_connection_any_more_is_not_asked_again() {
    let listener = TcpListener::bind((fresh_address(), 0)).unwrap();
    let place = listener.local_addr().unwrap();
    let std::net::IpAddr::V4(address) = place.ip() else {
        panic!("{place}");
    };
    let server = std::thread::spawn(move || {
        let mut streams = [(); 2].map(|()| listener.accept().unwrap().0);
        for stream in &mut streams {
            let query = read_query(stream).unwrap();
            answer(stream, &query);
        }
        // Until the client has closed them.
        streams.map(|mut stream| read_query(&mut stream).is_err())
    });
    assert_eq!(GLIBC.ask_at(place.port(), &[address], "a"), good_answer());
    assert_eq!(server.join().unwrap(), [true; 2]);
    let no = Got::no(Asked::NoReply);
    assert_eq!(GLIBC.ask_at(place.port(), &[address], "a"), no);
    let late = TcpListener::bind(place).unwrap();
    late.set_nonblocking(true).unwrap();
    assert_eq!(GLIBC.ask_at(place.port(), &[address], "a"), no);
    assert!(late.accept().is_err(), "it was asked");
}

#[test]
fn a_lost_packet_is_not_the_servers_refusal() {
    use std::os::fd::AsRawFd;
    let one = Client {
        families: Families::V4,
        ..GLIBC
    };
    let yes = Asked::Answer { count: 2 };
    let no = Got::no(Asked::NoReply);
    // Of two connections the second is lost; of one the only one.
    for (client, is_full) in [(&GLIBC, false), (&one, true)] {
        let listener = TcpListener::bind((fresh_address(), 0)).unwrap();
        let place = listener.local_addr().unwrap();
        let std::net::IpAddr::V4(address) = place.ip() else {
            panic!("{place}");
        };
        // One connection waits to be accepted; the first packet of any other is dropped.
        // SAFETY: a descriptor that is open.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let serve_one = |listener: TcpListener| {
            std::thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let query = read_query(&mut stream).unwrap();
                answer(&mut stream, &query);
                // Until the client has closed it.
                let _ = read_query(&mut stream);
                listener
            })
        };
        let server = serve_one(listener);
        assert_eq!(one.ask_at(place.port(), &[address], "a").asked, yes);
        let listener = server.join().unwrap();
        let other = is_full.then(|| std::net::TcpStream::connect(place).unwrap());
        assert_eq!(client.ask_at(place.port(), &[address], "a"), no);
        // What is left of the one that came about makes room.
        drop((listener.accept().unwrap(), other));
        let server = serve_one(listener);
        assert_eq!(one.ask_at(place.port(), &[address], "a").asked, yes);
        server.join().unwrap();
    }
}

#[test]
fn who_cannot_be_named_ends_the_round() {
    let good = serve(answer);
    let resolv_conf = |first: &str| {
        let text = format!("nameserver {first}\nnameserver {}\n", good.address);
        let surroundings = Surroundings {
            host_name: Some(b"h"),
            ..Surroundings::default()
        };
        ResolvConf::parse(Libc::Glibc, text.as_bytes(), &surroundings).unwrap()
    };
    for (first, expected) in [
        ("fe80::1%nosuch", Asked::NoReply),
        ("127.77.255.254", Asked::Answer { count: 4 }),
    ] {
        let asked = ask_port(
            good.port,
            Way::Pod,
            Libc::Glibc,
            &resolv_conf(first),
            &mut Share::new(),
            b"a",
            Families::BOTH,
            &mut [Address::UNSPECIFIED; 8],
            &mut Name::new(),
        );
        assert_eq!(asked, expected, "{first}");
    }
}

#[test]
fn the_next_server_is_asked() {
    let good = serve(answer);
    let absent = fresh_address();
    for client in [GLIBC, MUSL] {
        let got = client.ask_at(good.port, &[absent, good.address], "a");
        assert_eq!(got.asked, Asked::Answer { count: 4 });
    }
}

#[test]
fn a_server_that_hangs_costs_one_share() {
    let hung = serve(|_, _| {});
    let begin = Instant::now();
    assert_eq!(GLIBC.ask(&[&hung], "a"), Got::no(Asked::NoReply));
    let share = begin.elapsed();
    assert!(share >= Duration::from_millis(990), "{share:?}");
    for _ in 0..100 {
        assert_eq!(GLIBC.ask(&[&hung], "a"), Got::no(Asked::NoReply));
    }
    assert_eq!(hung.seen.connections(), 2);
}

#[test]
fn a_share_is_a_second_at_most() {
    let hung = serve(|_, _| {});
    let client = Client {
        options: "timeout:30",
        ..GLIBC
    };
    let begin = Instant::now();
    assert_eq!(client.ask(&[&hung], "a"), Got::no(Asked::NoReply));
    // A quarter of the timeout is more than seven.
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_server_that_hangs_leaves_time_for_the_next() {
    let hung = serve(|_, _| {});
    let good = serve_beside(hung.port, answer);
    assert_eq!(GLIBC.ask(&[&hung, &good], "a"), good_answer());
    // By now it is known.
    assert_eq!(GLIBC.ask(&[&hung, &good], "a"), good_answer());
    assert_eq!(hung.seen.connections(), 2);
}

#[test]
fn a_name_that_hangs_is_not_the_servers_fault() {
    let server = serve(|stream, query| {
        if query.name != "dead" {
            answer(stream, query);
        }
    });
    let client = Client {
        options: "timeout:1",
        ..GLIBC
    };
    for _ in 0..3 {
        assert_eq!(client.ask(&[&server], "alive"), good_answer());
        assert_eq!(client.ask(&[&server], "dead"), Got::no(Asked::NoReply));
    }
    assert_eq!(client.ask(&[&server], "alive"), good_answer());
}

#[test]
fn one_share_is_one_share() {
    let hung = serve(|_, _| {});
    let good = serve_beside(hung.port, answer);
    let mut share = Share::new();
    let client = Client {
        options: "timeout:1",
        ..GLIBC
    };
    let got = client.ask_in(&mut share, hung.port, &[hung.address], "a");
    assert_eq!(got.asked, Asked::NoReply);
    let got = client.ask_in(&mut share, good.port, &[good.address], "a");
    assert_eq!(got.asked, Asked::NoReply, "nothing was left");
    assert_eq!(good.seen.connections(), 0);
}

#[test]
fn the_rest_of_a_share_is_no_fair_trial() {
    let slow = serve(|stream, query| {
        std::thread::park_timeout(Duration::from_millis(100));
        answer(stream, query);
    });
    let hung = serve_beside(slow.port, |_, _| {});
    let client = Client {
        options: "timeout:1",
        ..GLIBC
    };
    let mut share = Share::new();
    let got = client.ask_in(&mut share, slow.port, &[slow.address], "a");
    assert_eq!(got, good_answer());
    let got = client.ask_in(&mut share, hung.port, &[hung.address], "a");
    assert_eq!(got, Got::no(Asked::NoReply));
    assert_eq!(hung.seen.connections(), 2);
    // It is asked once more, and then no more.
    for _ in 0..3 {
        assert_eq!(client.ask(&[&hung], "a"), Got::no(Asked::NoReply));
        assert_eq!(hung.seen.connections(), 4);
    }
}

#[test]
fn failures_are_asked_again_as_each_libc_does() {
    for (client, rounds) in [(GLIBC, 2), (MUSL, 3)] {
        let one = serve(|stream, query| send(stream, &query.reply(2, &[])));
        let other = serve_beside(one.port, |stream, query| send(stream, &query.reply(2, &[])));
        let got = client.ask(&[&one, &other], "a");
        assert_eq!(got, Got::no(Asked::ServFail));
        assert_eq!(one.seen.queries().len(), 2 * rounds);
        assert_eq!(other.seen.queries().len(), 2 * rounds);
    }
    for (options, count) in [("attempts:4", 8), ("use-vc", 2), ("attempts:0", 0)] {
        let server = serve(|stream, query| send(stream, &query.reply(2, &[])));
        let got = Client { options, ..GLIBC }.ask(&[&server], "a");
        let expected = if count == 0 {
            Asked::NoReply
        } else {
            Asked::ServFail
        };
        assert_eq!(got, Got::no(expected), "{options}");
        assert_eq!(server.seen.queries().len(), count, "{options}");
    }
}

#[test]
fn a_failure_of_one_server_is_no_failure_of_all() {
    for code in [2, 4, 5] {
        let bad = serve(move |stream, query| send(stream, &query.reply(code, &[])));
        let good = serve_beside(bad.port, answer);
        for client in [GLIBC, MUSL] {
            let got = client.ask(&[&bad, &good], "a");
            assert_eq!(got.asked, Asked::Answer { count: 4 });
        }
    }
    // Who could not be asked might have answered.
    let bad = serve(|stream, query| send(stream, &query.reply(2, &[])));
    let got = GLIBC.ask_at(bad.port, &[bad.address, fresh_address()], "a");
    assert_eq!(got, Got::no(Asked::NoReply));
}

#[test]
fn rotation_lets_each_server_be_first() {
    let one = serve(answer);
    let other = serve_beside(one.port, answer);
    let client = Client {
        options: "rotate",
        families: Families::V4,
        ..GLIBC
    };
    for _ in 0..64 {
        assert_eq!(
            client.ask(&[&one, &other], "a").asked,
            Asked::Answer { count: 2 }
        );
    }
    assert!(!one.seen.queries().is_empty() && !other.seen.queries().is_empty());
}

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
fn servers_may_have_ipv6_addresses() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let query = read_query(&mut stream).unwrap();
            answer(&mut stream, &query);
            let _ = read_query(&mut stream);
        }
    });
    let text = b"nameserver ::1\nsearch a.example\n";
    let resolv_conf = ResolvConf::parse(Libc::Glibc, text, &Surroundings::default()).unwrap();
    let mut room = [Address::UNSPECIFIED; 8];
    let asked = ask_port(
        port,
        Way::Pod,
        Libc::Glibc,
        &resolv_conf,
        &mut Share::new(),
        b"a",
        Families::BOTH,
        &mut room,
        &mut Name::new(),
    );
    assert_eq!(asked, Asked::Answer { count: 4 });
    seen.join().unwrap();
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

#[test]
fn no_port_is_left_waiting() {
    let server = serve(answer);
    for _ in 0..500 {
        assert_eq!(GLIBC.ask(&[&server], "a"), good_answer());
    }
    assert_eq!(server.seen.resets_of(1000), 1000);
    let remote = format!(
        "{:08X}:{:04X}",
        u32::from_le_bytes(server.address.octets()),
        server.port
    );
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let left = table
        .lines()
        .filter(|line| line.split_whitespace().nth(2) == Some(&remote))
        .count();
    assert_eq!(left, 0, "{table}");
}
