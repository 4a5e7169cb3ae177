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
    for package in ["nss-k8s-nss", "nss-k8s-shim"] {
        let proof = build(package, "--cfg prove_no_panic")?;
        ensure!(
            proof.status.success(),
            "{package}: a panic path survived\n{}",
            String::from_utf8_lossy(&proof.stderr)
        );
        let control = build(package, "--cfg prove_no_panic --cfg plant_panic")?;
        let error = String::from_utf8_lossy(&control.stderr);
        ensure!(
            !control.status.success() && error.contains(MISSING),
            "{package}: the planted panic was not noticed\n{error}"
        );
    }
    Ok(())
}

/// Builds one guest in a target directory of its own.
fn build(package: &str, flags: &str) -> Result<Output> {
    let flags = match env::consts::ARCH {
        // A variable replaces what .cargo/config.toml says.
        "aarch64" => format!("{flags} -Ctarget-feature=-outline-atomics"),
        _ => flags.to_owned(),
    };
    Ok(
        Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--locked", "--profile", "guest", "-p", package])
            .current_dir(artifacts::repository())
            .env("CARGO_TARGET_DIR", artifacts::scratch("no-panic")?)
            .env("RUSTFLAGS", flags)
            .output()?,
    )
}
