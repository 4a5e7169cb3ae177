//! The built things under test: found by environment variable, refused when missing or stale.

use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// `libnss_k8s.so.2`: the NSS module.
pub fn module() -> Result<PathBuf> {
    guest("libnss_k8s.so.2")
}

/// `libnss_k8s_preload.so`: the shim.
pub fn shim() -> Result<PathBuf> {
    guest("libnss_k8s_preload.so")
}

/// The directory that holds both libraries, for `LD_LIBRARY_PATH`.
pub fn guests() -> Result<PathBuf> {
    let module = module()?;
    shim()?;
    Ok(module
        .parent()
        .context("the module has no directory")?
        .to_owned())
}

/// The functions that a library exports.
pub fn exports(library: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new("readelf")
        .env("LC_ALL", "C")
        .args(["--dyn-syms", "-W"])
        .arg(library)
        .output()
        .context("readelf: install binutils (make prepare)")?;
    let mut exports = BTreeSet::new();
    for row in String::from_utf8(output.stdout)?.lines() {
        let fields: Vec<&str> = row.split_whitespace().collect();
        if let [_, _, _, "FUNC", _, _, section, name, ..] = fields[..]
            && section != "UND"
        {
            exports.insert(name.to_owned());
        }
    }
    Ok(exports)
}

/// `nss-k8s`: the agent's binary, from `NSS_K8S_AGENT` or the development profile's place.
pub fn agent() -> Result<PathBuf> {
    let path = variable("NSS_K8S_AGENT", "target/debug/nss-k8s");
    let built = modified(&path).context("build it: make agent")?;
    // cargo lists beside the binary what went into it: exact, where it is there.
    let sources = match fs::read_to_string(path.with_extension("d")) {
        Ok(list) => newest_listed(&list)?,
        Err(_) => newest(&["agent/src", "stub/src", "zone/src"])?,
    };
    refuse_stale(&path, built, sources, "make agent")?;
    Ok(path)
}

/// The static program for the inside of pods, from `NSS_K8S_EXPLAIN` or where `make explain` puts it.
pub fn explain() -> Result<PathBuf> {
    let path = variable("NSS_K8S_EXPLAIN", "build/nss-k8s-explain");
    let built = modified(&path).context("build it: make explain")?;
    let sources = newest(&["explain/src", "stub/src", "zone/src"])?;
    refuse_stale(&path, built, sources, "make explain")?;
    Ok(path)
}

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_owned)
}

/// A file of this package, given relative to `tests/`.
pub fn fixture(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// A place for what the tests build: `build/<name>`, made when absent.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let path = repository().join("build").join(name);
    fs::create_dir_all(&path).with_context(|| format!("{}", path.display()))?;
    Ok(path)
}

/// What `tests/prepare.sh` unpacked from the Debian package `package`.
pub fn unpacked(package: &str) -> Result<PathBuf> {
    let place = scratch("unpacked")?.join(package);
    if !place.exists() {
        bail!(
            "Debian's {package} is not unpacked in {}: make prepare",
            place.display()
        );
    }
    Ok(place)
}

/// The last modification of the newest file below the given paths (relative to the root).
pub fn newest(below: &[&str]) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut open: Vec<PathBuf> = below.iter().map(|path| repository().join(path)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("{}", path.display()))? {
                open.push(entry?.path());
            }
        } else if path.exists() {
            newest = newest.max(modified(&path)?);
        }
    }
    Ok(newest)
}

/// One of the two libraries, in `NSS_K8S_GUESTS` or `build/guests`.
fn guest(name: &str) -> Result<PathBuf> {
    let path = variable("NSS_K8S_GUESTS", "build/guests").join(name);
    let built = modified(&path).context("build it: make guests")?;
    let sources = newest(&["zone/src", "stub/src", "nss-module", "shim"])?;
    refuse_stale(&path, built, sources, "make guests")?;
    Ok(path)
}

fn refuse_stale(path: &Path, built: SystemTime, sources: SystemTime, remedy: &str) -> Result<()> {
    if built < sources {
        bail!("{} is older than its sources: {remedy}", path.display());
    }
    Ok(())
}

/// The newest of the sources that a makefile-style dependency list of cargo names.
fn newest_listed(list: &str) -> Result<SystemTime> {
    let (_, sources) = list.split_once(": ").context("not a dependency list")?;
    let mut newest = SystemTime::UNIX_EPOCH;
    for source in sources.replace("\\ ", "\u{0}").split_whitespace() {
        let source = PathBuf::from(source.replace('\u{0}', " "));
        if source.exists() {
            newest = newest.max(modified(&source)?);
        }
    }
    Ok(newest)
}

fn variable(name: &str, default: &str) -> PathBuf {
    env::var_os(name).map_or_else(|| repository().join(default), PathBuf::from)
}

fn modified(path: &Path) -> Result<SystemTime> {
    fs::metadata(path)
        .and_then(|status| status.modified())
        .with_context(|| format!("{}", path.display()))
}
