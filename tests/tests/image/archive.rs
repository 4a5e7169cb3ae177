//! The archive under test, unpacked.

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::artifacts::{agent, explain, guests, repository, scratch};
use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};
use tempfile::TempDir;

/// What `SOURCE_DATE_EPOCH` is for the archives that are made here.
pub(super) const EPOCH: u64 = 1_700_000_000;

/// An unpacked archive.
pub(super) struct Image {
    pub(super) place: TempDir,
}

impl Image {
    pub(super) fn unpack(archive: &Path) -> Result<Self> {
        let place = tempfile::tempdir()?;
        output(
            Command::new("tar")
                .arg("-xf")
                .arg(archive)
                .arg("-C")
                .arg(place.path()),
        )?;
        Ok(Self { place })
    }

    pub(super) fn json(&self, name: &str) -> Result<Value> {
        let text = fs::read(self.place.path().join(name)).with_context(|| name.to_owned())?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// The blob that a descriptor describes, checked against its digest and size.
    pub(super) fn blob(&self, descriptor: &Value) -> Result<PathBuf> {
        let digest = digest(descriptor)?;
        let path = self.place.path().join("blobs/sha256").join(digest);
        ensure!(sha256(&path)? == digest, "{descriptor}");
        ensure!(
            Some(fs::metadata(&path)?.len()) == descriptor["size"].as_u64(),
            "{descriptor}"
        );
        Ok(path)
    }

    pub(super) fn described(&self, descriptor: &Value) -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(self.blob(descriptor)?)?)?)
    }

    /// Its only layer, unpacked as its owner would be: on a tmpfs, where the agent may publish.
    pub(super) fn root(&self) -> Result<TempDir> {
        let entry = &self.json("index.json")?["manifests"][0];
        let layer = self.blob(&self.described(entry)?["layers"][0])?;
        let root = tempfile::tempdir_in("/dev/shm")?;
        output(
            Command::new("tar")
                .args(["--same-owner", "-xpf"])
                .arg(layer)
                .arg("-C")
                .arg(root.path()),
        )?;
        Ok(root)
    }
}

/// The archive under test.
pub(super) fn archive() -> Result<PathBuf> {
    /// Made once for all tests of this process.
    static MADE: Mutex<Option<PathBuf>> = Mutex::new(None);
    if let Some(given) = env::var_os("NSS_K8S_IMAGE") {
        return Ok(repository().join(given));
    }
    let mut made = MADE
        .lock()
        .map_err(|_| anyhow::anyhow!("making it failed"))?;
    if let Some(path) = made.as_ref() {
        return Ok(path.clone());
    }
    let path = scratch("image")?.join("development.tar");
    pack(&path, "exec \"$0\" \"$@\"")?;
    Ok(made.insert(path).clone())
}

/// Packs the development build of the agent, from inside the shell script `around`.
pub(super) fn pack(out: &Path, around: &str) -> Result<()> {
    output(
        Command::new("bash")
            .args(["-c", around])
            .arg(repository().join("deploy/image/build.sh"))
            .arg("--agent")
            .arg(agent()?)
            .arg("--with-loader")
            .arg("--explain")
            .arg(explain()?)
            .arg("--libraries")
            .arg(guests()?)
            .arg("--out")
            .arg(out)
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string()),
    )?;
    Ok(())
}

/// The hexadecimal digest of what a descriptor describes.
pub(super) fn digest(descriptor: &Value) -> Result<&str> {
    text(&descriptor["digest"])?
        .strip_prefix("sha256:")
        .with_context(|| descriptor.to_string())
}

/// The digest of a file.
pub(super) fn sha256(path: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg(path))?;
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}

/// A member that must be text.
pub(super) fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("no text: {value}"))
}

/// A member that must be a list.
pub(super) fn list(value: &Value) -> Result<&[Value]> {
    value
        .as_array()
        .map(Vec::as_slice)
        .with_context(|| format!("no list: {value}"))
}

/// What a program that must end well says on standard output.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
