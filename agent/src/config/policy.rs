//! Which namespaces a namespace may look up. As with network policies, who is named by no rule sees
//! everything; who is named sees what the rules that name it allow, added up.

use super::text::{Glob, Selector};
use crate::labels::Labels;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One rule: the namespaces of `from` may look up those of `to`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookupRule {
    /// Whose pods it is about: namespaces that are named, or whose labels match
    pub from: Namespaces,
    /// What they may look up
    #[serde(default)]
    pub to: Targets,
}

/// Namespaces, by their names or their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Namespaces {
    /// Names of namespaces; `*` stands for any characters
    pub namespaces: Vec<Glob>,
    /// Labels of namespaces, as `kubectl -l` takes them
    pub namespace_selector: Option<Selector>,
}

/// Namespaces that may be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Names of namespaces; `*` stands for any characters
    pub namespaces: Vec<Glob>,
    /// Labels of namespaces, as `kubectl -l` takes them
    pub namespace_selector: Option<Selector>,
    /// The pod's own namespace
    pub own: bool,
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            namespace_selector: None,
            own: true,
        }
    }
}

/// A namespace's labels; `None` while they are not known for certain.
pub type KnownLabels<'l> = Option<&'l Labels>;

/// What a namespace sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Every namespace.
    Everything,
    /// These namespaces.
    Only(Seen),
    /// A rule may name it: its labels are not known yet.
    Undecided,
}

/// Some namespaces: the targets of rules, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    names: Vec<Glob>,
    selectors: Vec<Selector>,
    own: Option<String>,
}

/// What a namespace sees under these rules.
pub fn sight(rules: &[LookupRule], namespace: &str, labels: KnownLabels<'_>) -> Sight {
    let mut seen: Option<Seen> = None;
    for LookupRule { from, to } in rules {
        let named = from.namespaces.iter().any(|glob| glob.matches(namespace));
        let selected = match (&from.namespace_selector, labels) {
            (Some(_), None) if !named => return Sight::Undecided,
            (Some(selector), Some(labels)) => selector.matches(labels),
            _ => false,
        };
        if named || selected {
            seen.get_or_insert_default().add(to, namespace);
        }
    }
    match seen {
        None => Sight::Everything,
        Some(seen) if seen.is_everything() => Sight::Everything,
        Some(seen) => Sight::Only(seen),
    }
}

impl Seen {
    /// Whether a namespace is among them. What has no certain labels matches no selector: an
    /// `a!=b` must not show what is about to be labelled `a=b`.
    pub fn shows(&self, namespace: &str, labels: KnownLabels<'_>) -> bool {
        self.own.as_deref() == Some(namespace)
            || self.names.iter().any(|glob| glob.matches(namespace))
            || labels.is_some_and(|labels| self.selectors.iter().any(|it| it.matches(labels)))
    }

    /// A text that is the same for the same rules: namespaces with the same text share a view.
    pub fn key(&self) -> String {
        let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
        let selectors: Vec<_> = self.selectors.iter().map(ToString::to_string).collect();
        let own = self.own.as_deref().unwrap_or_default();
        format!("{own}\n{}\n{}", names.join(" "), selectors.join("\n"))
    }

    fn add(&mut self, to: &Targets, namespace: &str) {
        self.names.extend(to.namespaces.iter().cloned());
        self.names.sort_unstable_by_key(ToString::to_string);
        self.names.dedup();
        self.selectors.extend(to.namespace_selector.iter().cloned());
        self.selectors.sort_unstable_by_key(ToString::to_string);
        self.selectors.dedup();
        if to.own {
            self.own = Some(namespace.to_owned());
        }
        // It says nothing more: namespaces that differ in nothing else share a view.
        if self.names.iter().any(|glob| glob.matches(namespace)) {
            self.own = None;
        }
    }

    fn is_everything(&self) -> bool {
        self.names.iter().any(|glob| glob.to_string() == "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const RULES: &str = "policy:
  - {from: {namespaces: ['team-*']}, to: {namespaces: [default, kube-system]}}
  - {from: {namespace_selector: 'tier=bank'}, to: {namespace_selector: 'tier in (bank,shared)'}}
  - {from: {namespaces: [team-lead]}, to: {namespaces: ['*']}}
  - {from: {namespaces: [blind]}, to: {own: false}}
";

    fn labels(tier: &str) -> Labels {
        Labels::from([("tier".to_owned(), tier.to_owned())])
    }

    fn sight_of(namespace: &str, tier: &str) -> Sight {
        let config = Config::parse(RULES).unwrap();
        sight(&config.policy, namespace, Some(&labels(tier)))
    }

    fn seen(namespace: &str, tier: &str) -> Seen {
        match sight_of(namespace, tier) {
            Sight::Only(seen) => seen,
            other => panic!("{namespace}: {other:?}"),
        }
    }

    #[test]
    fn who_is_not_named_sees_everything() {
        assert_eq!(sight_of("web", "x"), Sight::Everything);
        assert_eq!(sight_of("team-lead", "x"), Sight::Everything);
        assert_eq!(sight(&[], "web", None), Sight::Everything);
    }

    #[test]
    fn rules_add_up() {
        let team = seen("team-a", "x");
        for (namespace, shown) in [("team-a", true), ("default", true), ("team-b", false)] {
            assert_eq!(team.shows(namespace, Some(&labels("bank"))), shown);
        }
        let both = seen("team-a", "bank");
        assert!(both.shows("vault", Some(&labels("bank"))));
        assert!(!both.shows("vault", Some(&labels("x"))));
        assert!(!both.shows("vault", None), "its labels are not known");
        assert!(!seen("blind", "x").shows("blind", Some(&labels("x"))));
    }

    #[test]
    fn what_depends_on_unknown_labels_is_undecided() {
        let config = Config::parse(RULES).unwrap();
        assert_eq!(sight(&config.policy, "web", None), Sight::Undecided);
        // Further rules may still name it.
        assert_eq!(sight(&config.policy, "team-a", None), Sight::Undecided);
    }

    #[test]
    fn equal_sights_have_equal_keys() {
        assert_ne!(seen("team-a", "x").key(), seen("team-b", "x").key(), "own");
        let rules = "policy: [{from: {namespaces: ['*']}, to: {namespaces: ['team-*', x]}}]";
        let config = Config::parse(rules).unwrap();
        let key = |namespace| match sight(&config.policy, namespace, None) {
            Sight::Only(seen) => seen.key(),
            other => panic!("{other:?}"),
        };
        assert_eq!(key("team-a"), key("team-b"));
        assert_ne!(key("team-a"), key("web"));
    }
}
