//! Assignments in clusters that are spelled out; nothing is published.

use super::*;
use crate::model::Labels;

mod changes;

const CONFIG: &str = "
classes: [{name: bank, namespaces: [bank], inject: false}]
policy:
  - {from: {namespaces: ['team-*', bank]}, to: {namespaces: [shared]}}
  - {from: {namespaces: [guest-1, guest-2]}, to: {own: false, namespace_selector: 'open=yes'}}
max_views: 2
";

struct Cluster(Vec<(&'static str, Labels, bool)>);

impl Cluster {
    fn new() -> Self {
        let names = [
            "web", "shared", "team-a", "team-b", "bank", "guest-1", "guest-2",
        ];
        let open = |name| match name {
            "web" | "guest-1" => Labels::from([("open".to_owned(), "yes".to_owned())]),
            _ => Labels::new(),
        };
        Self(
            names
                .into_iter()
                .map(|name| (name, open(name), true))
                .collect(),
        )
    }

    fn known(&self) -> impl Iterator<Item = KnownNamespace<'_>> {
        self.0.iter().map(|(name, labels, listed)| KnownNamespace {
            name,
            labels,
            listed: *listed,
        })
    }

    fn plan(&self, config: &str, on_node: &[&str], published: &[&str]) -> Plan {
        let on_node = on_node.iter().map(|&name| name.to_owned()).collect();
        let config = Arc::new(Config::parse(config).unwrap());
        let mut assignment = Assignment::new(&config, self.known());
        let published = published.iter().copied().collect();
        Plan::of(&mut assignment, Some(&on_node), &published, || self.known())
    }
}

/// What comes of an assignment.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    wanted: Vec<Wanted>,
    table: Arc<Table>,
    refused: usize,
}

impl Plan {
    fn of<'m, K: Iterator<Item = KnownNamespace<'m>>>(
        assignment: &mut Assignment,
        here: Option<&BTreeSet<String>>,
        published: &BTreeSet<&str>,
        known: impl Fn() -> K,
    ) -> Self {
        Self {
            wanted: assignment.choose(here, published, known),
            table: assignment.table(false),
            refused: assignment.count_refused(here),
        }
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.wanted
        .iter()
        .map(|wanted| wanted.name.as_str())
        .collect()
}

fn shown<'p>(plan: &'p Plan, namespace: &str) -> Vec<&'p str> {
    let key = &plan.table.namespaces[namespace];
    let wanted = plan
        .wanted
        .iter()
        .find(|wanted| wanted.name == *key)
        .unwrap();
    match &wanted.shown {
        Shown::Everything => vec!["*"],
        Shown::Only(names) => names.iter().map(String::as_str).collect(),
    }
}

#[test]
fn without_a_policy_the_key_is_the_class() {
    let plan = Cluster::new().plan(
        "classes: [{name: bank, namespaces: [bank]}]",
        &["bank"],
        &[],
    );
    assert_eq!(names(&plan), ["default", "bank"]);
    assert_eq!(plan.table.namespaces["bank"], "bank");
    assert_eq!(plan.table.namespaces["web"], "default");
    assert_eq!(plan.table.namespaces.len(), 7);
    let entry = plan.table.entry("web").unwrap();
    assert_eq!(
        (entry.class.as_str(), entry.view.as_str(), entry.inject),
        ("default", "default", true)
    );
}

#[test]
fn a_view_shows_what_the_policy_allows() {
    let plan = Cluster::new().plan(CONFIG, &["team-a", "guest-1", "guest-2"], &[]);
    assert_eq!(shown(&plan, "team-a"), ["shared", "team-a"]);
    assert_eq!(shown(&plan, "guest-1"), ["guest-1", "web"]);
    assert_eq!(shown(&plan, "web"), ["*"]);
    let keys = &plan.table.namespaces;
    assert_eq!(
        keys["guest-1"], keys["guest-2"],
        "equal sights share a zone"
    );
    assert_ne!(keys["team-a"], keys["team-b"], "each sees its own");
    assert!(keys["team-a"].starts_with("default-") && keys["bank"].starts_with("bank-"));
    let entry = plan.table.entry("bank").unwrap();
    assert_eq!((entry.class.as_str(), entry.inject), ("bank", false));
}

#[test]
fn only_what_this_node_needs_is_published() {
    let plan = Cluster::new().plan(CONFIG, &["team-a", "web"], &[]);
    let key = plan.table.namespaces["team-a"].clone();
    assert_eq!(names(&plan), ["default", "bank", key.as_str()]);
    // Who delivers a pod of another namespace names its zone all the same; it comes with the pod.
    assert!(plan.table.entry("team-b").is_some());
    assert_eq!(plan.refused, 0);
}

#[test]
fn beyond_the_limit_there_is_no_zone_and_never_anothers() {
    let cluster = Cluster::new();
    let here = ["team-a", "team-b", "bank", "web"];
    let all = cluster.plan(&CONFIG.replace("max_views: 2", ""), &here, &[]);
    assert_eq!((names(&all).len(), all.refused), (5, 0));
    for first in ["team-a", "team-b", "bank"] {
        let first = all.table.namespaces[first].as_str();
        let plan = cluster.plan(CONFIG, &here, &[first]);
        assert_eq!((names(&plan).len(), plan.refused), (4, 1));
        assert!(names(&plan).contains(&first), "what is published stays");
        let without = here.iter().filter(|name| plan.table.entry(name).is_none());
        assert_eq!(without.count(), 1);
        assert_eq!(shown(&plan, "web"), ["*"]);
    }
}

#[test]
fn what_depends_on_unknown_labels_has_no_zone_yet() {
    let mut cluster = Cluster::new();
    cluster.0[0].2 = false;
    let plan = cluster.plan(CONFIG, &["guest-1"], &[]);
    assert_eq!(shown(&plan, "guest-1"), ["guest-1"], "not yet: web");
    let config = "policy: [{from: {namespace_selector: 'open=yes'}, to: {}}]";
    let plan = cluster.plan(config, &["web"], &[]);
    assert!(plan.table.entry("web").is_none() && plan.table.entry("shared").is_some());
}

#[test]
fn names_of_views_are_labels_and_stay() {
    let plan = Cluster::new().plan(CONFIG, &[], &[]);
    let again = Cluster::new().plan(CONFIG, &["team-a"], &[]);
    assert_eq!(plan.table, again.table);
    let long = format!(
        "classes: [{{name: {}, namespaces: [bank]}}]\npolicy: [{{from: {{namespaces: [bank]}}}}]",
        "a".repeat(63)
    );
    let plan = Cluster::new().plan(&long, &["bank"], &[]);
    let key = &plan.table.namespaces["bank"];
    assert_eq!(key.len(), 63);
    crate::parse::label(key).unwrap();
}
