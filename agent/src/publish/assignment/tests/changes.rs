//! Change by change an assignment becomes what it would be if it were made anew, and what a change
//! costs does not grow with the cluster.

use super::*;

const RULES: &str = "
classes:
  - {name: bank, namespaces: ['bank-*'], inject: false}
  - {name: red, namespace_selector: color=red}
policy:
  - {from: {namespaces: ['*-1', '*-2']}, to: {namespaces: ['*-3']}}
  - {from: {namespace_selector: color=blue}, to: {namespace_selector: 'color in (blue,red)', own: false}}
max_views: 2
";

/// Namespaces by name: their labels, and whether they were listed.
struct Shifting(BTreeMap<String, (Labels, bool)>);

impl Shifting {
    fn of(count: usize) -> Self {
        let all = (0..count).map(|number| (name(number), (Labels::new(), true)));
        Self(all.collect())
    }

    fn known(&self) -> impl Iterator<Item = KnownNamespace<'_>> {
        let known = |name| self.one(name);
        self.0.keys().filter_map(move |name| known(name))
    }

    fn one(&self, name: &str) -> Option<KnownNamespace<'_>> {
        let (name, (labels, listed)) = self.0.get_key_value(name)?;
        Some(KnownNamespace {
            name,
            labels,
            listed: *listed,
        })
    }
}

fn name(number: usize) -> String {
    let kind = ["web", "bank", "data"][number % 3];
    format!("{kind}-{}", number / 3)
}

fn color(color: &str) -> Labels {
    Labels::from([("color".to_owned(), color.to_owned())])
}

fn config() -> Arc<Config> {
    Arc::new(Config::parse(RULES).unwrap())
}

#[test]
fn changes_lead_where_a_new_start_does() {
    const NAMES: usize = 12;
    let config = config();
    let mut cluster = Shifting::of(NAMES);
    let mut changing = Assignment::new(&config, cluster.known());
    let mut here: Option<BTreeSet<String>> = None;
    let mut published = BTreeSet::new();
    let (mut refused, mut hiding) = (0, 0);
    let mut random = Random(1);
    for step in 0..3_000 {
        let name = name(random.below(NAMES));
        match random.below(8) {
            0 => drop(cluster.0.remove(&name)),
            1 => drop(cluster.0.insert(name.clone(), (Labels::new(), false))),
            2 => {
                let first = random.below(NAMES);
                let some = (first..first + 4).map(|number| self::name(number % NAMES));
                here = (random.below(9) > 0).then(|| some.collect());
            }
            _ => {
                let labels = color(["red", "blue", "green"][random.below(3)]);
                drop(cluster.0.insert(name.clone(), (labels, true)));
            }
        }
        let before = changing.table(false);
        changing.update(&name, cluster.one(&name));
        let as_names = published.iter().map(String::as_str).collect();
        let known = || cluster.known();
        let plan = Plan::of(&mut changing, here.as_ref(), &as_names, known);
        let mut anew = Assignment::new(&config, cluster.known());
        let anew = Plan::of(&mut anew, here.as_ref(), &as_names, known);
        assert_eq!(plan, anew, "step {step}");
        assert_eq!(Arc::ptr_eq(&plan.table, &before), *plan.table == *before);
        refused += plan.refused;
        hiding += plan.wanted.len() - 3;
        published = plan.wanted.into_iter().map(|it| it.name).collect();
    }
    assert!(refused > 100 && hiding > 1_000, "{refused} {hiding}");
}

#[test]
fn what_a_change_costs_does_not_grow_with_the_cluster() {
    let costs = [100, 10_000].map(costs);
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0].iter().all(|looks| *looks > 0), "{costs:?}");
}

/// So many looks at namespaces, for one that is labeled to no effect, one that changes its class, one
/// that comes, and one that goes.
fn costs(count: usize) -> Vec<u64> {
    let mut cluster = Shifting::of(count);
    let mut assignment = Assignment::new(&config(), cluster.known());
    let here = BTreeSet::from(["web-1".to_owned()]);
    let published = BTreeSet::new();
    let plan = Plan::of(&mut assignment, Some(&here), &published, || cluster.known());
    assert_eq!((plan.wanted.len(), plan.table.namespaces.len()), (4, count));
    let mut table = plan.table;
    let changes = [
        ("web-9", Some("green"), false),
        ("web-9", Some("red"), true),
        ("new-9", Some("green"), true),
        ("web-9", None, true),
    ];
    let mut costs = Vec::new();
    for (name, label, says_more) in changes {
        match label {
            Some(label) => drop(cluster.0.insert(name.to_owned(), (color(label), true))),
            None => drop(cluster.0.remove(name)),
        }
        let before = assignment.looks;
        assignment.update(name, cluster.one(name));
        assert_eq!(assignment.has_changed(), says_more, "{name}: {label:?}");
        let plan = Plan::of(&mut assignment, Some(&here), &published, || cluster.known());
        costs.push(assignment.looks - before);
        assert_eq!(plan.table != table, says_more, "{name}: {label:?}");
        table = plan.table;
    }
    costs
}

/// Numbers without a pattern, the same in every run: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}
