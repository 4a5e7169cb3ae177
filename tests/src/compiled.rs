//! C sources compiled with flags of the test's choice, into `build/compiled`.

use crate::{artifacts, probe::Libc};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// A program from `tests/probes/<source>.c`, called `<name>.<libc>`; the flags are the linker's too.
pub fn program(source: &str, name: &str, libc: Libc, flags: &[&str]) -> Result<PathBuf> {
    compile(source, &format!("{name}.{}", libc.as_str()), libc, flags)
}

/// A shared object from `tests/probes/<source>.c`, called `<name>.<libc>.so`.
pub fn library(source: &str, name: &str, libc: Libc, flags: &[&str]) -> Result<PathBuf> {
    let mut all = vec!["-shared", "-fPIC"];
    all.extend(flags);
    compile(source, &format!("{name}.{}.so", libc.as_str()), libc, &all)
}

/// Compiles when absent or older than any probe: they include one another. Tests run side by side:
/// each writes a file of its own and moves it into place.
fn compile(source: &str, name: &str, libc: Libc, flags: &[&str]) -> Result<PathBuf> {
    let built = artifacts::scratch("compiled")?.join(name);
    let age = |path: &Path| fs::metadata(path).and_then(|status| status.modified());
    if age(&built).unwrap_or(SystemTime::UNIX_EPOCH) >= artifacts::newest(&["tests/probes"])? {
        return Ok(built);
    }
    let thread = std::thread::current().id();
    let next = built.with_extension(format!("{}.{thread:?}", std::process::id()));
    let output = Command::new(libc.compiler())
        .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .args([&next, &artifacts::fixture(&format!("probes/{source}.c"))])
        .args(flags)
        .output()
        .with_context(|| format!("{}: install it (make prepare)", libc.compiler()))?;
    ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&next, &built)?;
    Ok(built)
}
