//! Locks and leases of a pod's root hold up nobody.

use super::node::{Node, Volume, on_a_node, wait};
use nss_k8s_zone::{Options, Writer};
use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::Path,
    time::Instant,
};

/// Takes a lease as a pod's root can: on a file that it has open for reading, through a mount that is
/// read-only. 0: granted; else the errno.
fn lease(file: &File, kind: i32) -> i32 {
    // SAFETY: an open descriptor and a number.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } {
        0 => 0,
        _ => io::Error::last_os_error().raw_os_error().unwrap(),
    }
}

/// A node with a zone that an agent has made, whose agent is away, and a pod that sees it.
fn with_zone(node: &Node) -> Volume {
    let (writer, _) = Writer::open(options(node)).unwrap();
    drop(writer);
    let base = node.base();
    let table = r#"{"classes": {"d": {"class": "default", "view": "default", "inject": true}},
        "namespaces": {"shop": "d"}}"#;
    fs::write(base.join("private/classes"), table).unwrap();
    let volume = node.volume("shop", "till", "nss-k8s");
    node.publish(&volume).unwrap();
    volume
}

fn options(node: &Node) -> Options {
    Options::new(node.base(), "cluster.local")
}

fn read_only(path: &Path) -> File {
    File::open(path).unwrap()
}

/// The signal that tells of a conflict would end this process.
fn ignore_the_breaking_of_leases() {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

#[test]
fn no_lease_is_granted_while_the_driver_runs() {
    on_a_node(|node| {
        ignore_the_breaking_of_leases();
        node.start();
        let pod = with_zone(node).target;
        let zone = read_only(&pod.join("zone.v1"));
        // Our own descriptor alone would refuse a write lease of another one, not of itself.
        wait("the driver to hold the zone", || {
            let granted = lease(&zone, libc::F_RDLCK);
            lease(&zone, libc::F_UNLCK);
            granted == libc::EAGAIN
        });
        for kind in [libc::F_RDLCK, libc::F_WRLCK] {
            assert_eq!(lease(&zone, kind), libc::EAGAIN);
        }
        let library = read_only(&pod.join("lib/preload/libnss_k8s_preload.so"));
        assert_eq!(lease(&library, libc::F_WRLCK), libc::EAGAIN);
        // A read lease on a library is granted; nobody opens one for writing.
        // The next agent, under a lock that anybody may take.
        // SAFETY: an open descriptor.
        assert_eq!(unsafe { libc::flock(zone.as_raw_fd(), libc::LOCK_EX) }, 0);
        let (writer, _) = Writer::open(options(node)).unwrap();
        drop(writer);
    });
}

/// A lease that was taken while neither driver nor agent was there: the driver serves all the same, and
/// has the file as soon as the lease ends.
#[test]
fn a_lease_of_before_holds_up_nothing() {
    on_a_node(|node| {
        ignore_the_breaking_of_leases();
        node.start();
        let first = with_zone(node);
        let pod = first.target.clone();
        let named = pod.join("lib/preload").read_link().unwrap();
        node.crash();
        let zone = read_only(&pod.join("zone.v1"));
        let library = read_only(&pod.join("lib/preload/libnss_k8s_preload.so"));
        // So this is what the driver is there to prevent.
        assert_eq!(lease(&zone, libc::F_RDLCK), 0);
        assert_eq!(lease(&library, libc::F_WRLCK), 0);
        let seal = read_only(&pod.join("etc/ld.so.preload"));
        assert_eq!(lease(&seal, libc::F_WRLCK), 0);
        let begin = Instant::now();
        node.start();
        // Kubelet calls again for a pod that runs.
        node.publish(&first).unwrap();
        let volume = node.volume("shop", "second", "nss-k8s");
        node.publish(&volume).unwrap();
        assert_eq!(
            volume.target.join("lib/preload").read_link().unwrap(),
            named
        );
        // The kernel ends a lease that nobody gives back after so many seconds.
        let limit = fs::read_to_string("/proc/sys/fs/lease-break-time").unwrap();
        assert!(begin.elapsed().as_secs() + 5 < limit.trim().parse().unwrap());
        assert_eq!(lease(&zone, libc::F_UNLCK), 0);
        assert_eq!(lease(&library, libc::F_UNLCK), 0);
        let again = read_only(&pod.join("zone.v1"));
        wait("the driver to hold the zone", || {
            let granted = lease(&again, libc::F_RDLCK);
            lease(&again, libc::F_UNLCK);
            granted == libc::EAGAIN
        });
    });
}
