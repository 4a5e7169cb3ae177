//! The permissions that docs/FANOUT.md tells operators to give, on a real NATS server: they are enough for a publisher
//! and an agent, and an agent's user cannot change what other agents believe.

use super::*;
use async_nats::{Client, ConnectOptions, jetstream};
use core::time::Duration;
use nkeys::KeyPair;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{self, UnboundedReceiver},
    time::timeout,
};

/// What docs/FANOUT.md tells operators to give NATS's chart.
const VALUES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/nats/values.yaml");

/// A key of the bucket.
const KEY: &str = "base.services.shop.a";

/// How long the server may take to say that something is not allowed.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What an agent's user may not send, with what would come of it.
const FORBIDDEN: [(&str, &str); 11] = [
    ("$KV.nss-k8s.base.services.shop.a", "a lie"),
    ("$KV.nss-k8s.base.state", "a lie about the bucket"),
    ("$JS.API.STREAM.CREATE.KV_nss-k8s", "another bucket"),
    ("$JS.API.STREAM.UPDATE.KV_nss-k8s", "another kind of bucket"),
    ("$JS.API.STREAM.PURGE.KV_nss-k8s", "an empty bucket"),
    ("$JS.API.STREAM.DELETE.KV_nss-k8s", "no bucket"),
    ("$JS.API.STREAM.MSG.DELETE.KV_nss-k8s", "one record less"),
    ("$JS.API.STREAM.RESTORE.KV_nss-k8s", "an older bucket"),
    ("$JS.API.STREAM.CREATE.KV_other", "a bucket of its own"),
    ("$JS.ACK.KV_nss-k8s.c.1.1.1.1.0", "a word for another one"),
    ("_INBOX.somebody", "an answer that somebody else waits for"),
];

/// What is looked at by who may do everything: a value, the bucket's configuration, the number of records.
type Seen = (Option<Vec<u8>>, String, u64);

/// The server with the users of the file, and their seeds in files of the same names.
struct Guarded {
    rig: Rig,
    runtime: Runtime,
}

impl Guarded {
    fn new() -> Self {
        let text = fs::read_to_string(VALUES).unwrap();
        let values: Value = serde_saphyr::from_str(&text).unwrap();
        let mut accounts = values["config"]["merge"]["accounts"].clone();
        // The test's server has less than the file asks for.
        accounts["NSS-K8S"]["jetstream"]["max_file"] = json!(128 << 20);
        let users = accounts["NSS-K8S"]["users"].as_array_mut().unwrap();
        let mut seeds = Vec::new();
        for user in users.iter_mut() {
            let pair = KeyPair::new_user();
            let name = user["nkey"].as_str().unwrap().to_lowercase();
            seeds.push((name, pair.seed().unwrap()));
            user["nkey"] = json!(pair.public_key());
        }
        users.push(json!({"user": "all", "password": "all"}));
        let rig = Rig::new(&format!("accounts: {accounts}"));
        for (name, seed) in seeds {
            fs::write(rig.place.path(&name), seed).unwrap();
        }
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        Self { rig, runtime }
    }

    /// A connection of a user's, and everything that the server says about it.
    fn connect(&self, user: &str) -> (Client, UnboundedReceiver<String>) {
        let options = match fs::read_to_string(self.rig.place.path(user)) {
            Ok(seed) => ConnectOptions::with_nkey(seed),
            Err(_) => ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned()),
        };
        let (says, said) = mpsc::unbounded_channel();
        let options = options.event_callback(move |event| {
            // Whoever does not listen any more needs no events.
            let _ = says.send(event.to_string());
            async {}
        });
        let client = options.connect(self.rig.nats.url());
        (self.runtime.block_on(client).unwrap(), said)
    }

    fn look(&self) -> Seen {
        let (client, _) = self.connect("all");
        self.runtime.block_on(async {
            let context = jetstream::new(client);
            let bucket = context.get_key_value("nss-k8s").await.unwrap();
            let value = bucket.get(KEY).await.unwrap();
            let status = bucket.status().await.unwrap();
            let config = format!("{:?}", status.info.config);
            (value.map(Into::into), config, status.info.state.messages)
        })
    }

    /// Asks for a consumer that delivers to a subject; what the server says.
    fn deliver(&self, client: &Client, subject: &str) -> String {
        let request = json!({"stream_name": "KV_nss-k8s", "config": {
            "deliver_subject": subject, "deliver_policy": "all", "ack_policy": "none",
            "max_deliver": 1, "headers_only": true, "mem_storage": true, "num_replicas": 1,
        }});
        let create = "$JS.API.CONSUMER.CREATE.KV_nss-k8s";
        let answer = client.request(create, request.to_string().into());
        let answer = self.runtime.block_on(answer).unwrap();
        String::from_utf8_lossy(&answer.payload).into_owned()
    }
}

/// Who must answer: the zone, from the bucket, also after the server was away. The agent's own API server
/// is not asked for anything.
#[test]
fn the_documented_permissions_are_enough() {
    let mut guarded = Guarded::new();
    let rig = &mut guarded.rig;
    let (ours, theirs) = (rig.file("publisher"), rig.file("agent"));
    let publisher = rig.publisher("p", &["--nats-credentials", &ours]);
    let agent = rig.agent(&["--nats-credentials", &theirs]);
    agent.wait_until_published();
    rig.wait_for("a", "10.0.0.1");
    rig.nats.stop();
    rig.api.put(SERVICES, service("a", "10.0.0.2"));
    rig.nats.run();
    rig.wait_for("a", "10.0.0.2");
    assert_eq!(agent.figure(FROM_BUCKET), 1.0);
    assert_eq!(rig.asked(), 0);
    for log in [publisher.log(), agent.log()] {
        assert!(!log.contains("ermissions"), "{log}");
    }
}

/// The bucket stays as the publisher left it, whatever an agent's user sends.
#[test]
fn an_agents_user_cannot_write() {
    let guarded = Guarded::new();
    let (publisher, _) = guarded.connect("publisher");
    guarded.runtime.block_on(async {
        let bucket = json!({"name": "KV_nss-k8s", "subjects": ["$KV.nss-k8s.>"], "storage": "file",
            "max_msgs_per_subject": 1, "num_replicas": 1, "allow_rollup_hdrs": true});
        let make = "$JS.API.STREAM.CREATE.KV_nss-k8s";
        let made = publisher.request(make, bucket.to_string().into());
        let made = made.await.unwrap().payload;
        let made = String::from_utf8_lossy(&made);
        assert!(made.contains(r#""did_create":true"#), "{made}");
        let context = jetstream::new(publisher);
        let sent = context.publish(format!("$KV.nss-k8s.{KEY}"), "the truth".into());
        sent.await.unwrap().await.unwrap();
    });
    let before = guarded.look();
    assert_eq!(before.0.as_deref(), Some(b"the truth".as_slice()));

    // The server as the hand that writes. It delivers from here on, so that whatever comes of it has
    // come when the bucket is looked at.
    let (client, mut said) = guarded.connect("agent");
    let cycle = guarded.deliver(&client, &format!("$KV.nss-k8s.{KEY}"));
    assert!(cycle.contains("forms a cycle"), "{cycle}");
    for api in ["PURGE", "DELETE"] {
        guarded.deliver(&client, &format!("$JS.API.STREAM.{api}.KV_nss-k8s"));
    }

    for (subject, what) in FORBIDDEN {
        guarded.runtime.block_on(async {
            client.publish(subject, "{}".into()).await.unwrap();
            let refused = async {
                while let Some(event) = said.recv().await {
                    if event.contains("ermissions") && event.contains(subject) {
                        return true;
                    }
                }
                false
            };
            let refused = timeout(ANSWER_WITHIN, refused).await;
            assert_eq!(refused, Ok(true), "nobody refuses {what}: {subject}");
        });
    }
    assert_eq!(guarded.look(), before);
}
