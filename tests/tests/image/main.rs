//! The container image: its archive against the OCI image specification, and its programs inside its own root.
//!
//! `NSS_K8S_IMAGE` names the archive under test (`make image-check` gives the one that is shipped); without it
//! one is made here out of the programs that the other tests use.

extern crate alloc;

mod archive;

use alloc::collections::BTreeSet;
use anyhow::{Context, Result, ensure};
use archive::{Image, archive, digest, list, output, pack, text};
use core::{net::SocketAddr, time::Duration};
use nss_k8s_tests::{
    artifacts::{explain, fixture, guests, scratch},
    dns::Script,
    pod::{Pod, Recipe},
    process::{Process, until},
};
use serde_json::Value;
use std::{fs, io::Read, net::TcpListener, process::Command};
use tempfile::TempDir;

/// Every blob is there under its digest and of its size, none is left over, and both ways of naming the image
/// lead to the same one (image-layout.md, manifest.md and config.md of the OCI image specification 1.1).
#[test]
fn the_archive_is_an_oci_image_layout() -> Result<()> {
    let image = Image::unpack(&archive()?)?;
    let layout = image.json("oci-layout")?;
    ensure!(layout["imageLayoutVersion"] == "1.0.0", "{layout}");
    let index = image.json("index.json")?;
    ensure!(index["schemaVersion"] == 2, "{index}");
    let [entry] = list(&index["manifests"])? else {
        anyhow::bail!("an archive of several images is refused by podman: {index}");
    };
    ensure!(entry["platform"]["os"] == "linux", "{entry}");
    let name = text(&entry["annotations"]["io.containerd.image.name"])?;
    let tag = text(&entry["annotations"]["org.opencontainers.image.ref.name"])?;
    ensure!(
        name == format!("docker.io/library/nss-k8s:{tag}"),
        "{entry}"
    );

    let manifest = image.described(entry)?;
    ensure!(manifest["mediaType"] == entry["mediaType"], "{manifest}");
    let config = image.described(&manifest["config"])?;
    ensure!(
        config["os"] == "linux" && config["architecture"] == entry["platform"]["architecture"],
        "{config}"
    );
    ensure!(
        config["config"]["Entrypoint"] == serde_json::json!(["/nss-k8s"]),
        "{config}"
    );
    let labels = &config["config"]["Labels"];
    ensure!(*labels == manifest["annotations"], "{labels}");
    ensure!(
        text(&labels["org.opencontainers.image.version"])? == tag,
        "{labels}"
    );
    let layers = list(&manifest["layers"])?;
    // Not compressed: its bytes are not those of some release of gzip, and both digests are one.
    let [layer] = layers else {
        anyhow::bail!("not one layer: {manifest}");
    };
    ensure!(
        layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar",
        "{layer}"
    );
    ensure!(
        config["rootfs"]["diff_ids"] == serde_json::json!([layer["digest"]]),
        "{config}"
    );

    let described: BTreeSet<String> = [entry, &manifest["config"]]
        .into_iter()
        .chain(layers)
        .map(|one| Ok(digest(one)?.to_owned()))
        .collect::<Result<_>>()?;
    let stored: BTreeSet<String> = fs::read_dir(image.place.path().join("blobs/sha256"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    ensure!(described == stored, "{described:?} {stored:?}");

    let docker = image.json("manifest.json")?;
    let [docker] = list(&docker)? else {
        anyhow::bail!("{docker}");
    };
    let blob = |one: &Value| Ok::<_, anyhow::Error>(format!("blobs/sha256/{}", digest(one)?));
    ensure!(
        text(&docker["Config"])? == blob(&manifest["config"])?,
        "{docker}"
    );
    ensure!(
        docker["Layers"] == serde_json::json!([blob(layer)?]),
        "{docker}"
    );
    ensure!(
        docker["RepoTags"] == serde_json::json!([format!("nss-k8s:{tag}")]),
        "{docker}"
    );
    Ok(())
}

/// The umask, the time zone, the language and the working directory of whoever packs it leave no trace.
#[test]
fn packing_twice_gives_the_same_bytes() -> Result<()> {
    let place = tempfile::tempdir_in(scratch("image")?)?;
    let first = place.path().join("first.tar");
    let second = place.path().join("second.tar");
    pack(&first, "umask 022; exec \"$0\" \"$@\"")?;
    pack(
        &second,
        "umask 077; export TZ=Asia/Tokyo LC_ALL=C.UTF-8; cd /; exec \"$0\" \"$@\"",
    )?;
    ensure!(
        fs::read(&first)? == fs::read(&second)?,
        "the two archives differ"
    );
    Ok(())
}

/// Beside an archive with a bill lies one of a manifest that attaches the bill to the image: its subject is the image's
/// manifest, its only layer the bill.
#[test]
fn the_bill_refers_to_the_image() -> Result<()> {
    let place = tempfile::tempdir_in(scratch("image")?)?;
    let bill = place.path().join("bill");
    fs::create_dir(&bill)?;
    fs::write(
        bill.join("nss-k8s.cdx.json"),
        "{\"bomFormat\":\"CycloneDX\"}",
    )?;
    let out = place.path().join("image.tar");
    let around = format!("exec \"$0\" \"$@\" --bill '{}'", bill.display());
    pack(&out, &around)?;
    let image = Image::unpack(&out)?.json("index.json")?;
    let referrer = Image::unpack(&place.path().join("image.sbom.tar"))?;
    let index = referrer.json("index.json")?;
    let [entry] = list(&index["manifests"])? else {
        anyhow::bail!("not one manifest");
    };
    let manifest = referrer.described(entry)?;
    let subject = &image["manifests"][0];
    for key in ["mediaType", "digest", "size"] {
        ensure!(manifest["subject"][key] == subject[key], "{manifest}");
    }
    ensure!(
        manifest["artifactType"] == "application/vnd.cyclonedx+json",
        "{manifest}"
    );
    let layer = referrer.described(&manifest["layers"][0])?;
    ensure!(layer["bomFormat"] == "CycloneDX", "{layer}");
    ensure!(
        referrer.described(&manifest["config"])? == serde_json::json!({}),
        "{manifest}"
    );
    Ok(())
}

/// What goes into pods is what the other tests test, byte by byte; nothing belongs to anybody but root, can be
/// written by others, or changes its user.
#[test]
fn the_root_holds_the_libraries_as_they_were_tested() -> Result<()> {
    let root = Image::unpack(&archive()?)?.root()?;
    for (inside, outside) in [
        (
            "libnss_k8s_preload.so",
            guests()?.join("libnss_k8s_preload.so"),
        ),
        ("libnss_k8s.so.2", guests()?.join("libnss_k8s.so.2")),
        ("nss-k8s-explain", explain()?),
    ] {
        let inside = root.path().join("lib/nss-k8s").join(inside);
        ensure!(
            fs::read(&inside)? == fs::read(&outside)?,
            "{} is not {}",
            inside.display(),
            outside.display()
        );
    }
    let odd = output(
        Command::new("find")
            .arg(root.path())
            .args(["-not", "-user", "0", "-o", "-not", "-group", "0"])
            .args(["-o", "-perm", "/6022", "-not", "-type", "l"]),
    )?;
    ensure!(odd.is_empty(), "{odd}");
    let bundle = fs::read_to_string(root.path().join("etc/ssl/certs/ca-certificates.crt"))?;
    let count = bundle.matches("-----BEGIN CERTIFICATE-----").count();
    ensure!(count > 100, "{count} roots of trust");
    ensure!(
        root.path()
            .join("usr/share/doc/nss-k8s/LICENSE-APACHE")
            .exists()
    );
    Ok(())
}

/// Both programs start in the image's own root, where there is nothing else: their loader, if any, is inside.
#[test]
fn the_programs_start_in_the_images_root() -> Result<()> {
    let root = Image::unpack(&archive()?)?.root()?;
    let version = output(inside(&root).args(["/nss-k8s", "--version"]))?;
    ensure!(version.starts_with("nss-k8s "), "{version}");
    let usage = output(inside(&root).args(["/lib/nss-k8s/nss-k8s-explain", "--help"]))?;
    ensure!(usage.contains("nss-k8s-explain"), "{usage}");
    Ok(())
}

/// The agent publishes in there, and its commands read what it published: a link that leaves out what is referred to
/// weakly starts well, and ends at the first look into a zone.
#[test]
fn the_agent_publishes_and_explains_in_the_images_root() -> Result<()> {
    let root = Image::unpack(&archive()?)?.root()?;
    let manifests = root.path().join("manifests");
    fs::create_dir(&manifests)?;
    fs::copy(fixture("fixtures/shop.yaml"), manifests.join("shop.yaml"))?;
    fs::create_dir_all(root.path().join("run/nss-k8s/node"))?;
    let pod = Pod::start(Recipe::default())?;
    let mut command = agent_inside(&pod, &root);
    command.args(["--manifests", "/manifests"]);
    let mut agent = Process::start(&mut command, root.path().join("log"))?;
    until("the zone to be live", || {
        let status = of_the_node(&root, &["status"]).output()?;
        Ok(status.status.success().then_some(()))
    })
    .with_context(|| agent.last_words())?;
    let text = output(&mut of_the_node(
        &root,
        &["query", "api", "--namespace", "shop", "--explain"],
    ))?;
    agent.kill()?;
    ensure!(
        text.contains("10.96.1.10") && text.contains("answered by: the zone"),
        "{text}"
    );
    Ok(())
}

/// A kubeconfig names the API server; the pod's DNS server must answer, through the image's own resolver.
#[test]
fn the_agent_finds_an_api_server_by_name() -> Result<()> {
    let root = Image::unpack(&archive()?)?.root()?;
    fs::write(
        root.path().join("etc/resolv.conf"),
        "nameserver 10.96.0.10\n",
    )?;
    fs::write(
        root.path().join("kubeconfig"),
        "apiVersion: v1\nkind: Config\ncurrent-context: one\n\
         contexts: [{name: one, context: {cluster: one, user: one}}]\n\
         clusters: [{name: one, cluster: {server: \"https://api.example.com:6443\"}}]\n\
         users: [{name: one, user: {token: secret}}]\n",
    )?;
    let pod = Pod::start(Recipe {
        dns: Some(Script::default().addresses("api.example.com", &["10.244.0.7"])),
        ..Recipe::default()
    })?;
    let mut command = agent_inside(&pod, &root);
    command.args(["--kubeconfig", "/kubeconfig"]);
    greeted_at(&pod, "10.244.0.7:6443", &mut command, &root)?;
    ensure!(
        !pod.dns()?.take_log().is_empty(),
        "nobody asked the DNS server: who answered?"
    );
    Ok(())
}

/// As in a pod: the address is in the environment, the credentials are files, and there is no DNS server.
#[test]
fn the_agent_finds_an_api_server_by_its_address() -> Result<()> {
    let root = Image::unpack(&archive()?)?.root()?;
    let account = root
        .path()
        .join("var/run/secrets/kubernetes.io/serviceaccount");
    fs::create_dir_all(&account)?;
    fs::write(account.join("token"), "secret")?;
    fs::write(account.join("namespace"), "nss-k8s")?;
    let bundle = fs::read_to_string(root.path().join("etc/ssl/certs/ca-certificates.crt"))?;
    let end = "-----END CERTIFICATE-----\n";
    let (first, _) = bundle.split_once(end).context("no certificate")?;
    fs::write(account.join("ca.crt"), format!("{first}{end}"))?;
    let pod = Pod::start(Recipe::default())?;
    let mut command = agent_inside(&pod, &root);
    command
        .env("KUBERNETES_SERVICE_HOST", "10.244.0.7")
        .env("KUBERNETES_SERVICE_PORT", "443");
    greeted_at(&pod, "10.244.0.7:443", &mut command, &root)
}

/// A command in the image's root, with the image's environment.
fn inside(root: &TempDir) -> Command {
    let mut command = Command::new("/usr/sbin/chroot");
    command.env_clear().env("PATH", "/").arg(root.path());
    command
}

/// The agent in the image's root and the pod's network.
fn agent_inside(pod: &Pod, root: &TempDir) -> Command {
    let mut command = pod.command("/usr/sbin/chroot");
    command.env_clear().env("PATH", "/").arg(root.path()).args([
        "/nss-k8s",
        "agent",
        "--dir",
        "/run/nss-k8s/node",
    ]);
    command
}

/// One of the agent's commands in the image's root, about the zone in there.
fn of_the_node(root: &TempDir, arguments: &[&str]) -> Command {
    let mut command = inside(root);
    command
        .arg("/nss-k8s")
        .args(arguments)
        .args(["--dir", "/run/nss-k8s/node"]);
    command
}

/// Starts the agent and waits until it says hello at `address` as TLS begins: a record of type 22.
fn greeted_at(pod: &Pod, address: &str, command: &mut Command, root: &TempDir) -> Result<()> {
    let address: SocketAddr = address.parse()?;
    let listener = pod
        .namespaces()
        .with_network(|| Ok(TcpListener::bind(address)?))?;
    listener.set_nonblocking(true)?;
    fs::create_dir_all(root.path().join("run/nss-k8s/node"))?;
    let log = root.path().join("log");
    let mut agent = Process::start(command, log.clone())?;
    let accepted = until("the agent to connect to the API server", || {
        Ok(listener.accept().ok())
    });
    let said = fs::read_to_string(&log)?;
    let (mut stream, _) = accepted.with_context(|| said.clone())?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut first = [0];
    stream.read_exact(&mut first).with_context(|| said)?;
    agent.kill()?;
    ensure!(first == [22], "{first:?}");
    Ok(())
}
