//! The built binary and its configuration file: reading, following, refusing; classes and their
//! zones; directories of pods.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

#[path = "support/place.rs"]
mod support;

use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
};
use support::{Agent, PATIENCE, Place, get, wait};

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {tier: bank}}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {clusterIP: 10.0.0.1}
---
apiVersion: v1
kind: Namespace
metadata: {name: dev}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: dev, labels: {app: other}}
spec: {clusterIP: 10.0.0.2}
";

const SHOP_API: &str = "api.shop.svc.cluster.local.";
const DEV_API: &str = "api.dev.svc.cluster.local.";

/// A shop and an agent with a configuration, published.
struct Rig {
    place: Place,
    agent: Agent,
}

impl Rig {
    fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    fn start_with(config: &str, options: &[&str]) -> Self {
        let place = Place::new();
        place.write("shop.yaml", SHOP);
        fs::write(place.path("config.yaml"), config).unwrap();
        let file = place.path("config.yaml");
        let mut all = vec![
            "--accept-any-nameserver",
            "--config",
            file.to_str().unwrap(),
        ];
        all.extend(options);
        let agent = place.agent(&all);
        agent.wait_until_published();
        Self { place, agent }
    }

    /// Replaces the file the way an editor does.
    fn configure(&self, text: &str) {
        fs::write(self.place.path("next"), text).unwrap();
        fs::rename(self.place.path("next"), self.place.path("config.yaml")).unwrap();
    }

    fn metric(&self, line: &str) -> bool {
        get(&self.agent.address(), "/metrics")
            .lines()
            .any(|found| found == line)
    }

    fn status(&self, class: &str) -> serde_json::Value {
        let said = self.place.say(&["status", "--json", "--class", class]);
        serde_json::from_str(&said).unwrap_or_default()
    }

    fn wait_for(&self, name: &str, answer: &str) {
        wait(&format!("{name} to be {answer}"), || {
            self.place.query(name) == answer
        });
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|found| found.ino())
}

#[test]
fn a_changed_file_counts_without_a_restart() {
    let rig = Rig::start("kubernetes: {ttl: 7}");
    assert_eq!(rig.status("default")["config"]["ttl"], 7);
    rig.configure("kubernetes: {ttl: 8, except: [dev.svc.cluster.local]}");
    wait("the new TTL", || {
        rig.status("default")["config"]["ttl"] == 8
    });
    rig.wait_for(DEV_API, "pass(ask-excepted)");
    assert_eq!(rig.place.query(SHOP_API), "10.0.0.1");
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let rig = Rig::start("kubernetes: {ttl: 7}");
    assert!(rig.metric("nss_k8s_config_reload_success 1"));
    rig.configure("kubernetes:\n  ttl: 8\n  podz: x\n");
    rig.agent
        .wait_for(&["config.yaml", "line 3 column 3", "unknown field `podz`"]);
    wait("the metric", || {
        rig.metric("nss_k8s_config_reload_success 0")
    });
    assert_eq!(rig.status("default")["config"]["ttl"], 7);
    rig.configure("kubernetes: {ttl: 9}");
    wait("the metric", || {
        rig.metric("nss_k8s_config_reload_success 1")
    });
    wait("the new TTL", || {
        rig.status("default")["config"]["ttl"] == 9
    });
    assert!(rig.metric("nss_k8s_config_reloads_total{result=\"refused\"} 1"));
    let log = rig.agent.log();
    assert_eq!(
        log.matches("what was in force stays").count(),
        1,
        "once:\n{log}"
    );
}

#[test]
fn a_mounted_config_map_changes_by_its_link() {
    let place = Place::new();
    place.write("shop.yaml", SHOP);
    let mount = place.path("mount");
    for (version, ttl) in [("1", 7), ("2", 8)] {
        fs::create_dir_all(mount.join(version)).unwrap();
        let text = format!("kubernetes: {{ttl: {ttl}}}");
        fs::write(mount.join(version).join("config.yaml"), text).unwrap();
    }
    symlink("1", mount.join("..data")).unwrap();
    symlink("..data/config.yaml", mount.join("config.yaml")).unwrap();
    let file = mount.join("config.yaml");
    let agent = place.agent(&["--config", file.to_str().unwrap()]);
    agent.wait_until_published();
    symlink("2", mount.join("..next")).unwrap();
    fs::rename(mount.join("..next"), mount.join("..data")).unwrap();
    wait("the new TTL", || {
        place.say(&["status", "--json"]).contains("\"ttl\": 8")
    });
}

#[test]
fn what_cannot_change_at_run_time_says_so() {
    let rig = Rig::start("kubernetes: {ttl: 7}");
    rig.configure(
        "kubernetes: {ttl: 8, cluster_domain: other.local}\nforward: {sockets: {in_flight: 7}}",
    );
    rig.agent.wait_for(&[
        "kubernetes.cluster_domain",
        "forward.sockets",
        "from the next start",
    ]);
    wait("the rest of it", || {
        rig.status("default")["config"]["ttl"] == 8
    });
    assert_eq!(rig.status("default")["apex"], "cluster.local");
}

#[test]
fn flags_win_over_the_file() {
    let rig = Rig::start_with("kubernetes: {ttl: 7, miss_policy: nxdomain}", &["--ttl=9"]);
    let config = &rig.status("default")["config"];
    assert_eq!(
        (&config["ttl"], &config["miss_policy"]),
        (&9.into(), &"nxdomain".into())
    );
}

#[test]
fn namespaces_are_hidden_and_shown_in_a_live_zone() {
    let rig = Rig::start("kubernetes: {namespaces: [shop]}");
    assert_eq!(rig.place.query(SHOP_API), "10.0.0.1");
    assert_eq!(rig.place.query(DEV_API), "nxdomain");
    rig.configure("kubernetes: {namespace_labels: 'tier!=bank'}");
    rig.wait_for(DEV_API, "10.0.0.2");
    rig.wait_for(SHOP_API, "nxdomain");
    rig.configure("kubernetes: {labels: app=api}");
    rig.wait_for(SHOP_API, "10.0.0.1");
    rig.wait_for(DEV_API, "pass(ask-miss)");
    rig.configure("");
    rig.wait_for(DEV_API, "10.0.0.2");
    assert_eq!(
        rig.place.say(&["query", "10.0.0.2", "--type", "PTR"]),
        "api.dev.svc.cluster.local"
    );
    rig.configure("kubernetes: {namespaces: [shop]}");
    wait("no name of a hidden namespace", || {
        rig.place.say(&["query", "10.0.0.2", "--type", "PTR"]) != "api.dev.svc.cluster.local"
    });
}

const CLASSES: &str = "
classes:
  - {name: bank, external: 'off', namespace_selector: tier=bank}
  - {name: vip, namespaces: ['v*']}
";

#[test]
fn every_class_has_a_zone_with_the_same_content() {
    let rig = Rig::start(CLASSES);
    for class in ["default", "bank", "vip"] {
        let status = rig.status(class);
        assert_eq!(status["live"], true, "{class}: {status}");
        assert_eq!(status["services"], 2, "{class}");
        let external = if class == "bank" { "off" } else { "pod" };
        assert_eq!(status["config"]["external"], external, "{class}");
        let answer = rig.place.say(&["query", SHOP_API, "--class", class]);
        assert_eq!(answer, "10.0.0.1", "{class}");
    }
    rig.place
        .write("more.yaml", &SHOP.replace("name: api", "name: web"));
    for class in ["default", "bank", "vip"] {
        wait("the new service", || rig.status(class)["services"] == 4);
    }
    // A class that comes has everything at once; one that goes has no file any more.
    let bank = rig.place.path("base/view/bank/zone.v1");
    rig.configure("classes: [{name: late, namespaces: [late]}]");
    wait("the new class", || rig.status("late")["services"] == 4);
    wait("the old class to go", || !bank.exists());
    assert_eq!(rig.status("late")["live"], true);
    assert_eq!(rig.status("default")["live"], true);
}

#[test]
fn the_kill_switch_reaches_every_class() {
    let rig = Rig::start(CLASSES);
    rig.place.say(&["disable"]);
    for class in ["default", "bank", "vip"] {
        assert_eq!(rig.status(class)["state"], "disabled", "{class}");
    }
    rig.place.say(&["enable"]);
    for class in ["default", "bank", "vip"] {
        assert_eq!(rig.status(class)["state"], "live", "{class}");
    }
}

#[test]
fn a_restart_retires_the_classes_that_are_gone() {
    let Rig { place, agent } = Rig::start(CLASSES);
    let before = inode(&place.path("base/view/bank/zone.v1"));
    agent.end(libc::SIGTERM);
    fs::remove_file(place.path("log")).unwrap();
    let file = place.path("config.yaml");
    fs::write(&file, CLASSES.replace("name: vip", "name: other")).unwrap();
    let agent = place.agent(&["--config", file.to_str().unwrap()]);
    agent.wait_until_published();
    // Once no pod's directory can lead to it any more.
    wait("the zone of the class to go", || {
        !place.path("base/view/vip/zone.v1").exists()
    });
    assert_eq!(
        inode(&place.path("base/view/bank/zone.v1")),
        before,
        "adopted"
    );
    assert!(place.path("base/view/other/zone.v1").exists());
}

#[test]
fn a_pods_directory_follows_its_namespaces_class() {
    let rig = Rig::start(CLASSES);
    let zone = |class: &str| inode(&rig.place.path("base/view").join(class).join("zone.v1"));
    let pod = |id: &str| inode(&rig.place.path("base/pod").join(id).join("zone.v1"));
    for (id, namespace) in [("one", "shop"), ("two", "dev"), ("three", "unheard-of")] {
        let path = rig.place.say(&["pod", "add", id, "--namespace", namespace]);
        assert!(path.ends_with(&format!("pod/{id}")), "{path}");
    }
    wait("the links", || {
        pod("one") == zone("bank") && pod("two") == zone("default")
    });
    wait("the directory", || {
        rig.place.path("base/pod/three").is_dir()
    });
    assert_eq!(pod("three"), None, "its namespace is not known");
    let list = rig.place.say(&["pod", "list"]);
    assert_eq!(
        list,
        "one shop bank\nthree unheard-of (waiting)\ntwo dev default"
    );
    rig.place.write(
        "late.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: unheard-of}\n",
    );
    wait("the late namespace", || pod("three") == zone("default"));
    rig.place
        .write("shop.yaml", &SHOP.replace("tier: bank", "tier: none"));
    wait("another class", || pod("one") == zone("default"));
    assert!(rig.metric("nss_k8s_pods{class=\"default\"} 3"));
    rig.place.say(&["pod", "remove", "one"]);
    wait("the directory to go", || {
        !rig.place.path("base/pod/one").exists()
    });
}

#[test]
fn a_pod_of_a_class_that_the_node_asks_for_has_a_socket_of_its_own() {
    let rig = Rig::start("classes: [{name: batch, external: node, namespaces: [shop]}]");
    for (id, namespace) in [("one", "shop"), ("two", "shop"), ("three", "dev")] {
        rig.place.say(&["pod", "add", id, "--namespace", namespace]);
    }
    let socket = |id: &str| rig.place.path("base/pod").join(id).join("forward.sock");
    wait("the sockets", || {
        socket("one").exists() && socket("two").exists()
    });
    wait("the class's own", || {
        rig.place.path("base/view/batch/forward.sock").exists()
    });
    assert_ne!(inode(&socket("one")), inode(&socket("two")));
    std::os::unix::net::UnixStream::connect(socket("one")).unwrap();
    assert!(!socket("three").exists());
    rig.configure("classes: [{name: batch, external: pod, namespaces: [shop]}]");
    wait("the sockets to go", || {
        !socket("one").exists() && !socket("two").exists()
    });
    wait("the class's own to go", || {
        !rig.place.path("base/view/batch/forward.sock").exists()
    });
}

#[test]
fn warns_of_namespaces_that_are_top_level_domains() {
    let rig = Rig::start("tld_guard: {mode: warn}");
    rig.agent
        .wait_for(&["namespace=\"dev\"", "top-level domain"]);
    wait("the metric", || rig.metric("nss_k8s_tld_namespaces 2"));
    rig.configure("tld_guard: {mode: \"on\", except: [dev]}");
    wait("the metric", || rig.metric("nss_k8s_tld_namespaces 1"));
    rig.configure("");
    wait("the metric", || rig.metric("nss_k8s_tld_namespaces 0"));
}

#[test]
fn checks_files_without_an_agent() {
    let place = Place::new();
    let file = place.path("config.yaml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let command = env!("CARGO_BIN_EXE_nss-k8s");
        let mut command = std::process::Command::new(command);
        let output = command
            .args(["config", "check"])
            .arg(&file)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(check("kubernetes: {ttl: 5}"), (Some(0), String::new()));
    let (code, said) = check("kubernetes: {ttl: 9999}\nblock: [.]\n");
    assert_eq!((code, said.lines().count()), (Some(1), 2), "{said}");
    let (code, said) = check("kubernetes:\n  ttl: x\n");
    assert!(code == Some(1) && said.contains("line 2"), "{said}");
}

/// An agent that is told to stop answers what has come, for seconds maybe. The next one has the zone
/// by then, and the sockets.
#[test]
fn who_leaves_does_not_take_the_sockets_again() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = upstream.local_addr().unwrap().port();
    let Rig { place, agent } = Rig::start(&format!(
        "classes: [{{name: default, external: node}}]
listen: {{addresses: [127.0.0.1], port: 0}}
forward:
  groups: [{{zones: [.], upstreams: [{{address: 127.0.0.1, port: {port}, transport: udp}}]}}]"
    ));
    agent.wait_for(&["listening for DNS"]);
    let log = agent.log();
    let line = log.lines().find(|it| it.contains("listening for DNS"));
    let (_, address) = line.unwrap().rsplit_once("address=").unwrap();
    let address = address.split_whitespace().next().unwrap();
    // It is never answered.
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04dead\0\0\x01\0\x01";
    client.send_to(query, address).unwrap();
    let mut room = [0; 512];
    let mut asked = || {
        upstream
            .recv(&mut room)
            .map(|length| room[..length].to_vec())
    };
    while !asked().unwrap().windows(4).any(|part| part == b"dead") {}
    let socket = place.path("base/view/default/forward.sock");
    wait("a socket", || socket.exists());
    let old = inode(&socket);
    agent.signal(libc::SIGTERM);
    let file = place.path("config.yaml");
    let _next = place.agent(&["--config", file.to_str().unwrap()]);
    wait("the next agent's socket", || inode(&socket) != old);
    let new = inode(&socket);
    assert!(agent.ended().success());
    assert_eq!(inode(&socket), new);
}
