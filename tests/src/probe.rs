//! The C programs of `tests/probes`, compiled once per libc into `build/probes`.

use crate::artifacts;
use anyhow::{Context, Result, bail};
use std::{fs, path::PathBuf, process::Command, time::SystemTime};

/// The libc that a program is linked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Libc {
    /// The machine's glibc.
    Glibc,
    /// musl, by `musl-gcc`.
    Musl,
}

impl Libc {
    /// Its compiler.
    pub fn compiler(self) -> &'static str {
        match self {
            Self::Glibc => "gcc",
            Self::Musl => "musl-gcc",
        }
    }

    /// Its name in file names and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
        }
    }
}

/// The program `tests/probes/<name>.c` for `libc`, compiled when absent or older than its source.
/// Safe against tests that want the same one at the same time: each compiles to a name of its own
/// and renames.
pub fn program(name: &str, libc: Libc) -> Result<PathBuf> {
    let source = artifacts::fixture(&format!("probes/{name}.c"));
    let program = artifacts::scratch("probes")?.join(format!("{name}.{}", libc.as_str()));
    let written = fs::metadata(&source).with_context(|| format!("{}", source.display()))?;
    let built = fs::metadata(&program).and_then(|status| status.modified());
    if built.unwrap_or(SystemTime::UNIX_EPOCH) >= written.modified()? {
        return Ok(program);
    }
    let next = program.with_extension(format!(
        "{}.{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let output = Command::new(libc.compiler())
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .args([&next, &source])
        .output()
        .with_context(|| format!("{}: install it (make prepare)", libc.compiler()))?;
    if !output.status.success() {
        bail!(
            "{}: {}",
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    fs::rename(&next, &program)?;
    Ok(program)
}
