//! Asking servers over TCP: what is sent, to whom, and what is made of the replies.

#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc)]

#[path = "ask/replies.rs"]
mod replies;
#[path = "ask/servers.rs"]
mod servers;
#[path = "ask/silence.rs"]
mod silence;

use nss_k8s_stub::ask::{Asked, Share, Way, ask_port};
use nss_k8s_stub::resolv_conf::{ResolvConf, Surroundings};
use nss_k8s_stub::sys::Libc;
use nss_k8s_stub::{Address, Families, Name};
use servers::*;
use std::net::TcpListener;

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
