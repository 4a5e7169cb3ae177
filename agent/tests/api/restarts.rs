//! The agent that comes after another one: what it lists, and what it need not list.

use crate::{
    Rig,
    api::{Api, NAMESPACES, SERVICES, SLICES, is_question},
    service, slice,
    support::{Place, wait},
};
use serde_json::json;

/// A small cluster whose agent was killed; what comes to pass while no agent is there; another agent.
fn restarted(options: &[&str], meanwhile: impl FnOnce(&mut Api, &Place)) -> Rig {
    let Rig {
        mut api,
        place,
        agent,
    } = Rig::live(|_| {}, &[], 4);
    agent.end(libc::SIGKILL);
    std::fs::remove_file(place.path("log")).unwrap();
    wait("its watches to end", || api.script().watches() == 0);
    meanwhile(&mut api, &place);
    api.script().times.clear();
    let kubeconfig = place.path("kubeconfig");
    api.kubeconfig(&kubeconfig);
    let mut all = vec!["--accept-any-nameserver"];
    all.extend(options);
    let agent = place.watcher(&kubeconfig, &all);
    agent.wait_until_published();
    Rig { api, place, agent }
}

impl Rig {
    /// What was listed since the restart.
    fn lists(&self) -> Vec<String> {
        let script = self.api.script();
        let asked = script.times.iter().map(|(_, asked)| asked);
        let asked = asked.filter(|asked| !is_question(asked));
        let lists = asked
            .filter(|asked| asked.contains("sendInitialEvents") || !asked.contains("watch=true"));
        let mut paths: Vec<_> = lists
            .map(|asked| asked.split('?').next().unwrap().to_owned())
            .collect();
        paths.sort();
        paths
    }
}

#[test]
fn the_next_agent_goes_on_without_a_list() {
    let rig = restarted(&[], |api, _| {
        api.delete(SERVICES, "a");
        api.put(SERVICES, service("b", "10.0.0.2"));
        api.put(SLICES, slice("db-x", true, "10.0.1.3"));
    });
    // Not more than was known and has happened since.
    assert_eq!(rig.place.query("a"), "pass(ask-miss)");
    assert_eq!(rig.place.query("b"), "10.0.0.2");
    assert_eq!(rig.place.query("db"), "10.0.1.2\n10.0.1.3");
    assert_eq!(rig.lists(), Vec::<String>::new());
    assert!(!rig.agent.log().contains("listed\""), "{}", rig.agent.log());
    // And another one after it.
    rig.wait_for_watches(4);
    rig.api.put(SERVICES, service("c", "10.0.0.3"));
    rig.wait_for("c", "10.0.0.3");
}

#[test]
fn the_next_agent_lists_what_the_server_has_forgotten() {
    let rig = restarted(&[], |api, _| {
        let mut script = api.script();
        script.gone = Some(SERVICES);
        script.take(SERVICES, "a");
        script.replace(SERVICES, service("b", "10.0.0.2"));
    });
    rig.wait_for("b", "10.0.0.2");
    rig.wait_for("a", "pass(ask-miss)");
    assert_eq!(rig.lists(), [SERVICES]);
}

/// The cluster's storage was restored while no agent was there.
#[test]
fn the_next_agent_lists_what_has_another_history() {
    let rig = restarted(&[], |api, _| {
        let mut script = api.script();
        script.restored = Some(1);
        script.take(SERVICES, "a");
        script.replace(SERVICES, service("b", "10.0.0.2"));
    });
    rig.wait_for("b", "10.0.0.2");
    rig.wait_for("a", "pass(ask-miss)");
    assert!(rig.lists().contains(&SERVICES.to_owned()));
}

#[test]
fn the_next_agent_lists_another_cluster() {
    let rig = restarted(&[], |api, _| {
        *api = Api::start();
        let namespace = json!({"metadata": {"name": "shop"}});
        api.put(NAMESPACES, namespace);
        api.put(SERVICES, service("a", "10.9.0.1"));
    });
    rig.wait_for("a", "10.9.0.1");
    rig.wait_for("db", "pass(ask-miss)");
    assert_eq!(rig.lists(), [NAMESPACES, SERVICES, SLICES, SLICES]);
}

#[test]
fn the_next_agent_lists_what_it_wants_more_of() {
    let rig = restarted(&["--endpoint-slices=all"], |_, _| {});
    assert_eq!(rig.place.query("db"), "10.0.1.1\n10.0.1.2");
    assert_eq!(rig.lists(), [SLICES]);
}

#[test]
fn the_next_agent_lists_what_was_kept_badly() {
    let rig = restarted(&[], |api, place| {
        let directory = place.path("base/private/watch/services");
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
        api.script().take(SERVICES, "a");
    });
    rig.wait_for("a", "pass(ask-miss)");
    assert_eq!(rig.lists(), [SERVICES]);
}

/// An object that cannot be read and was never known; and one whose last good form was kept.
#[test]
fn the_next_agent_leaves_alone_what_cannot_be_read() {
    let rig = restarted(&[], |api, _| {
        let mut broken = service("a", "10.0.0.5");
        broken["spec"]["ports"] = 7.into();
        api.put(SERVICES, broken);
        api.put(SERVICES, service("z", "10.0.0.6"));
    });
    rig.wait_for("z", "10.0.0.6");
    assert_eq!(rig.place.query("a"), "10.0.0.1");
    assert_eq!(rig.lists(), Vec::<String>::new());
}
