//! The registry is lost, or a part of it: pods that run keep what they have.

use super::node::{Node, Volume, on_a_node};
use std::fs;

const TABLE: &str = r#"{
    "classes": {"default": {"class": "default", "view": "shops", "inject": true}},
    "namespaces": {"shop": "default"}
}"#;

/// What a pod has still got.
fn assert_kept(node: &Node, volume: &Volume) {
    assert_eq!(node.mounts_on(volume), 1);
    assert_eq!(node.read(volume, "zone.v1").unwrap(), "the zone of shops");
    assert_eq!(node.preloaded(volume).len(), 2);
    assert_eq!(
        node.read(volume, &node.preloaded(volume)[0]).unwrap(),
        "first"
    );
}

#[test]
fn pods_that_run_outlive_their_entries() {
    on_a_node(|node| {
        node.start();
        node.write_table(TABLE);
        let volumes = ["till", "store", "done"].map(|pod| node.volume("shop", pod, "nss-k8s"));
        for volume in &volumes {
            node.publish(volume).unwrap();
        }
        let [till, store, done] = &volumes;
        let base = node.base();
        node.crash();
        // A new build would replace the old one, were it not for the pods.
        node.build_libraries("second");
        fs::remove_dir_all(base.join("private/pods")).unwrap();
        // A pod that is mounted only where a container has a part of it.
        let part = node.path("kubelet/part");
        fs::create_dir(&part).unwrap();
        super::node::mount(
            Some(&store.target.join("lib")),
            &part,
            None,
            libc::MS_BIND,
            None,
        );
        unmount(&store.target);
        // One of a pod that is gone, and one that nobody ever showed.
        unmount(&done.target);
        fs::create_dir_all(base.join("pod/nobody/lib")).unwrap();
        // A stop that would take the file system away under the pods.
        node.arguments = vec!["--unmount-when-unused".to_owned()];
        node.start();
        assert_kept(node, till);
        assert!(base.join("pod").join(&store.id).join("zone.v1").exists());
        assert!(!base.join("pod").join(&done.id).exists());
        assert!(!base.join("pod/nobody").exists());
        assert!(node.end(libc::SIGTERM).unwrap().success());
        node.start();
        assert_kept(node, till);

        // Kubelet calls again after a restart: the entry is there again, the build is the old one.
        let entry = base.join("private/pods").join(&till.id);
        assert!(!entry.exists());
        node.publish(till).unwrap();
        assert!(fs::read_to_string(&entry).unwrap().contains("\"shop\""));
        assert_kept(node, till);
        // One entry alone, and kubelet takes the volume away.
        fs::remove_file(&entry).unwrap();
        node.crash();
        node.start();
        assert_kept(node, till);
        node.unpublish(till).unwrap();
        node.assert_gone(till);
        unmount(&part);
        node.unpublish(store).unwrap();
        node.assert_gone(store);
    });
}

/// Whoever asks with another target, or without an entry to tell, takes nothing away from a pod.
#[test]
fn another_target_takes_nothing_away() {
    on_a_node(|node| {
        node.start();
        node.write_table(TABLE);
        let volume = node.volume("shop", "till", "nss-k8s");
        node.publish(&volume).unwrap();
        let mut other = node.volume("shop", "till", "by-hand");
        other.id.clone_from(&volume.id);
        for lost in [false, true] {
            if lost {
                fs::remove_file(node.base().join("private/pods").join(&volume.id)).unwrap();
            }
            node.unpublish(&other).unwrap();
            assert_kept(node, &volume);
        }
        node.unpublish(&volume).unwrap();
        node.assert_gone(&volume);
    });
}

fn unmount(path: &std::path::Path) {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a string that ends with zero.
    assert_eq!(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }, 0);
}
