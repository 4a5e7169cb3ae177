//! Fan-out: one publisher watches the Kubernetes API and writes a record per object into a key-value
//! bucket of NATS JetStream; the agents of all nodes follow the bucket instead of the API server.
//!
//! ```text
//!   API server --4 or 5 watches--> nss-k8s publish (2 replicas, a Lease) --compare-and-set--> bucket
//!                                                                                              |
//!   API server <==when the bucket is not whole== nss-k8s agent on each node <--one consumer----/
//! ```
//!
//! It owns the bucket's contents and who may write them, and for an agent which of the two it follows. It
//! runs no NATS server, and it refuses to guess: a bucket that does not say itself that it is whole, of
//! this form, and of what this agent wants, is not followed.
//!
//! # The bucket
//!
//! A key-value bucket (`fanout.bucket`, `nss-k8s` unless told otherwise), which is the JetStream stream
//! `KV_nss-k8s` on the subjects `$KV.nss-k8s.>`. Its history is 1: of each key the last value. The
//! publisher makes it if it is not there: file storage, `--bucket-replicas` copies, no limits.
//!
//! | key | value |
//! |---|---|
//! | `base.state` | the state record |
//! | `base.namespaces.NAME` | a Namespace |
//! | `base.services.NAMESPACE.NAME` | a Service |
//! | `base.slices.NAMESPACE.NAME` | an EndpointSlice of a headless service |
//! | `base.other-slices.NAMESPACE.NAME` | an EndpointSlice that the cluster's controller did not write |
//! | `rest.proxy-slices.NAMESPACE.NAME` | any other EndpointSlice; with `endpoint_slices: all` only |
//!
//! Each kind is what one watch with one selector brings, so an object stands under one key. An agent that
//! wants headless services only follows `$KV.nss-k8s.base.>`, another one `$KV.nss-k8s.>`; each has one
//! ordered consumer (ephemeral, in memory, no acknowledgments).
//!
//! # A record
//!
//! `FORMAT: u8 | CRC-32 of the rest: u32, little-endian | what: u8 | version | object`: a record of the
//! watches' journals (`watch/journal/segment.rs`) with its format in front of it. `what` is 1, the object
//! is there; 2, it is gone (then who it was); 3, it is there and cannot be read (who it is). `version` is
//! the `resourceVersion` that the record stands for, and the object has the slim form of `objects.rs`, both
//! in postcard. That an object is gone is an ordinary value, so that an agent that was away learns of it;
//! it is purged an hour later.
//!
//! # The state record
//!
//! JSON, written when something of it changes and every `fanout.beat` (10 s), in the order of the stream:
//!
//! ```json
//! {"format": 1, "publisher": "nss-k8s-publish-7d4b-x2x", "term": 3, "beat_millis": 10000, "floor": 4711,
//!  "kinds": {"namespaces": {"selector": null, "complete": true, "followed": true}},
//!  "terms": [{"word": "5b1e04c27a90d3f6", "since": 12}, {"word": "0c9d33f81e5a7b24", "since": 4690}]}
//! ```
//!
//! * `format`: of the records. An agent of another format does not use the bucket.
//! * `publisher`, `term`: who leads, and how often the Lease has changed hands.
//! * `floor`: who knows everything up to a sequence number below it has to read all of the bucket again,
//!   because the news that some object is gone may have been purged since.
//! * `kinds`: what is published, by the second part of the keys, with the label selector of the watch.
//!   `complete`: the bucket has held a whole list of this kind. It stays so while a publisher lists again
//!   and when another one takes over: differences are applied then. `followed`: the watch works, and what
//!   it said is in the bucket. While it is false agents keep what they have, and its age grows.
//!
//! * `terms`: the last terms of publishers, each with a random word and the sequence number from which on it
//!   wrote. Who knows the bucket up to a number knows the word of the term in which that was. When that term is
//!   not among these, or the one after it began at or before that number, then the bucket was restored
//!   from a backup, and all of it is read again. A publisher begins another term when what it reads or
//!   writes has a lower number than what it has written.
//!
//! # Who may write
//!
//! The replica that has the Lease (`--lease NAMESPACE/NAME`, coordination.k8s.io/v1, 15 s) by client-go's
//! rules; without `--lease` there is one publisher, and nobody is asked. Every write names the revision that
//! it replaces, and one with an older `resourceVersion` gives way: two that both think that they lead do no
//! harm.
//!
//! # Flags
//!
//! `nss-k8s publish --to nats://HOST:PORT[,...] [--lease NAMESPACE/NAME] [--identity NAME]
//! [--bucket-replicas N] [--kubeconfig FILE] [--config FILE] [--endpoint-slices headless|all]
//! [--nats-bucket NAME] [--nats-credentials FILE] [--nats-ca FILE] [--listen ADDRESS]`
//!
//! `nss-k8s agent --source nats://HOST:PORT[,...] [--nats-bucket NAME] [--nats-credentials FILE]
//! [--nats-ca FILE]`, besides what an agent has otherwise; `--kubeconfig` and the pod's service account are
//! for the time without a whole bucket.
//!
//! Both also read the section `fanout` of the configuration file. The credentials file is a `.creds` file, an
//! nkey seed, or a user and a password on a line each.

mod choice;
mod follower;
mod key;
mod lease;
mod ledger;
mod metrics;
mod nats;
#[doc(hidden)]
pub mod proofs;
mod publisher;
mod reader;
mod record;
mod state;

pub use follower::{Follower, forget, sources};
pub use metrics::register_figures;
pub use publisher::publish;
