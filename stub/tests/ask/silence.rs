//! Servers that take no connection, or say nothing: what that costs, and whom it is blamed on.

use super::servers::*;
use nss_k8s_stub::Families;
use nss_k8s_stub::ask::{Asked, Share};
use std::net::TcpListener;
use std::time::{Duration, Instant};

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
