//! What was found: how grave it is, what it means for programs, and which option to set.

use serde::Serialize;
use serde_json::{Map, Value};

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Good to know; nothing has to be done.
    Note,
    /// An option has to be set, or something else to be done, first.
    Warning,
    /// Programs would get other answers, and no option prevents it.
    Blocker,
}

/// One option and the value that the cluster needs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Setting {
    /// Its place in the configuration file, with dots.
    pub(super) option: &'static str,
    /// The value; of a list option the elements that it must have.
    pub(super) value: Value,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Finding {
    /// A word for scripts; does not change between versions.
    pub(super) id: &'static str,
    /// How grave.
    pub(super) severity: Severity,
    /// Where it was seen.
    pub(super) place: String,
    /// What it means, in plain words.
    pub(super) what: String,
    /// What to do, in plain words; empty where nothing is to be done.
    pub(super) advice: String,
    /// What to set.
    pub(super) settings: Vec<Setting>,
    /// The given configuration has all of `settings` already.
    pub(super) is_set: bool,
}

impl Finding {
    /// One that needs nothing yet.
    pub(super) fn new(
        severity: Severity,
        id: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        Self {
            id,
            severity,
            place: place.into(),
            what: what.into(),
            advice: String::new(),
            settings: Vec::new(),
            is_set: false,
        }
    }

    /// Good to know.
    pub(super) fn note(
        id: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Note, id, place, what)
    }

    /// Something has to be done.
    pub(super) fn warning(
        id: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, id, place, what)
    }

    /// Nothing can be done.
    pub(super) fn blocker(
        id: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Blocker, id, place, what)
    }

    /// What to do.
    #[must_use]
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// What to set.
    #[must_use]
    pub(super) fn set(mut self, option: &'static str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.settings.push(Setting { option, value });
        self
    }
}

/// The configuration that all findings together ask for, as a tree of options. Lists are joined;
/// of two values for one option the first counts.
pub(super) fn needed(findings: &[Finding]) -> Value {
    let mut tree = Value::Object(Map::new());
    for setting in findings.iter().flat_map(|finding| &finding.settings) {
        let keys: Vec<&str> = setting.option.split('.').collect();
        insert(&mut tree, &keys, &setting.value);
    }
    tree
}

/// Puts a value where `keys` lead.
fn insert(tree: &mut Value, keys: &[&str], value: &Value) {
    match (keys, tree) {
        ([key, rest @ ..], Value::Object(fields)) => {
            let empty = if rest.is_empty() {
                Value::Null
            } else {
                Value::Object(Map::new())
            };
            let place = fields.entry(*key).or_insert(empty);
            insert(place, rest, value);
        }
        ([], place @ Value::Null) => *place = value.clone(),
        ([], Value::Array(have)) => {
            for one in value.as_array().into_iter().flatten() {
                if !have.contains(one) {
                    have.push(one.clone());
                }
            }
        }
        _ => {}
    }
}

/// Whether a configuration has a setting already.
pub(super) fn holds(configuration: &Value, setting: &Setting) -> bool {
    let mut keys = setting.option.split('.');
    let place = keys.try_fold(configuration, |at, key| at.get(key));
    place.is_some_and(|have| covers(have, &setting.value))
}

/// Whether `have` says all that `wanted` says.
fn covers(have: &Value, wanted: &Value) -> bool {
    match (have, wanted) {
        (Value::Array(have), Value::Array(wanted)) => wanted
            .iter()
            .all(|one| have.iter().any(|other| covers(other, one))),
        (Value::Object(have), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, one)| have.get(key).is_some_and(|other| covers(other, one))),
        _ => have == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_of_all_findings_make_one_tree() {
        let findings = [
            Finding::note("a", "", "")
                .set("kubernetes.except", json!(["a", "b"]))
                .set("kubernetes.ttl", 30),
            Finding::note("b", "", "")
                .set("kubernetes.except", json!(["b", "c"]))
                .set("kubernetes.ttl", 5)
                .set("block", json!(["d"])),
        ];
        assert_eq!(
            needed(&findings),
            json!({"kubernetes": {"except": ["a", "b", "c"], "ttl": 30}, "block": ["d"]})
        );
        assert_eq!(needed(&[]), json!({}));
    }

    #[test]
    fn a_configuration_may_say_more_than_is_wanted() {
        let configuration = json!({
            "kubernetes": {"ttl": 30},
            "classes": [{"name": "a", "external": "off", "namespaces": ["x", "y"], "more": null}],
        });
        for (option, value, expected) in [
            ("kubernetes.ttl", json!(30), true),
            ("kubernetes.ttl", json!(5), false),
            ("kubernetes.except", json!(["a"]), false),
            ("classes", json!([{"name": "a", "namespaces": ["y"]}]), true),
            (
                "classes",
                json!([{"name": "a", "namespaces": ["z"]}]),
                false,
            ),
        ] {
            let setting = Setting { option, value };
            assert_eq!(holds(&configuration, &setting), expected, "{setting:?}");
        }
    }
}
