//! What a pod gets, by whose word, and that it goes again.

use super::node::{Volume, on_a_node, publish_request};
use nss_k8s_agent::csi::proto::csi::{
    VolumeCapability,
    node_client::NodeClient,
    volume_capability::{AccessType, BlockVolume},
};
use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt};
use tonic::Code;

const TABLE: &str = r#"{
    "classes": {
        "default": {"class": "default", "view": "shops", "inject": true},
        "plain": {"class": "plain", "view": "shops", "inject": false}
    },
    "namespaces": {"shop": "default", "bank": "plain"}
}"#;

#[test]
fn a_pod_gets_its_directory_and_gives_it_back() {
    on_a_node(|node| {
        node.start();
        node.write_table(TABLE);
        let before = node.all_mounts();
        let volume = node.volume("shop", "till", "nss-k8s");
        node.publish(&volume).unwrap();
        // Kubelet repeats a call whose answer it did not get.
        node.publish(&volume).unwrap();
        assert_eq!(node.mounts_on(&volume), 1);
        assert_eq!(node.read(&volume, "zone.v1").unwrap(), "the zone of shops");
        let preloaded = node.preloaded(&volume);
        let files: Vec<_> = preloaded
            .iter()
            .filter_map(|p| p.rsplit('/').next())
            .collect();
        assert_eq!(files, ["libnss_k8s_preload.so", "libnss_k8s.so.2"]);
        assert_eq!(node.read(&volume, &preloaded[0]).unwrap(), "first");
        let stable = volume.target.join("lib/preload/libnss_k8s_preload.so");
        let inode = |path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(stable), inode(volume.target.join(&preloaded[0])));
        assert_eq!(
            node.read(&volume, "lib/preload/nss-k8s-explain").unwrap(),
            "first"
        );
        assert_eq!(node.read(&volume, "etc/nsswitch.conf"), None);
        // The agent learns whose it is.
        let entry = node.base().join("private/pods").join(&volume.id);
        let entry: serde_json::Value = serde_json::from_slice(&fs::read(entry).unwrap()).unwrap();
        assert_eq!(
            (&entry["namespace"], &entry["pod"]),
            (&"shop".into(), &"till".into())
        );

        node.unpublish(&volume).unwrap();
        node.assert_gone(&volume);
        node.unpublish(&volume).unwrap();
        assert_eq!(node.all_mounts(), before);
    });
}

/// Root in the node's mount namespace, which is more than a pod's root has, cannot change anything.
#[test]
fn the_mount_is_read_only_wherever_it_spreads() {
    on_a_node(|node| {
        node.start();
        node.write_table(TABLE);
        let volume = node.volume("shop", "till", "nss-k8s");
        node.publish(&volume).unwrap();
        let refused = |result: io::Result<()>| {
            assert_eq!(
                result.unwrap_err().kind(),
                io::ErrorKind::ReadOnlyFilesystem
            );
        };
        let zone = volume.target.join("zone.v1");
        refused(fs::write(volume.target.join("new"), ""));
        refused(fs::OpenOptions::new().write(true).open(&zone).map(drop));
        refused(fs::remove_file(&zone));
        refused(fs::hard_link(&zone, volume.target.join("second")));
        refused(fs::set_permissions(
            &zone,
            fs::metadata(&zone).unwrap().permissions(),
        ));
        let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let target = volume.target.to_str().unwrap();
        let line = text
            .lines()
            .find(|line| line.split(' ').nth(4) == Some(target));
        let options = line.unwrap().split(' ').nth(5).unwrap();
        let options: BTreeSet<_> = options.split(',').collect();
        assert!(
            options.is_superset(&["ro", "nosuid", "nodev"].into()),
            "{options:?}"
        );
        assert!(!options.contains("noexec"), "{options:?}");
    });
}

#[test]
fn attributes_of_the_author_change_nothing() {
    on_a_node(|node| {
        node.start();
        node.write_table(TABLE);
        let mut volume = node.volume("unknown", "till", "nss-k8s");
        for (key, value) in [
            ("namespace", "shop"),
            ("class", "default"),
            ("pod.namespace", "shop"),
        ] {
            volume.attributes.insert(key.to_owned(), value.to_owned());
        }
        node.publish(&volume).unwrap();
        // Of a namespace that is not in the table: libraries, and nothing to answer from.
        assert_eq!(node.read(&volume, "zone.v1"), None);
        assert_eq!(node.preloaded(&volume).len(), 2);
        node.unpublish(&volume).unwrap();

        // Without kubelet's word, as where the CSIDriver object does not ask for it.
        let mut author = volume.clone();
        author
            .attributes
            .insert("csi.storage.k8s.io/pod.namespace".into(), "shop".into());
        author
            .attributes
            .insert("csi.storage.k8s.io/pod.uid".into(), "guessed".into());
        let refused = node.publish(&author).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        node.assert_gone(&author);
    });
}

#[test]
fn hostile_names_and_wrong_kinds_are_refused() {
    on_a_node(|node| {
        node.start();
        let volume = node.volume("shop", "till", "nss-k8s");
        let parent = volume.target.parent().unwrap().to_owned();
        let refuse = |hostile: &Volume| {
            for refused in [node.publish(hostile), node.unpublish(hostile)] {
                assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
            }
        };
        for id in ["", "..", "../pods", "a/b", ".hidden", &"x".repeat(200)] {
            let mut hostile = volume.clone();
            hostile.id = id.to_owned();
            refuse(&hostile);
        }
        for target in [
            "".into(),
            "mount".into(),
            parent.join("../../mount"),
            "/".into(),
        ] {
            let mut hostile = volume.clone();
            hostile.target = target;
            refuse(&hostile);
        }
        for capability in [
            None,
            Some(VolumeCapability { access_type: None }),
            Some(VolumeCapability {
                access_type: Some(AccessType::Block(BlockVolume {})),
            }),
        ] {
            let mut request = publish_request(&volume);
            request.volume_capability = capability;
            let refused = node.run(async {
                let channel = super::node::Node::channel(&node.endpoint()).await;
                NodeClient::new(channel).node_publish_volume(request).await
            });
            assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
        }
        node.assert_gone(&volume);
        assert_eq!(fs::read_dir(node.base().join("pod")).unwrap().count(), 0);
    });
}

/// An id belongs to one pod; and a pod may have two volumes.
#[test]
fn volumes_are_told_apart() {
    on_a_node(|node| {
        node.start();
        let first = node.volume("shop", "till", "nss-k8s");
        let second = node.volume("shop", "till", "by-hand");
        node.publish(&first).unwrap();
        node.publish(&second).unwrap();
        let mut thief = node.volume("bank", "thief", "nss-k8s");
        thief.id.clone_from(&first.id);
        assert_eq!(
            node.publish(&thief).unwrap_err().code(),
            Code::AlreadyExists
        );
        assert_eq!(node.mounts_on(&thief), 0);
        node.unpublish(&second).unwrap();
        node.assert_gone(&second);
        assert_eq!(
            (node.mounts_on(&first), node.preloaded(&first).len()),
            (1, 2)
        );
    });
}

/// Where nothing is to be loaded, `ld.so.preload` is empty, and what an environment variable names is
/// there all the same: an object with nothing in it.
#[test]
fn nothing_is_loaded_where_it_is_not_wanted() {
    on_a_node(|node| {
        node.arguments = vec!["--nsswitch".to_owned()];
        node.start();
        let build = nss_k8s_stub::BUILD;
        let refused = TABLE.replacen('{', &format!("{{\"refused_builds\": [{build}],"), 1);
        let disabled = TABLE.replacen('{', "{\"disabled\": true,", 1);
        let other = TABLE.replacen('{', "{\"refused_builds\": [9999],", 1);
        let cases = [
            ("bank", TABLE, false),
            ("shop", refused.as_str(), false),
            ("shop", &disabled, false),
            ("shop", &other, true),
            ("unknown", "{}", true),
            ("shop", &TABLE[..TABLE.len() / 2], false),
            ("unknown", "", false),
            ("unknown", "{\"disabled\": \"true\"}", false),
        ];
        for (index, (namespace, table, wanted)) in cases.into_iter().enumerate() {
            node.write_table(table);
            let volume = node.volume(namespace, &format!("pod-{index}"), "nss-k8s");
            node.publish(&volume).unwrap();
            assert_eq!(node.preloaded(&volume).is_empty(), !wanted, "{table}");
            let object = fs::read(volume.target.join("lib/preload/libnss_k8s_preload.so")).unwrap();
            assert_eq!(object.starts_with(b"\x7fELF"), !wanted, "{table}");
            let nsswitch = node.read(&volume, "etc/nsswitch.conf").unwrap();
            assert_eq!(nsswitch.contains("k8s"), wanted, "{nsswitch}");
        }
        // The agent has not written any.
        fs::remove_file(node.base().join("private/classes")).unwrap();
        let volume = node.volume("shop", "early", "nss-k8s");
        node.publish(&volume).unwrap();
        assert_eq!(node.preloaded(&volume).len(), 2);
        // The switch of `nss-k8s disable`, whatever the table says.
        fs::write(node.base().join("private/disabled"), "").unwrap();
        node.write_table(TABLE);
        let volume = node.volume("shop", "late", "nss-k8s");
        node.publish(&volume).unwrap();
        assert_eq!(node.preloaded(&volume), Vec::<String>::new());
    });
}
