//! The libraries on our file system, in one directory for each build: a build is never changed, and is
//! removed when no pod names it any more.
//!
//! ```text
//!   lib/<version>/{libnss_k8s_preload.so,libnss_k8s.so.2,nss-k8s-explain}
//! ```
//!
//! Pods have hard links to these files. So a pod that runs keeps the build that it was started with,
//! and another build is another file, never another content of the same one.

use super::{
    filesystem::{Filesystem, is_ours, make_directory, with_room, write_new},
    nothing::empty_object,
};
use anyhow::{Context, Result};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// What is preloaded, in this order: the second is found by glibc's NSS under its name once it is
/// loaded.
pub(super) const PRELOADED: [&str; 2] = ["libnss_k8s_preload.so", "libnss_k8s.so.2"];
/// Beside the builds, hidden: what is loaded where nothing is to be.
const NONE: &str = ".none";
/// What says inside a pod who answers.
pub(super) const EXPLAIN: &str = "nss-k8s-explain";
/// Names of unfinished directories begin so.
pub(super) const DRAFT: &str = ".draft.";

/// The build that new pods get.
#[derive(Clone, Debug)]
pub(super) struct Libraries {
    /// The name of its directory.
    pub(super) version: String,
    /// `lib/<version>` below the base directory.
    pub(super) directory: PathBuf,
    /// Its files.
    pub(super) files: Vec<String>,
}

impl Libraries {
    /// Copies the build in `source` to our file system, unless it is there.
    pub(super) fn install(filesystem: &Filesystem, source: &Path) -> Result<Self> {
        let mut contents = Vec::new();
        for name in PRELOADED.into_iter().chain([EXPLAIN]) {
            let path = source.join(name);
            match fs::read(&path) {
                Err(error) if name == EXPLAIN && error.kind() == io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), "pods get no program that explains");
                }
                read => {
                    let bytes = read.with_context(|| format!("cannot read {}", path.display()))?;
                    contents.push((name.to_owned(), bytes));
                }
            }
        }
        let version = version(&contents);
        let lib = filesystem.base().join("lib");
        sweep_drafts(&lib, DRAFT).with_context(|| format!("cannot tidy {}", lib.display()))?;
        let this = Self {
            directory: lib.join(&version),
            files: contents.iter().map(|(name, _)| name.clone()).collect(),
            version,
        };
        if !this.is_whole(&contents) {
            with_room(filesystem, || this.write(&contents))
                .with_context(|| format!("cannot write {}", this.directory.display()))?;
            tracing::info!(version = this.version, "installed the libraries");
        }
        with_room(filesystem, || this.write_nothing())
            .context("cannot write the object with nothing in it")?;
        Ok(this)
    }

    /// The object with nothing in it; it has the preload library's name.
    pub(super) fn nothing(&self) -> PathBuf {
        self.directory.with_file_name(NONE).join(PRELOADED[0])
    }

    fn write_nothing(&self) -> io::Result<()> {
        let path = self.nothing();
        let bytes = empty_object();
        if is_whole(&path, &bytes) {
            return Ok(());
        }
        make_directory(&self.directory.with_file_name(NONE), 0o755)?;
        remove_all(&path)?;
        write_new(&path, &bytes, 0o555)
    }

    /// Whether every file is there, and nobody else can change it.
    fn is_whole(&self, contents: &[(String, Vec<u8>)]) -> bool {
        let mut all = contents.iter();
        is_ours(&self.directory)
            && all.all(|(name, bytes)| is_whole(&self.directory.join(name), bytes))
    }

    /// Writes a directory aside and gives it its name. One that is there and not whole makes room:
    /// pods have links of their own.
    fn write(&self, contents: &[(String, Vec<u8>)]) -> io::Result<()> {
        let draft = self
            .directory
            .with_file_name(format!("{DRAFT}{}", self.version));
        remove_all(&draft)?;
        make_directory(&draft, 0o755)?;
        for (name, bytes) in contents {
            write_new(&draft.join(name), bytes, 0o555)?;
        }
        remove_all(&self.directory)?;
        fs::rename(draft, &self.directory)
    }
}

/// Removes builds that are neither `current` nor in any pod's directory.
pub(super) fn collect(base: &Path, current: &str) -> io::Result<()> {
    let mut wanted = BTreeSet::from([current.to_owned()]);
    for pod in entries(&base.join("pod"))? {
        wanted.extend(entries(&base.join("pod").join(pod).join("lib"))?);
    }
    let lib = base.join("lib");
    for version in entries(&lib)? {
        if !wanted.contains(&version) {
            remove_all(&lib.join(&version))?;
            tracing::info!(version, "removed libraries that no pod names");
        }
    }
    Ok(())
}

/// The builds that are there, and the object with nothing in it.
pub(super) fn installed(base: &Path) -> io::Result<Vec<PathBuf>> {
    let lib = base.join("lib");
    let versions = entries(&lib)?;
    let versions = versions.iter().map(String::as_str).chain([NONE]);
    Ok(versions.map(|name| lib.join(name)).collect())
}

/// The names in a directory that may be gone, without hidden ones.
pub(super) fn entries(path: &Path) -> io::Result<Vec<String>> {
    let found = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let names = found.map(|entry| Ok(entry?.file_name().into_string().ok()));
    let names: io::Result<Vec<_>> = names.collect();
    Ok(names?
        .into_iter()
        .flatten()
        .filter(|name| !name.starts_with('.'))
        .collect())
}

/// Removes a file or a directory with all that is in it; it may be gone.
pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes from a directory what a driver left that was killed while it wrote: names that begin so.
pub(super) fn sweep_drafts(directory: &Path, draft: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(draft.as_bytes()) {
            remove_all(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether a file of this length is there; its name says what is in it. It is not opened: with a lease on
/// it, taken by a pod while no driver ran, that could take a minute.
fn is_whole(path: &Path, bytes: &[u8]) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_file() && found.len() == bytes.len() as u64)
}

/// The crate's version, the libraries' build number, and eight digits of what is in the files: two
/// builds never share a directory.
fn version(contents: &[(String, Vec<u8>)]) -> String {
    let mut hash = Fnv::default();
    for (name, bytes) in contents {
        hash.add(name.as_bytes());
        hash.add(&(bytes.len() as u64).to_le_bytes());
        hash.add(bytes);
    }
    let digits = (hash.0 >> 32) ^ (hash.0 & 0xffff_ffff);
    let (version, build) = (env!("CARGO_PKG_VERSION"), nss_k8s_stub::BUILD);
    format!("{version}-{build}-{digits:08x}")
}

/// FNV-1a, 64 bits: the same name for the same files, whichever compiler built this program.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_another_version() {
        let of = |text: &str| version(&[("a".to_owned(), text.into())]);
        assert_eq!(of("one"), of("one"));
        assert_ne!(of("one"), of("two"));
        let mut hash = Fnv::default();
        hash.add(b"foobar");
        // Of the function's description (draft-eastlake-fnv).
        assert_eq!(hash.0, 0x85944171f73967e8);
    }

    #[test]
    fn builds_go_when_no_pod_names_them() {
        let base = tempfile::tempdir().unwrap();
        for path in ["lib/new", "lib/old", "lib/older", "pod/one/lib/old"] {
            fs::create_dir_all(base.path().join(path)).unwrap();
        }
        collect(base.path(), "new").unwrap();
        let mut left = entries(&base.path().join("lib")).unwrap();
        left.sort();
        assert_eq!(left, ["new", "old"]);
        fs::remove_dir_all(base.path().join("pod/one")).unwrap();
        collect(base.path(), "new").unwrap();
        assert_eq!(entries(&base.path().join("lib")).unwrap(), ["new"]);
    }
}
