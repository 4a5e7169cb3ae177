//! `nss-k8s csi` as kubelet meets it: a process in a mount namespace of its own, whose mounts spread to
//! ours where they would in a cluster. Kubelet is a gRPC client here.
//!
//! ```text
//!   this thread's mount namespace (kubelet's)          the driver's
//!     <place>/kubelet/pods  <---- mounts spread -----> the same, shared
//!     <place>/run/nss-k8s/node  <--------------------- tmpfs
//! ```
//!
//! Needs root, as mounting does.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

mod faults;
mod leases;
mod lost;
mod node;
mod ownership;
mod publishing;
mod registering;
