//! The C programs of `tests/probes`, compiled once per libc into `build/probes`.

use crate::artifacts;
use anyhow::{Context, Result, bail};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

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
    program_for(name, libc, None)
}

/// The same, compiled against the headers and libraries of another root directory.
pub(crate) fn program_for(name: &str, libc: Libc, root: Option<&Path>) -> Result<PathBuf> {
    let source = artifacts::fixture(&format!("probes/{name}.c"));
    let suffix = root
        .and_then(Path::file_name)
        .unwrap_or(libc.as_str().as_ref());
    let mut file = OsString::from(format!("{name}."));
    file.push(suffix);
    let program = artifacts::scratch("probes")?.join(file);
    let written = fs::metadata(&source).with_context(|| format!("{}", source.display()))?;
    let built = fs::metadata(&program).and_then(|status| status.modified());
    if built.unwrap_or(SystemTime::UNIX_EPOCH) >= written.modified()? {
        return Ok(program);
    }
    let next = program.with_extension(format!(
        "{}.{}.{:?}",
        suffix.display(),
        std::process::id(),
        std::thread::current().id()
    ));
    let mut compiler = Command::new(libc.compiler());
    if let Some(root) = root {
        // Without -B and -L the compiler takes the machine's own start files and libraries.
        let library = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        for (option, path) in [("--sysroot=", root), ("-B", &library), ("-L", &library)] {
            let mut option = OsString::from(option);
            option.push(path);
            compiler.arg(option);
        }
    }
    // What is not in every libc itself is in this library.
    let resolver = (libc == Libc::Glibc).then_some("-lresolv");
    let output = compiler
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .args([&next, &source])
        .args(resolver)
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
