//! What kubelet speaks, made of the files in `proto/`.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::alloc_instead_of_core,
    clippy::all,
    reason = "generated; described in the files"
)]

/// The Container Storage Interface.
pub mod csi {
    tonic::include_proto!("csi.v1");
}

/// Kubelet's registration of plugins.
pub mod registration {
    tonic::include_proto!("pluginregistration");
}
