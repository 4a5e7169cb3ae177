//! The agent and both libraries against a real API server.
//!
//! Run by `tests/cluster/run.sh` (`make test-cluster`), which builds the control plane and gives
//! each run namespaces of its own; the feature `cluster` keeps these tests out of `make test`.
//!
//! ```text
//!   etcd ◄─ kube-apiserver ◄─ kube-controller-manager      this network namespace's loopback
//!                 │ list, watch: the agent's own rights       └─► CoreDNS, with an upstream of ours
//!              agent ─► /dev/shm/.../view/default/zone.v1                     │
//!                                   │ read-only bind mount                    │ or that one, by a
//!   pod: own network, no DNS server └─► glibc by NSS, glibc and musl by the   ▼ server that counts
//!                                       shim; the same libcs without us ◄─────
//! ```
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program; the ban is for the in-process crates"
)]

mod agent;
mod api;
mod control_plane;
mod coredns;
mod doors;
mod fleet;
mod installed;
mod objects;

mod access;
mod faults;
mod faults_external;
mod golang;
mod injection;
mod latency;
mod left_alone;
mod listener_live;
mod live;
mod made_up;
mod messages;
mod names;
mod odd;
mod options;
mod pods;
mod preflight;
mod recordings;
mod restored;
mod startup;
mod verify;
