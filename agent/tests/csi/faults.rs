//! Restarts, crashes at every step, a full file system, volumes that kubelet forgot.

use super::node::{Node, Volume, mount, on_a_node, wait};
use std::{
    fs, io,
    io::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

const EVERYONE: &str = r#"{
    "classes": {"default": {"class": "default", "view": "shops", "inject": true}},
    "namespaces": {"shop": "default"}
}"#;

#[test]
fn a_restart_finds_everything_again() {
    on_a_node(|node| {
        node.start();
        let volume = node.volume("shop", "till", "nss-k8s");
        node.publish(&volume).unwrap();
        let mounts = node.all_mounts();
        for _ in 0..3 {
            node.crash();
            node.start();
            assert_eq!(node.all_mounts(), mounts);
            // Kubelet calls again when it has restarted, too.
            node.publish(&volume).unwrap();
            assert_eq!(node.all_mounts(), mounts);
        }
        node.crash();
        node.start();
        node.unpublish(&volume).unwrap();
        node.assert_gone(&volume);
    });
}

/// A pod keeps the build that it was started with, and a build goes when no pod names it.
#[test]
fn builds_live_as_long_as_their_pods() {
    on_a_node(|node| {
        node.start();
        let old = node.volume("shop", "old", "nss-k8s");
        node.publish(&old).unwrap();
        let named = node.preloaded(&old);
        node.crash();
        node.build_libraries("second");
        node.start();
        let new = node.volume("shop", "new", "nss-k8s");
        node.publish(&new).unwrap();
        node.publish(&old).unwrap();
        assert_eq!(node.preloaded(&old), named);
        assert_eq!(node.read(&old, &named[0]).unwrap(), "first");
        assert_ne!(node.preloaded(&new), named);
        assert_eq!(node.read(&new, &node.preloaded(&new)[0]).unwrap(), "second");
        assert_eq!(builds(node), 2);
        node.unpublish(&old).unwrap();
        assert_eq!(builds(node), 1);
        // Back to the first, which is made again from the image.
        node.crash();
        node.build_libraries("first");
        node.start();
        assert_eq!(builds(node), 2);
        node.unpublish(&new).unwrap();
        assert_eq!(builds(node), 1);
    });
}

fn builds(node: &Node) -> usize {
    let lib = fs::read_dir(node.base().join("lib")).unwrap();
    let names = lib.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| !name.as_encoded_bytes().starts_with(b"."))
        .count()
}

/// Leaves something half-done, below the base directory or on a volume's target.
type Leave = fn(&Path, &Volume);

/// What a driver leaves that is killed between two steps; the next call completes it, and taking the
/// volume away leaves nothing, whichever comes.
#[test]
fn half_done_volumes_are_completed_or_removed() {
    on_a_node(|node| {
        node.start();
        let model = node.volume("shop", "model", "nss-k8s");
        node.publish(&model).unwrap();
        let base = node.base();
        let left: [(&str, Leave); 6] = [
            ("an entry", |_, _| {}),
            ("a directory", |base, volume| {
                fs::create_dir(base.join("pod").join(&volume.id)).unwrap();
            }),
            ("libraries without a seal", |base, volume| {
                let lib = base.join("pod").join(&volume.id).join("lib/0.0.1");
                fs::create_dir_all(&lib).unwrap();
                fs::write(lib.join("libnss_k8s_preload.so"), "half").unwrap();
            }),
            ("a seal that names a missing file", |base, volume| {
                let etc = base.join("pod").join(&volume.id).join("etc");
                fs::create_dir_all(&etc).unwrap();
                let line = "/run/nss-k8s/lib/0.0.1/libnss_k8s_preload.so\n";
                fs::write(etc.join("ld.so.preload"), line).unwrap();
            }),
            ("another directory on the target", |base, volume| {
                fs::create_dir(&volume.target).unwrap();
                mount(
                    Some(&base.join("view")),
                    &volume.target,
                    None,
                    libc::MS_BIND,
                    None,
                );
            }),
            ("two mounts on the target", |_, volume| {
                fs::create_dir(&volume.target).unwrap();
                for _ in 0..2 {
                    mount(None, &volume.target, Some("tmpfs"), 0, None);
                }
            }),
        ];
        let before = node.all_mounts();
        for (index, (what, leave)) in left.into_iter().enumerate() {
            for complete in [true, false] {
                let pod = format!("pod-{index}-{complete}");
                let volume = node.volume("shop", &pod, "nss-k8s");
                let entries = base.join("private/pods");
                let entry = fs::read_to_string(entries.join(&model.id)).unwrap();
                let entry = entry.replace("model", &pod);
                fs::write(entries.join(&volume.id), entry).unwrap();
                leave(&base, &volume);
                if complete {
                    node.publish(&volume).unwrap();
                    assert_eq!(node.preloaded(&volume).len(), 2, "{what}");
                }
                node.unpublish(&volume).unwrap();
                node.assert_gone(&volume);
                assert_eq!(node.all_mounts(), before, "{what}");
            }
        }
    });
}

/// Killed wherever it is; the instants differ from run to run, what must hold does not.
#[test]
fn a_driver_killed_at_any_instant_leaks_nothing() {
    on_a_node(|node| {
        node.start();
        let before = node.all_mounts();
        for round in 0..20_u32 {
            let volume = node.volume("shop", &format!("pod-{round}"), "nss-k8s");
            let socket = node.endpoint();
            let request = super::node::publish_request(&volume);
            let calling = thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let channel = Node::channel(&socket).await;
                    let mut client =
                        nss_k8s_agent::csi::proto::csi::node_client::NodeClient::new(channel);
                    // The driver may be gone before it answers.
                    let _ = client.node_publish_volume(request).await;
                });
            });
            let entry = node.base().join("private/pods").join(&volume.id);
            wait("the call to begin", || {
                entry.exists() || calling.is_finished()
            });
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(u64::from(round) * 25) {
                core::hint::spin_loop();
            }
            node.crash();
            calling.join().unwrap();
            node.start();
            node.publish(&volume).unwrap();
            assert_eq!(
                (node.mounts_on(&volume), node.preloaded(&volume).len()),
                (1, 2)
            );
            node.unpublish(&volume).unwrap();
            node.assert_gone(&volume);
        }
        assert_eq!(node.all_mounts(), before);
    });
}

/// What fails leaves nothing behind: kubelet does not call again to clear up.
#[test]
fn a_failed_call_is_withdrawn() {
    on_a_node(|node| {
        node.start();
        let volume = node.volume("shop", "till", "nss-k8s");
        fs::write(&volume.target, "in the way").unwrap();
        node.publish(&volume).unwrap_err();
        assert_eq!(fs::read_to_string(&volume.target).unwrap(), "in the way");
        fs::remove_file(&volume.target).unwrap();
        node.assert_gone(&volume);
        node.publish(&volume).unwrap();
        assert_eq!(node.preloaded(&volume).len(), 2);
    });
}

#[test]
fn volumes_of_pods_that_are_gone_are_collected() {
    on_a_node(|node| {
        node.start();
        let gone = node.volume("shop", "gone", "nss-k8s");
        let stays = node.volume("shop", "stays", "nss-k8s");
        node.publish(&gone).unwrap();
        node.publish(&stays).unwrap();
        let by_hand = node.base().join("private/pods/by-hand");
        fs::write(&by_hand, r#"{"namespace": "shop"}"#).unwrap();
        node.crash();
        // As after the removal of a pod by force, and a kubelet that lost its memory of it.
        let target = std::ffi::CString::new(gone.target.to_str().unwrap()).unwrap();
        // SAFETY: a string that ends with zero.
        assert_eq!(unsafe { libc::umount(target.as_ptr()) }, 0);
        fs::remove_dir_all(node.path("kubelet/pods/uid-gone")).unwrap();
        node.start();
        node.assert_gone(&gone);
        assert_eq!(
            (node.mounts_on(&stays), node.preloaded(&stays).len()),
            (1, 2)
        );
        assert!(by_hand.exists());
        // Without the directory of all pods nothing is known of any of them.
        node.crash();
        fs::rename(node.path("kubelet/pods"), node.path("kubelet/elsewhere")).unwrap();
        node.start();
        assert!(node.base().join("pod").join(&stays.id).exists());
    });
}

/// When nothing is left the ballast goes, so that pods start all the same; it comes back.
#[test]
fn a_full_file_system_holds_up_no_pod() {
    on_a_node(|node| {
        node.arguments = vec!["--tmpfs-size=2Mi".to_owned()];
        node.start();
        node.write_table(EVERYONE);
        let ballast = node.base().join("private/ballast");
        assert!(ballast.exists());
        let filler = node.base().join("view/filler");
        let fill = || {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&filler)
                .unwrap();
            while file.write_all(&[1; 4096]).is_ok() {}
        };
        fill();
        wait("the alarm", || {
            node.level().as_deref() == Some("full") || !ballast.exists()
        });
        assert!(!ballast.exists());
        let volume = node.volume("shop", "till", "nss-k8s");
        node.publish(&volume).unwrap();
        assert_eq!(node.preloaded(&volume).len(), 2);
        assert_eq!(node.read(&volume, "zone.v1").unwrap(), "the zone of shops");
        // Not a page is left for what the driver itself must write: kubelet is told, nothing leaks.
        fill();
        let late = node.volume("shop", "late", "nss-k8s");
        let refused = node.publish(&late).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
        node.assert_gone(&late);
        fs::remove_file(&filler).unwrap();
        node.publish(&late).unwrap();
        wait("the ballast", || ballast.exists());
        wait("the end of the alarm", || {
            node.level().as_deref() == Some("fine")
        });
    });
}

/// The size follows the arguments, but never below what is used; and the mount is one.
#[test]
fn the_file_system_has_the_size_that_is_asked_for() {
    on_a_node(|node| {
        let size = |node: &Node| {
            let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let base = node.base().to_str().unwrap().to_owned();
            let lines: Vec<_> = text
                .lines()
                .filter(|line| line.split(' ').nth(4) == Some(&base))
                .collect();
            assert_eq!(lines.len(), 1, "{lines:?}");
            let options = lines[0].rsplit(' ').next().unwrap().to_owned();
            options
                .split(',')
                .find_map(|o| o.strip_prefix("size=").map(str::to_owned))
                .unwrap()
        };
        node.start();
        assert_eq!(size(node), "8192k");
        fs::write(node.base().join("view/large"), vec![1; 4 << 20]).unwrap();
        for (asked, has) in [("16Mi", "16384k"), ("2Mi", "16384k"), ("6Mi", "6144k")] {
            node.end(libc::SIGTERM);
            node.arguments = vec![format!("--tmpfs-size={asked}")];
            node.start();
            assert_eq!(size(node), has, "{asked}");
        }
    });
}

/// Whoever mounted something else there keeps it.
#[test]
fn a_foreign_mount_is_not_taken() {
    on_a_node(|node| {
        fs::create_dir(node.base()).unwrap();
        mount(
            Some(&node.path("libraries")),
            &node.base(),
            None,
            libc::MS_BIND,
            None,
        );
        let error = node.start_and_fail();
        assert!(error.contains("is a mount point of type"), "{error}");
        let left: io::Result<Vec<_>> = fs::read_dir(node.path("libraries")).unwrap().collect();
        assert_eq!(left.unwrap().len(), 3);
    });
}
