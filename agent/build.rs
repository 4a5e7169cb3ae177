//! Compiles the two protocols that `nss-k8s csi` speaks with the kubelet, without a protoc.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use std::error::Error;

const PROTOCOLS: [&str; 2] = ["proto/csi.proto", "proto/pluginregistration.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for path in PROTOCOLS {
        println!("cargo::rerun-if-changed={path}");
    }
    let files = protox::compile(PROTOCOLS, ["proto"])?;
    // The clients are for the tests; nothing of them is in the binary.
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(files)?;
    Ok(())
}
