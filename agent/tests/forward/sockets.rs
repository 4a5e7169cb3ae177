//! forward.sock as a process sees it.

use crate::{
    Rig, nobody,
    server::{Action, DEADLINE, Server, address, name},
    settings,
};
use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::RecordType,
};
use nss_k8s_agent::forward::{Change, Class, Client, Metrics, Service, Sockets, socket::Limits};
use std::{
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

fn client(name: &str) -> Client {
    Client {
        class: Class::new(name),
        view: name.into(),
        name: name.into(),
    }
}

/// The query of a stub resolver.
fn query(id: u16, text: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = id;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), kind));
    message
}

fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let frame = |it: &&[u8]| [&(it.len() as u16).to_be_bytes()[..], it].concat();
    messages.iter().flat_map(frame).collect()
}

async fn read(stream: &mut UnixStream) -> Message {
    let reading = async {
        let length = stream.read_u16().await.unwrap();
        let mut octets = vec![0; length.into()];
        stream.read_exact(&mut octets).await.unwrap();
        Message::from_vec(&octets).unwrap()
    };
    timeout(DEADLINE, reading).await.expect("an answer")
}

/// Whether the other side closed.
async fn is_closed(stream: &mut UnixStream) -> bool {
    let read = timeout(DEADLINE, stream.read(&mut [0; 512]))
        .await
        .expect("an end");
    matches!(read, Ok(0) | Err(_))
}

/// A place for a socket.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("forward.sock");
    (dir, path)
}

/// A service whose answer is the query, when it is let go.
struct Echo(tokio::sync::Semaphore);

impl Service for Echo {
    async fn answer(&self, query: &[u8], _: &Client) -> Vec<u8> {
        if query == b"wait" {
            self.0.acquire().await.unwrap().forget();
        }
        query.to_vec()
    }
}

fn echo(limits: Limits) -> (Arc<Echo>, Sockets<Echo>) {
    let echo = Arc::new(Echo(tokio::sync::Semaphore::new(0)));
    let sockets = Sockets::new(Arc::clone(&echo), limits, Metrics::new());
    (echo, sockets)
}

#[tokio::test]
async fn both_questions_of_a_lookup_go_in_one_write() {
    let server = Server::start(|query| Action::Answer(address(query, 60, [192, 0, 2, 1]))).await;
    let mut rig = Rig::new(&[server.address]);
    let service = Arc::new(rig.forwarder.clone());
    let sockets = Sockets::new(service, Limits::default(), rig.forwarder.metrics().clone());
    let (_dir, path) = place();
    sockets.add(&path, client("shop")).unwrap();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let one = query(7, "WWW.example.", RecordType::A);
    let mut other = query(8, "www.Example.", RecordType::AAAA);
    other.set_edns(Edns::new());
    let write = framed(&[&one.to_vec().unwrap(), &other.to_vec().unwrap()]);
    stream.write_all(&write).await.unwrap();
    let mut answers = [read(&mut stream).await, read(&mut stream).await];
    answers.sort_by_key(|it| it.metadata.id);
    for (answer, query) in answers.iter().zip([&one, &other]) {
        assert_eq!(answer.metadata.id, query.metadata.id);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.recursion_desired && answer.metadata.recursion_available);
        assert!(
            answer.queries[0].name().eq_case(query.queries[0].name()),
            "the case is kept"
        );
        assert_eq!(answer.edns.is_some(), query.edns.is_some());
        assert_eq!(answer.answers.len(), 1);
    }
    let change = timeout(DEADLINE, rig.news.recv()).await.unwrap().unwrap();
    assert!(matches!(change, Change::Put { class, .. } if class.name() == "shop"));
    assert_eq!(rig.figure("socket_requests_total"), 2.0);
    assert_eq!(rig.figure("socket_connections"), 1.0);
    drop(stream);
    rig.until("closed", |rig| rig.figure("socket_connections") == 0.0)
        .await;
}

#[tokio::test]
async fn answers_overtake_each_other() {
    let (echo, sockets) = echo(Limits::default());
    let (_dir, path) = place();
    sockets.add(&path, client("a")).unwrap();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(&framed(&[b"wait", b"fast"]))
        .await
        .unwrap();
    let mut octets = [0; 6];
    stream.read_exact(&mut octets).await.unwrap();
    assert_eq!(&octets, b"\x00\x04fast");
    echo.0.add_permits(1);
    stream.read_exact(&mut octets).await.unwrap();
    assert_eq!(&octets, b"\x00\x04wait");
}

#[tokio::test]
async fn messages_come_in_pieces_and_all_at_once() {
    let (_echo, sockets) = echo(Limits::default());
    let (_dir, path) = place();
    sockets.add(&path, client("a")).unwrap();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let long = vec![7; 65_535];
    for octet in framed(&[b"slow"]) {
        stream.write_all(&[octet]).await.unwrap();
    }
    let mut octets = [0; 6];
    stream.read_exact(&mut octets).await.unwrap();
    assert_eq!(&octets, b"\x00\x04slow");
    let write = framed(&[&long, b"next"]);
    let (mut reader, mut writer) = stream.split();
    let mut octets = vec![0; write.len()];
    let (wrote, read) = tokio::join!(writer.write_all(&write), reader.read_exact(&mut octets));
    wrote.unwrap();
    read.unwrap();
    // More than a connection may have under way: the rest waits its turn.
    let many = framed(&vec![&b"many"[..]; 500]);
    let mut octets = vec![0; many.len()];
    let (wrote, read) = tokio::join!(writer.write_all(&many), reader.read_exact(&mut octets));
    wrote.unwrap();
    read.unwrap();
    assert_eq!(octets, many);
}

#[tokio::test]
async fn a_client_that_sends_no_more_gets_its_answers() {
    let (_echo, sockets) = echo(Limits::default());
    let (_dir, path) = place();
    sockets.add(&path, client("a")).unwrap();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(&framed(&[b"last"])).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut octets = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut octets))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(octets, b"\x00\x04last");
}

#[tokio::test]
async fn idle_and_half_said_connections_are_closed() {
    let idle = Duration::from_millis(50);
    let (echo, sockets) = echo(Limits {
        idle,
        ..Limits::default()
    });
    let (_dir, path) = place();
    sockets.add(&path, client("a")).unwrap();
    for said in [&b""[..], b"\x00", b"\x00\x05abc", b"\xff\xffabc"] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(said).await.unwrap();
        assert!(is_closed(&mut stream).await);
    }
    // With a question under way it is not idle.
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(&framed(&[b"wait"])).await.unwrap();
    let early = timeout(idle * 3, stream.read_u16()).await;
    assert!(early.is_err(), "{early:?}");
    echo.0.add_permits(1);
    assert_eq!(stream.read_u16().await.unwrap(), 4);
}

#[tokio::test]
async fn a_message_that_comes_octet_by_octet_is_not_waited_for() {
    let (_echo, sockets) = echo(Limits {
        idle: Duration::from_millis(200),
        ..Limits::default()
    });
    let (_dir, path) = place();
    sockets.add(&path, client("a")).unwrap();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    // Until it is closed, an octet every now and then, of a message that is longer than that.
    let dribbling = async {
        while stream.write_all(b"\xff").await.is_ok() {
            if timeout(Duration::from_millis(20), is_closed(&mut stream)).await == Ok(true) {
                return;
            }
        }
    };
    timeout(DEADLINE, dribbling).await.expect("closed");
}

#[tokio::test]
async fn one_pod_cannot_take_more_than_its_share() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let (echo, sockets) = echo(limits);
    let (_dir, path) = place();
    let (_other_dir, other) = place();
    sockets.add(&path, client("greedy")).unwrap();
    sockets.add(&other, client("modest")).unwrap();
    let mut greedy = Vec::new();
    for _ in 0..8 {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(&framed(&[b"wait"])).await.unwrap();
        greedy.push(stream);
    }
    let mut modest = UnixStream::connect(&other).await.unwrap();
    modest.write_all(&framed(&[b"fast"])).await.unwrap();
    assert_eq!(modest.read_u16().await.unwrap(), 4);
    // As its first ones end, the others get their turn.
    echo.0.add_permits(8);
    for mut stream in greedy {
        assert_eq!(stream.read_u16().await.unwrap(), 4);
    }
}

#[tokio::test]
async fn the_agent_keeps_descriptors_for_itself() {
    let (_echo, sockets) = echo(Limits {
        total: 1,
        ..Limits::default()
    });
    let (_dir, path) = place();
    sockets.add(&path, client("a")).unwrap();
    let mut first = UnixStream::connect(&path).await.unwrap();
    first.write_all(&framed(&[b"fast"])).await.unwrap();
    first.read_exact(&mut [0; 6]).await.unwrap();
    let mut second = UnixStream::connect(&path).await.unwrap();
    assert!(
        is_closed(&mut second).await,
        "closed at once, so that it can do without"
    );
}

#[tokio::test]
async fn a_thousand_processes_ask_at_once() {
    let server = Server::start(|query| Action::Answer(address(query, 60, [192, 0, 2, 1]))).await;
    let rig = Rig::new(&[server.address]);
    let service = Arc::new(rig.forwarder.clone());
    let sockets = Sockets::new(service, Limits::default(), rig.forwarder.metrics().clone());
    let (_dir, path) = place();
    sockets.add(&path, client("a")).unwrap();
    let octets = framed(&[&query(7, "www.example.", RecordType::A).to_vec().unwrap()]);
    let ask = async || {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(&octets).await.unwrap();
        read(&mut stream).await.answers.len()
    };
    let answers = futures::future::join_all((0..1000).map(|_| ask())).await;
    assert!(answers.iter().all(|count| *count == 1));
    assert_eq!(server.count("www.example. a"), 1);
}

#[tokio::test]
async fn a_socket_replaces_what_a_dead_agent_left() {
    let (_dir, path) = place();
    let dead = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(dead);
    assert!(UnixStream::connect(&path).await.is_err());
    let (_echo, sockets) = echo(Limits::default());
    sockets.add(&path, client("a")).unwrap();
    UnixStream::connect(&path).await.unwrap();
    let file = std::fs::symlink_metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o666);
    let names = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
    assert_eq!(names(path.parent().unwrap()), 1, "nothing else is left");
}

#[tokio::test]
async fn adding_again_keeps_the_socket_unless_its_client_changed() {
    let (_echo, sockets) = echo(Limits::default());
    let (_dir, path) = place();
    let inode =
        |path: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    sockets.add(&path, client("a")).unwrap();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let first = inode(&path);
    sockets.add(&path, client("a")).unwrap();
    assert_eq!(inode(&path), first);
    sockets.add(&path, client("b")).unwrap();
    assert_ne!(inode(&path), first);
    assert!(
        is_closed(&mut stream).await,
        "who was connected as another class is not any more"
    );
    // Somebody removed it: it comes back.
    std::fs::remove_file(&path).unwrap();
    sockets.add(&path, client("b")).unwrap();
    UnixStream::connect(&path).await.unwrap();
    assert_eq!(sockets.paths(), std::slice::from_ref(&path));
    sockets.remove(&path);
    assert!(!path.exists());
    assert!(sockets.paths().is_empty());
}

#[tokio::test]
async fn a_removed_socket_leaves_its_successor() {
    let (_echo, old) = echo(Limits::default());
    let (_echo, new) = echo(Limits::default());
    let (_dir, path) = place();
    old.add(&path, client("a")).unwrap();
    new.add(&path, client("a")).unwrap();
    old.remove(&path);
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn no_message_breaks_the_service() {
    let rig = Rig::with(settings(&[nobody().await]));
    let sound = query(7, "www.example.", RecordType::A).to_vec().unwrap();
    let client = client("a");
    let ask = async |octets: &[u8]| rig.forwarder.answer(octets, &client).await;
    for length in 0..sound.len() {
        let answer = ask(&sound[..length]).await;
        assert_eq!(answer.is_empty(), length < 12, "{length}");
        assert!(answer.is_empty() || answer[3] & 15 == 1, "FORMERR");
    }
    let code = |answer: Vec<u8>| Message::from_vec(&answer).unwrap().metadata.response_code;
    let mut two = query(7, "www.example.", RecordType::A);
    two.add_query(Query::query(name("b.example."), RecordType::A));
    assert_eq!(
        code(ask(&two.to_vec().unwrap()).await),
        ResponseCode::FormErr
    );
    let mut update = sound.clone();
    update[2] = 5 << 3;
    assert_eq!(code(ask(&update).await), ResponseCode::NotImp);
    let mut response = sound.clone();
    response[2] |= 0x80;
    assert!(ask(&response).await.is_empty());
    // The root by a pointer to itself.
    let mut pointer = sound[..12].to_vec();
    pointer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(ask(&pointer).await[3] & 15, 1);
    assert_eq!(
        code(ask(&sound).await),
        ResponseCode::ServFail,
        "nobody listens"
    );
}
