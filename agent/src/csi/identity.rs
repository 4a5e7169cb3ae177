//! Whose volume it is, by kubelet's word alone.
//!
//! A pod's author writes volume attributes; kubelet puts its own over them when the CSIDriver object
//! says `podInfoOnMount`. What proves that it did: the pod's uid, which nobody knows before the pod is
//! there, is in the target path where kubelet puts it, and that is kubelet's own.

use crate::parse;
use std::{
    collections::HashMap,
    ffi::OsStr,
    path::{Component, Path, PathBuf},
};

/// Kubelet's attributes begin so.
const KUBELET: &str = "csi.storage.k8s.io/";
/// CSI's limit for an id.
const LONGEST_ID: usize = 128;

/// A pod as kubelet names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name, for people.
    pub(super) pod: String,
    /// Its uid.
    pub(super) uid: String,
}

impl Identity {
    /// Reads kubelet's attributes, or says what is wrong. All others are ignored: they can change
    /// nothing, and refusing them would keep a pod from starting whose manifest knows more than we do.
    pub(super) fn of(
        attributes: &HashMap<String, String>,
        target: &Path,
    ) -> Result<Self, &'static str> {
        let attribute = |name: &str| {
            let value = attributes.get(&format!("{KUBELET}{name}"));
            value.map_or("", String::as_str)
        };
        if attribute("ephemeral") != "true" {
            return Err(
                "only inline volumes of pods are served, and the CSIDriver object must say \
                        podInfoOnMount: true",
            );
        }
        let uid = attribute("pod.uid");
        if uid.is_empty() || uid_in(target) != Some(OsStr::new(uid)) {
            return Err(
                "the pod's uid is not kubelet's word: the CSIDriver object must say \
                        podInfoOnMount: true",
            );
        }
        let namespace = attribute("pod.namespace");
        parse::label(namespace).map_err(|_| "the pod's namespace is no name")?;
        Ok(Self {
            namespace: namespace.to_owned(),
            pod: attribute("pod.name").to_owned(),
            uid: uid.to_owned(),
        })
    }
}

/// The uid in a target, `ROOT/pods/UID/volumes/kubernetes.io~csi/NAME/mount`. Everything else in it is known
/// beforehand, or, as the volume's name, the author's: the first place of this form counts.
fn uid_in(target: &Path) -> Option<&OsStr> {
    let parts: Vec<&OsStr> = target.iter().collect();
    parts.windows(4).find_map(|parts| match parts {
        [pods, uid, volumes, plugin]
            if *pods == "pods" && *volumes == "volumes" && *plugin == "kubernetes.io~csi" =>
        {
            Some(*uid)
        }
        _ => None,
    })
}

/// Whether a volume's id can be the name of a file.
pub(super) fn check_id(id: &str) -> Result<(), &'static str> {
    match id {
        "" => Err("the volume's id is missing"),
        id if id.len() <= LONGEST_ID && crate::pods::is_id(id) => Ok(()),
        _ => Err("the volume's id cannot name a directory"),
    }
}

/// The target as a path without detours.
pub(super) fn check_target(target: &str) -> Result<PathBuf, &'static str> {
    if target.is_empty() {
        return Err("the target path is missing");
    }
    let path = Path::new(target);
    let mut parts = path.components();
    let straight = parts.next() == Some(Component::RootDir)
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && path.file_name().is_some()
        && !target.contains('\0');
    match straight {
        // Without double or trailing slashes.
        true => Ok(path.components().collect()),
        false => Err("the target is no absolute path without `..`"),
    }
}

/// Kubelet's directory of all pods, and of this one in it.
pub(super) fn pod_directory<'a>(target: &'a Path, uid: &str) -> Option<(&'a Path, &'a Path)> {
    let pod = target
        .ancestors()
        .find(|path| path.file_name() == Some(OsStr::new(uid)))?;
    let pods = pod.parent()?;
    (pods.file_name() == Some(OsStr::new("pods"))).then_some((pods, pod))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/nss-k8s/mount";

    fn mk_attributes(all: &[(&str, &str)]) -> HashMap<String, String> {
        let pairs = all.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn kubelets_word_counts_alone() {
        let mut attributes = mk_attributes(&[
            ("csi.storage.k8s.io/ephemeral", "true"),
            ("csi.storage.k8s.io/pod.namespace", "shop"),
            ("csi.storage.k8s.io/pod.name", "till-0"),
            ("csi.storage.k8s.io/pod.uid", "u-1"),
            ("namespace", "bank"),
            ("pod.namespace", "bank"),
            ("class", "node"),
        ]);
        let found = Identity::of(&attributes, Path::new(TARGET)).unwrap();
        assert_eq!(
            (&*found.namespace, &*found.pod, &*found.uid),
            ("shop", "till-0", "u-1")
        );
        // Without kubelet's word these are the author's own, who cannot know the uid.
        attributes.insert("csi.storage.k8s.io/pod.uid".to_owned(), "u-2".to_owned());
        Identity::of(&attributes, Path::new(TARGET)).unwrap_err();
        attributes.insert("csi.storage.k8s.io/pod.uid".to_owned(), String::new());
        Identity::of(&attributes, Path::new(TARGET)).unwrap_err();
        attributes.remove("csi.storage.k8s.io/ephemeral");
        Identity::of(&attributes, Path::new(TARGET)).unwrap_err();
    }

    /// An author who knows kubelet's paths, and names the volume, knows everything in a target but the uid.
    #[test]
    fn no_other_part_of_the_target_is_a_uid() {
        let of = |uid: &str, target: &str| {
            let attributes = mk_attributes(&[
                ("csi.storage.k8s.io/ephemeral", "true"),
                ("csi.storage.k8s.io/pod.namespace", "bank"),
                ("csi.storage.k8s.io/pod.uid", uid),
            ]);
            Identity::of(&attributes, Path::new(target))
        };
        let other = "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/pods/mount";
        for target in [TARGET, other] {
            of("u-1", target).unwrap();
            let known = target.split('/').filter(|part| *part != "u-1");
            for uid in known.chain(["/", ".", "..", "pods/u-1", "u-1/"]) {
                of(uid, target).unwrap_err();
            }
        }
        of("u-1", "/mnt/u-1/volumes/kubernetes.io~csi/x/mount").unwrap_err();
    }

    #[test]
    fn namespaces_are_names() {
        for namespace in ["", "..", "a/b", "A", "a b"] {
            let attributes = mk_attributes(&[
                ("csi.storage.k8s.io/ephemeral", "true"),
                ("csi.storage.k8s.io/pod.uid", "u-1"),
                ("csi.storage.k8s.io/pod.namespace", namespace),
            ]);
            Identity::of(&attributes, Path::new(TARGET)).unwrap_err();
        }
    }

    #[test]
    fn ids_are_file_names() {
        check_id(&format!("csi-{:064x}", 7)).unwrap();
        let long = "a".repeat(129);
        for id in [
            "", ".", "..", ".hidden", "a/b", "../pods", "a\0b", "a\n", &long,
        ] {
            check_id(id).unwrap_err();
        }
    }

    #[test]
    fn targets_are_straight() {
        assert_eq!(check_target("/a//b/").unwrap(), Path::new("/a/b"));
        for target in ["", "/", "a/b", "/a/../b", "../a", "/a/\0"] {
            check_target(target).unwrap_err();
        }
    }

    #[test]
    fn pods_have_directories() {
        let pods = Path::new("/var/lib/kubelet/pods");
        let found = pod_directory(Path::new(TARGET), "u-1");
        assert_eq!(found, Some((pods, &*pods.join("u-1"))));
        assert_eq!(pod_directory(Path::new("/mnt/u-1/x"), "u-1"), None);
        assert_eq!(pod_directory(Path::new(TARGET), "u-2"), None);
    }
}
