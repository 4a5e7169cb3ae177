//! What clients send to the agent's listener, and what upstreams say to it.

use hickory_proto::op::Message;
use nss_k8s_agent::{
    answer::{Answerer, Begun, Desk, Policy, Upstreams, Way},
    config::Config,
    forward::{Answer, Class, Client, Lifetimes, Question, Reply, Source},
};
use nss_k8s_zone::{
    Address, Endpoint, Family, Now, Options, Port, Protocol, ServiceBody, ServiceKey, Slice,
    SliceId, Writer,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock},
};

/// Some of every rule.
const CONFIG: &str = "
rewrite:
  - {exact: a.example.com, to: api.shop.svc.cluster.local}
  - {prefix: old, to: new}
  - {suffix: .corp, to: .shop.svc.cluster.local}
  - {regex: '^(.*)-x\\.example\\.com\\.$', to: '{1}.example.com'}
block: [bad.example.com]
hosts: [{names: [one.example.com], addresses: [192.0.2.1, '2001:db8::1']}]
listen: {addresses: [127.0.0.1], allow_transfer: [127.0.0.0/8]}
";

/// The first octet chooses how the message comes and whether it gets the header of a query; after
/// the message, which has its length in the second, comes what the upstream says.
pub(crate) fn messages(bytes: &[u8]) {
    let Some(([options, length], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let (query, reply) = rest.split_at(rest.len().min(usize::from(*length)));
    let mut query = query.to_vec();
    if options & 4 == 0 {
        query.splice(..0, *b"\x12\x34\x01\0\0\x01\0\0\0\0\0");
        // Perhaps with an additional record.
        query.insert(11, options >> 3 & 1);
    }
    let client = Client {
        class: Class::new("default"),
        view: "default".into(),
        name: "pod".into(),
    };
    let way = match options & 3 {
        0 => Way::Udp,
        1 => Way::Process(&client),
        _ => Way::Tcp(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    let world = World::the_only();
    *world.says.lock().expect("nobody fails") = reply.to_vec();
    world.writer.lock().expect("nobody fails").beat(now());
    let mut desk = Desk::new();
    let limit = if way == Way::Udp { 1232 } else { 65_535 };
    match world.answerer.begin(&query, way, &mut desk) {
        Begun::Answered => check(&query, desk.message(), limit),
        Begun::Pending(pending) => {
            let future = core::pin::pin!(world.answerer.finish(*pending));
            // The upstream is always ready.
            let mut context = core::task::Context::from_waker(core::task::Waker::noop());
            match future.poll(&mut context) {
                core::task::Poll::Ready(answer) => check(&query, &answer, limit),
                core::task::Poll::Pending => panic!("nobody is waited for"),
            }
        }
        Begun::Transfer(messages) => {
            for message in messages {
                check(&query, &message, 65_535);
            }
        }
        Begun::Nothing => {}
    }
}

/// An answer is one, and not too long.
fn check(query: &[u8], answer: &[u8], limit: usize) {
    assert!(
        answer.len() >= 12 && answer.len() <= limit,
        "{} octets",
        answer.len()
    );
    assert_eq!(answer[..2], query[..2]);
    assert_ne!(answer[2] & 0x80, 0);
    let questions = u16::from_be_bytes([answer[4], answer[5]]);
    if questions == 1 {
        let end = 12 + (answer[12..].iter().position(|octet| *octet == 0)).expect("a name");
        assert!(end < answer.len());
    } else {
        assert_eq!((questions, answer.len()), (0, 12));
    }
    // Whatever came from the zone and from here can be read; an upstream's data is its own.
    let from_upstream = answer[2] & 4 == 0;
    assert!(
        from_upstream || Message::from_vec(answer).is_ok(),
        "{answer:02x?}"
    );
}

/// The clock of the zone.
fn now() -> Now {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    Now(since.expect("now is later").as_secs())
}

/// A zone and who answers from it.
struct World {
    answerer: Answerer,
    says: Arc<Mutex<Vec<u8>>>,
    writer: Mutex<Writer>,
}

/// Says what it is told, or SERVFAIL.
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn answer(&self, question: &Question) -> Answer {
        let bounds = Lifetimes {
            min: 0,
            max: 60,
            negative: 60,
            failure: 1,
        };
        let told = self.0.lock().expect("nobody fails").clone();
        let reply = Message::from_vec(&told)
            .ok()
            .and_then(|message| Reply::new(message, question, &bounds).ok())
            .or_else(|| Reply::new(Message::query(), question, &bounds).ok());
        Answer::fresh(Arc::new(reply.expect("an empty reply")), Source::Upstream)
    }
}

impl Upstreams for Told {
    fn held(&self, _: Option<&Class>, question: &Question) -> Option<Answer> {
        let first = question.name().get(1).copied();
        (first == Some(b'h')).then(|| self.answer(question))
    }

    fn ask<'q>(
        &'q self,
        _: Option<&'q Class>,
        question: &'q Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'q>> {
        Box::pin(core::future::ready(self.answer(question)))
    }
}

impl World {
    fn the_only() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(Self::new)
    }

    fn new() -> Self {
        let root = tempfile::tempdir_in("/dev/shm").expect("a tmpfs").keep();
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).expect("our directory");
        let options = Options::new(&root, "cluster.local");
        let path = options.zone_path();
        let (mut writer, _) = Writer::open(options).expect("a zone");
        let key = |name| ServiceKey::new(name, "shop").expect("a name");
        let port = Port {
            name: "http".into(),
            protocol: Protocol::Tcp,
            number: 80,
        };
        writer.put_namespace("shop").expect("room");
        let api = ServiceBody::ClusterIp {
            addresses: vec![Address::v4([10, 96, 1, 10])],
            ports: vec![port.clone()],
        };
        writer.put_service(&key("api"), &api).expect("room");
        let alias = ServiceBody::External {
            target: "www.example.com".into(),
        };
        writer.put_service(&key("alias"), &alias).expect("room");
        let crowd = ServiceBody::Headless { ports: Vec::new() };
        writer.put_service(&key("crowd"), &crowd).expect("room");
        let endpoints = (0..=255).map(|last| Endpoint::ready(Address::v4([10, 244, 7, last])));
        let slice = Slice {
            family: Family::V4,
            ports: vec![port],
            endpoints: endpoints.collect(),
        };
        writer
            .put_slice(&key("crowd"), SliceId(1), &slice)
            .expect("room");
        writer.beat(now());
        writer.set_synced(now());
        let config = Config::parse(CONFIG).expect("a configuration");
        let says = Arc::default();
        let upstreams = Arc::new(Told(Arc::clone(&says)));
        let policy = Policy::new(&config);
        let answerer = Answerer::new(&path, policy, upstreams).expect("a path");
        // What is mapped stays when the files go.
        let mut desk = Desk::new();
        answerer.begin(
            b"\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x06\0\x01",
            Way::Udp,
            &mut desk,
        );
        std::fs::remove_dir_all(&root).expect("our directory");
        Self {
            answerer,
            says,
            writer: Mutex::new(writer),
        }
    }
}
