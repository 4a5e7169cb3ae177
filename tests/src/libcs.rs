//! The releases of libc that lookups are compared under: the machine's two, and three that
//! `libcs/unpack.sh` unpacks, each started through its own loader.

use crate::{
    artifacts,
    pod::Pod,
    probe::{self, Libc},
};
use anyhow::{Context, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// One release of a libc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Release {
    /// The machine's glibc (Debian 12).
    Glibc236,
    /// Debian 11's, where `dlsym` and the NSS modules are objects of their own.
    Glibc231,
    /// Debian 13's.
    Glibc241,
    /// The machine's musl (Debian 12).
    Musl123,
    /// Debian 13's.
    Musl125,
}

impl Release {
    /// All of them, of each libc the machine's first.
    pub const ALL: [Self; 5] = [
        Self::Glibc236,
        Self::Glibc231,
        Self::Glibc241,
        Self::Musl123,
        Self::Musl125,
    ];

    /// The machine's own.
    pub fn of_the_machine(libc: Libc) -> Self {
        match libc {
            Libc::Glibc => Self::Glibc236,
            Libc::Musl => Self::Musl123,
        }
    }

    /// Which libc it is a release of.
    pub fn libc(self) -> Libc {
        match self {
            Self::Glibc231 | Self::Glibc236 | Self::Glibc241 => Libc::Glibc,
            Self::Musl123 | Self::Musl125 => Libc::Musl,
        }
    }

    /// Its number.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Glibc231 => "2.31",
            Self::Glibc236 => "2.36",
            Self::Glibc241 => "2.41",
            Self::Musl123 => "1.2.3",
            Self::Musl125 => "1.2.5",
        }
    }

    /// The release of that number.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }

    /// The C program `probes/<name>.c` in `pod` under this libc; `more` is searched for libraries
    /// too. The program is linked with what is older than or as old as the libc.
    pub fn command(self, pod: &Pod, name: &str, more: Option<&Path>) -> Result<Command> {
        let program = match self {
            Self::Glibc231 => {
                let root = cache()?.join("bullseye");
                probe::program_for(name, Libc::Glibc, Some(&root))?
            }
            _ => probe::program(name, self.libc())?,
        };
        let Some((loader, libraries)) = self.unpacked()? else {
            let mut command = pod.command(program.to_str().context("path")?);
            if let Some(more) = more {
                command.env("LD_LIBRARY_PATH", more);
            }
            return Ok(command);
        };
        let mut command = pod.command(loader.to_str().context("path")?);
        let mut path = libraries.into_os_string();
        if let Some(more) = more {
            path.push(":");
            path.push(more);
        }
        command.arg("--library-path").arg(path).arg(program);
        Ok(command)
    }

    /// What the libc itself says that it is, when its file is run.
    pub fn says(self) -> Result<String> {
        let machine = std::env::consts::ARCH;
        let (loader, library) = match (self.unpacked()?, self.libc()) {
            (Some((loader, libraries)), Libc::Glibc) => (loader, Some(libraries.join("libc.so.6"))),
            (Some((loader, _)), Libc::Musl) => (loader, None),
            (None, Libc::Glibc) => (format!("/lib/{machine}-linux-gnu/libc.so.6").into(), None),
            (None, Libc::Musl) => (format!("/lib/ld-musl-{machine}.so.1").into(), None),
        };
        let output = Command::new(&loader)
            .args(library)
            .output()
            .with_context(|| format!("{}", loader.display()))?;
        Ok(format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ))
    }

    /// The loader and the directory of libraries of a release that is not the machine's; programs
    /// of the package are in `usr/bin` above it.
    pub fn unpacked(self) -> Result<Option<(PathBuf, PathBuf)>> {
        let machine = std::env::consts::ARCH;
        let (libraries, loader) = match self {
            Self::Glibc236 | Self::Musl123 => return Ok(None),
            Self::Glibc231 => (
                format!("bullseye/lib/{machine}-linux-gnu"),
                "ld-2.31.so".into(),
            ),
            Self::Glibc241 => (
                format!("trixie/usr/lib/{machine}-linux-gnu"),
                match machine {
                    "aarch64" => "ld-linux-aarch64.so.1".to_owned(),
                    _ => format!("ld-linux-{}.so.2", machine.replace('_', "-")),
                },
            ),
            Self::Musl125 => (
                format!("trixie/usr/lib/{machine}-linux-musl"),
                "libc.so".into(),
            ),
        };
        let libraries = cache()?.join(libraries);
        Ok(Some((libraries.join(loader), libraries)))
    }
}

/// Where the other releases are unpacked; the first caller unpacks them.
fn cache() -> Result<&'static Path> {
    static CACHE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let unpacked = CACHE.get_or_init(|| unpack().map_err(|error| format!("{error:#}")));
    unpacked
        .as_deref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}

fn unpack() -> Result<PathBuf> {
    let output = Command::new(artifacts::fixture("libcs/unpack.sh")).output()?;
    ensure!(
        output.status.success(),
        "libcs/unpack.sh: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim_end().into())
}
