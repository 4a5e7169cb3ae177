//! The image, the chart, the agent and the libraries on a real node.
//!
//! Run by `tests/node/run.sh` (`make test-node`), which builds Kubernetes and the images and gives the
//! run namespaces of its own; the feature `node` keeps these tests out of `make test`.
//!
//! ```text
//!   etcd ◄─ kube-apiserver ◄─ controller-manager, scheduler, kubelet, kube-proxy     one network namespace
//!                 ▲                                    │ CRI, CSI
//!   helm: chart ──┘              containerd ─► pods on the bridge cni0 (10.244.0.0/24, fd00:10:244::/64)
//!                                                ├ CoreDNS behind 10.96.0.10 ─► the rest of the world: 198.51.100.53
//!   image under test ─ ctr import ─►             ├ nss-k8s: csi, agent
//!                                                └ load: lookups without pause, packets counted in the pod's network
//! ```
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program; the ban is for the in-process crates"
)]

mod chart;
mod cluster;
mod coredns;
mod load;
mod machine;
mod packets;
mod plane;
mod pods;

mod absent_image;
mod apiserver_down;
mod delivery;
mod development;
mod helm_test;
mod hostile_volume;
mod latency;
mod ready;
mod restarts;
mod root_pod;
mod sanity;
mod static_go;
mod uninstall;
mod upgrade;
mod webhook;
