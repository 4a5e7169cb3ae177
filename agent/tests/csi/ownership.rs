//! What an agent that was taken over can change on the file system, and what not. Its container is
//! user 0 without capabilities: here a shell of that kind, which tries what must fail and does what an
//! agent has to do.

use super::node::{Node, Volume, on_a_node};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

/// Owner, mode and number of a file, and what it says or where it leads.
type Look = (u32, u32, u64, Vec<u8>);

/// Whether a command of the agent's ends well, in the base directory.
fn agent(node: &Node, script: &str) -> bool {
    let output = Command::new("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
        .args(["sh", "-c", script])
        .current_dir(node.base())
        .env_remove("LD_PRELOAD")
        .output()
        .expect("this test needs setpriv (util-linux)");
    output.status.success()
}

/// Everything on the file system and beside it, by its path.
fn look(node: &Node) -> BTreeMap<PathBuf, Look> {
    let mut found = BTreeMap::new();
    let mut left = vec![node.path("run")];
    while let Some(path) = left.pop() {
        let Ok(file) = fs::symlink_metadata(&path) else {
            continue;
        };
        let content = if file.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if file.is_symlink() {
            fs::read_link(&path)
                .unwrap()
                .into_os_string()
                .into_encoded_bytes()
        } else {
            fs::read(&path).unwrap()
        };
        found.insert(path, (file.uid(), file.mode(), file.ino(), content));
    }
    found
}

/// A node with a pod and the files that an agent would have written, by a driver that is stopped: it
/// writes what it says of itself every two seconds, and stands in for no attempt's effect.
fn prepare(node: &mut Node) -> Volume {
    node.start();
    let volume = node.volume("shop", "a", "nss-k8s");
    node.publish(&volume).unwrap();
    super::node::wait("the driver's word", || node.level().is_some());
    node.crash();
    assert!(agent(
        node,
        "mkdir view/shops && echo zone > view/shops/zone.v1"
    ));
    volume
}

/// What must fail for an agent, each by itself. `ID` is a volume's name, `LIB` its build's directory.
const FORBIDDEN: &[&str] = &[
    // The node's own file system, which the mount lies in.
    "echo x > ../new",
    "mkdir ../other",
    "chmod 0777 ..",
    // Directories that the driver walks through, out of its way.
    "mv lib lib.old",
    "mv pod pod.old",
    "mv private private.old",
    "mv private/pods private/pods.old",
    "mv pod/ID pod/other",
    "mv LIB lib/other",
    "mv pod/ID/lib pod/ID/lib.old",
    "mv pod/ID/etc pod/ID/etc.old",
    "mkdir other && mv other lib",
    "rm -rf private/pods",
    // Libraries: of new pods, and of pods that run.
    "echo x > LIB/libnss_k8s_preload.so",
    "echo x >> LIB/libnss_k8s.so.2",
    "chmod 0777 LIB/libnss_k8s_preload.so",
    "chown 0 LIB/libnss_k8s_preload.so",
    "rm -f LIB/libnss_k8s_preload.so",
    "truncate -s 0 LIB/libnss_k8s_preload.so",
    "mv LIB/libnss_k8s.so.2 LIB/libnss_k8s_preload.so",
    "echo x > LIB/new.so",
    "mkdir lib/9.9.9",
    "ln -s /etc lib/.draft.pod",
    "chmod 0777 LIB",
    "chmod 0777 lib",
    "echo x > pod/ID/lib/preload/libnss_k8s_preload.so",
    "ln -sfn /tmp pod/ID/lib/preload",
    "echo /x.so > pod/ID/etc/ld.so.preload",
    "rm -f pod/ID/etc/ld.so.preload",
    "rmdir pod/ID/etc || rm -rf pod/ID/etc",
    // Whose a directory is.
    "echo '{\"namespace\":\"bank\"}' > private/pods/a",
    "echo '{\"namespace\":\"bank\"}' > private/pods/ID",
    "rm -f private/pods/ID",
    "ln -s /etc/passwd private/pods/.csi.driver",
    "chmod 0777 private/pods",
    "chmod 0777 private",
    "chmod 0777 pod",
    // What the driver says of itself, and the room it keeps.
    "rm -f private/driver",
    "mv private/driver private/driver.old",
    "ln -sf /etc/passwd private/driver",
    "rm -f private/ballast",
    "ln -sf /etc/passwd private/ballast",
];

/// What an agent does in its day.
const NEEDED: &[&str] = &[
    "test -r private/pods/ID && test -r private/driver",
    "echo '{}' > private/.classes.new && mv private/.classes.new private/classes && test -f private/classes",
    "echo '{\"disabled\":true}' > private/.classes.new && mv private/.classes.new private/classes && grep -q true private/classes",
    "echo > private/disabled && rm private/disabled && ! test -e private/disabled",
    "mkdir view/default && echo zone > view/default/zone.v1 && test -s view/default/zone.v1",
    "ln view/shops/zone.v1 pod/ID/.zone.v1 && mv pod/ID/.zone.v1 pod/ID/zone.v1 && test view/shops/zone.v1 -ef pod/ID/zone.v1",
    "ln view/default/zone.v1 pod/ID/.zone.v1 && mv pod/ID/.zone.v1 pod/ID/zone.v1 && test view/default/zone.v1 -ef pod/ID/zone.v1",
    "echo x > pod/ID/forward.sock && rm pod/ID/forward.sock && ! test -e pod/ID/forward.sock",
    "mkdir pod/by-hand && rmdir pod/by-hand && ! test -e pod/by-hand",
    "rm pod/ID/zone.v1 && ! test -e pod/ID/zone.v1",
];

/// A script about one volume.
fn of(script: &str, node: &Node, volume: &Volume) -> String {
    let lib = node.preloaded(volume)[0]
        .rsplit_once('/')
        .unwrap()
        .0
        .to_owned();
    script.replace("ID", &volume.id).replace("LIB", &lib)
}

#[test]
fn an_agent_changes_nothing_of_the_drivers() {
    on_a_node(|node| {
        let volume = prepare(node);
        let before = look(node);
        for script in FORBIDDEN {
            let script = of(script, node, &volume);
            assert!(!agent(node, &script), "it works: {script}");
            assert_eq!(look(node), before, "it has an effect: {script}");
        }
        for script in NEEDED {
            let script = of(script, node, &volume);
            assert!(
                agent(node, &script),
                "the agent cannot do its work: {script}"
            );
        }
        // The driver goes on with all of it.
        node.start();
        assert_eq!(
            (node.mounts_on(&volume), node.preloaded(&volume).len()),
            (1, 2)
        );
        node.unpublish(&volume).unwrap();
        node.assert_gone(&volume);
    });
}

/// Each part of the protection by itself: without it, the attempt that it is there for works.
#[test]
fn owner_and_sticky_bit_are_what_holds() {
    /// What is given away, and what works then.
    type Case = (&'static str, fn(&Path), &'static str);
    fn give(path: &Path) {
        chown(path, Some(0), Some(0)).unwrap();
    }
    fn unstick(path: &Path) {
        let mode = fs::metadata(path).unwrap().mode();
        fs::set_permissions(path, PermissionsExt::from_mode(mode & 0o777)).unwrap();
    }
    let cases: [Case; 9] = [
        ("..", give, "echo x > ../new"),
        ("", give, "mv lib lib.old && mv lib.old lib"),
        (
            "LIB/libnss_k8s_preload.so",
            give,
            "chmod 0777 LIB/libnss_k8s_preload.so",
        ),
        (
            "LIB",
            give,
            "mv LIB/libnss_k8s.so.2 LIB/libnss_k8s_preload.so",
        ),
        ("private", unstick, "mv private/driver private/driver.old"),
        (
            "private/pods",
            give,
            "ln -s /etc/passwd private/pods/.csi.driver",
        ),
        ("pod", unstick, "mv pod/ID pod/other && mv pod/other pod/ID"),
        (
            "pod/ID",
            unstick,
            "mv pod/ID/etc pod/ID/etc.old && mv pod/ID/etc.old pod/ID/etc",
        ),
        ("pod/ID/etc", give, "rm -f pod/ID/etc/ld.so.preload"),
    ];
    on_a_node(move |node| {
        let volume = prepare(node);
        for (path, weaken, script) in cases {
            let script = of(script, node, &volume);
            let path = node.base().join(of(path, node, &volume));
            assert!(!agent(node, &script), "it works: {script}");
            weaken(&path);
            assert!(agent(node, &script), "something else holds: {script}");
        }
    });
}
