//! The proof by the linker that the guests cannot panic: with `--cfg prove_no_panic` the panic
//! handler calls a symbol that does not exist, so that one surviving panic fails the link. The
//! control plants a panic and must fail, or the proof would prove nothing.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::artifacts;
use std::{
    env,
    process::{Command, Output},
};

/// What the handler calls under the proof.
const MISSING: &str = "nss_k8s_a_panic_survived_optimization";

#[test]
fn no_panic_survives_and_the_control_fails() -> Result<()> {
    for (package, profile) in [("nss-k8s-nss", "guest-module"), ("nss-k8s-shim", "guest")] {
        let build = |flags| build(package, profile, flags);
        let proof = build("--cfg prove_no_panic")?;
        ensure!(
            proof.status.success(),
            "{package}: a panic path survived\n{}",
            String::from_utf8_lossy(&proof.stderr)
        );
        let control = build("--cfg prove_no_panic --cfg plant_panic")?;
        let error = String::from_utf8_lossy(&control.stderr);
        ensure!(
            !control.status.success() && error.contains(MISSING),
            "{package}: the planted panic was not noticed\n{error}"
        );
    }
    Ok(())
}

/// Builds one guest in a target directory of its own.
fn build(package: &str, profile: &str, flags: &str) -> Result<Output> {
    // As the Makefile builds them; a variable replaces what .cargo/config.toml says.
    let machine = match env::consts::ARCH {
        "aarch64" => "-Ctarget-feature=-outline-atomics",
        _ => "",
    };
    let flags = format!("-Cforce-frame-pointers=yes {machine} {flags}");
    Ok(
        Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--locked", "--profile", profile, "-p", package])
            .current_dir(artifacts::repository())
            .env("CARGO_TARGET_DIR", artifacts::scratch("no-panic")?)
            .env("RUSTFLAGS", flags)
            .output()?,
    )
}
