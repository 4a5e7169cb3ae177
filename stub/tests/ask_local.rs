//! Asking the forwarder on its Unix socket.

#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc)]

#[path = "ask/servers.rs"]
mod servers;

use nss_k8s_stub::ask::{Asked, Share, Way};
use servers::*;
use std::ffi::CString;
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A directory with a zone's name in it, gone with the value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nss-k8s-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn zone(&self) -> CString {
        CString::new(self.0.join("zone.v1").to_str().unwrap()).unwrap()
    }

    fn listen(&self) -> UnixListener {
        let path = self.0.join("forward.sock");
        let _ = std::fs::remove_file(&path);
        UnixListener::bind(path).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A forwarder that calls `behave` with what one connection's first read gave.
fn forward(
    listener: UnixListener,
    behave: impl Fn(&mut UnixStream, Vec<Query>) + Send + 'static,
) -> Receiver<usize> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut octets = [0; 2_000];
            let count = stream.read(&mut octets).unwrap();
            let mut rest = &octets[..count];
            let mut queries = Vec::new();
            while !rest.is_empty() {
                queries.push(read_query(&mut rest).unwrap());
            }
            let _ = sender.send(queries.len());
            behave(&mut stream, queries);
        }
    });
    receiver
}

fn ask(client: &Client, directory: &Directory) -> Got {
    let zone = directory.zone();
    let way = Way::Node { zone: &zone };
    client.ask_way(way, &mut Share::new(), 0, &[fresh_address()], "w.example")
}

/// One test, as a process has one forwarder, and remembers it.
#[test]
fn the_forwarder_is_asked_once_for_both() {
    let directory = Directory::new("local");
    both_in_one_write(&directory);
    the_second_may_come_first(&directory);
    failures_are_final(&directory);
    gone(&directory);
    a_full_backlog(&directory);
    a_path_that_is_too_long(&directory);
    hung(&directory);
}

fn both_in_one_write(directory: &Directory) {
    let seen = forward(directory.listen(), |stream, queries| {
        for query in &queries {
            answer(stream, query);
        }
    });
    assert_eq!(ask(&GLIBC, directory), good_answer());
    assert_eq!(seen.recv(), Ok(2));
    assert_eq!(ask(&MUSL, directory).asked, Asked::Answer { count: 4 });
    assert_eq!(seen.recv(), Ok(2));
}

fn the_second_may_come_first(directory: &Directory) {
    forward(directory.listen(), |stream, queries| {
        for query in queries.iter().rev() {
            // Nobody's, and the same twice.
            send(stream, &[0; 40]);
            answer(stream, query);
            if query.kind == AAAA {
                send(stream, &query.reply(3, &[]));
            }
        }
    });
    assert_eq!(ask(&GLIBC, directory), good_answer());
}

fn failures_are_final(directory: &Directory) {
    let seen = forward(directory.listen(), |stream, queries| {
        for query in &queries {
            send(stream, &query.reply(2, &[]));
        }
    });
    for client in [GLIBC, MUSL] {
        assert_eq!(ask(&client, directory), Got::no(Asked::ServFail));
        assert_eq!(seen.recv(), Ok(2));
    }
    assert!(seen.try_recv().is_err(), "asked again");
    // Of one family, too: where libc would take the other's answer, that is half of what it gets.
    forward(directory.listen(), |stream, queries| {
        for query in &queries {
            match query.kind {
                A => answer(stream, query),
                _ => send(stream, &query.reply(5, &[])),
            }
        }
    });
    for client in [GLIBC, MUSL] {
        assert_eq!(ask(&client, directory), Got::no(Asked::Refused));
    }
    forward(directory.listen(), |stream, queries| {
        for query in &queries {
            match query.kind {
                A => answer(stream, query),
                _ => send(stream, &query.reply(2, &[])),
            }
        }
    });
    assert_eq!(ask(&GLIBC, directory).asked, Asked::Answer { count: 2 });
}

fn hung(directory: &Directory) {
    let listener = directory.listen();
    let client = Client {
        options: "timeout:1",
        ..GLIBC
    };
    // Its kernel accepts, and nobody reads. It has answered before, so it may fail once.
    for expected in [true, true, false, false] {
        let begin = Instant::now();
        assert_eq!(ask(&client, directory), Got::no(Asked::NoReply));
        let waited = begin.elapsed() >= Duration::from_millis(250);
        assert_eq!(waited, expected);
    }
    drop(listener);
}

fn gone(directory: &Directory) {
    std::fs::remove_file(directory.0.join("forward.sock")).unwrap();
    let begin = Instant::now();
    assert_eq!(ask(&GLIBC, directory), Got::no(Asked::NoReply));
    assert!(begin.elapsed() < Duration::from_millis(200), "it waited");
    comes_back(directory);
}

/// What is not there is missed for a second, not for a minute: agents restart.
fn comes_back(directory: &Directory) {
    forward(directory.listen(), |stream, queries| {
        for query in &queries {
            answer(stream, query);
        }
    });
    let begin = Instant::now();
    wait_until(|| ask(&GLIBC, directory) == good_answer());
    assert!(begin.elapsed() < Duration::from_secs(3));
}

fn a_full_backlog(directory: &Directory) {
    let listener = directory.listen();
    let path = directory.0.join("forward.sock");
    let held = fill(&path);
    let begin = Instant::now();
    assert_eq!(ask(&GLIBC, directory), Got::no(Asked::NoReply));
    assert!(begin.elapsed() < Duration::from_millis(200));
    drop((held, listener));
    comes_back(directory);
}

/// Connects until the kernel takes no more.
fn fill(path: &Path) -> Vec<UnixStream> {
    let (sender, receiver) = channel();
    let path = path.to_owned();
    thread::spawn(move || {
        while let Ok(stream) = UnixStream::connect(&path) {
            if sender.send(stream).is_err() {
                return;
            }
        }
    });
    let mut held = Vec::new();
    // Blocks as soon as the backlog is full: nothing comes for a while.
    while let Ok(stream) = receiver.recv_timeout(Duration::from_millis(200)) {
        held.push(stream);
    }
    held
}

fn a_path_that_is_too_long(directory: &Directory) {
    let zone = CString::new(format!("/{}/zone.v1", "d".repeat(108))).unwrap();
    let way = Way::Node { zone: &zone };
    let got = GLIBC.ask_way(way, &mut Share::new(), 0, &[fresh_address()], "a");
    assert_eq!(got, Got::no(Asked::NoReply));
    comes_back(directory);
}
