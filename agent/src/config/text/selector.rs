//! Label selectors.

use super::Name;
use crate::labels::Labels;
use kube::core::{Expression, Selector as Expressions, SelectorExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// A label selector as `kubectl -l` takes it: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Selector(Expressions);

impl Selector {
    /// Whether these labels are selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.matches(&labels.map())
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = |why: String| format!("{text:?} is no label selector: {why}");
        let mut selector = Expressions::default();
        for part in requirements(text) {
            selector.extend(requirement(part.trim()).map_err(fail)?);
        }
        Ok(Self(selector))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Splits at commas that are outside of parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let split = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    text.split(split).collect()
}

/// One requirement of a selector (apimachinery's labels.Parse).
fn requirement(text: &str) -> Result<Expression, String> {
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(label_key(key)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Expression::NotEqual(label_key(key)?, label_value(value)?));
    }
    if let Some((key, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Ok(Expression::Equal(label_key(key)?, label_value(value)?));
    }
    let Some((head, set)) = text.split_once('(') else {
        return Ok(Expression::Exists(label_key(text)?));
    };
    let set = set
        .trim_end()
        .strip_suffix(')')
        .ok_or_else(|| "a parenthesis is not closed".to_owned())?;
    let set: BTreeSet<String> = set.split(',').map(label_value).collect::<Result<_, _>>()?;
    let mut words = head.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(key), Some("in"), None) => Ok(Expression::In(label_key(key)?, set)),
        (Some(key), Some("notin"), None) => Ok(Expression::NotIn(label_key(key)?, set)),
        _ => Err("a set comes after `KEY in` or `KEY notin`".to_owned()),
    }
}

/// A label's key: a name of at most 63 characters, which may have a domain and a slash before it.
fn label_key(text: &str) -> Result<String, String> {
    let text = text.trim();
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    let domain = domain.is_none_or(|domain| domain.parse::<Name>().is_ok());
    if name.is_empty() || !domain || !is_label_text(name) {
        return Err(format!("{text:?} is no key of a label"));
    }
    Ok(text.to_owned())
}

/// A label's value; it may be empty.
fn label_value(text: &str) -> Result<String, String> {
    let text = text.trim();
    if !is_label_text(text) {
        return Err(format!("{text:?} is no value of a label"));
    }
    Ok(text.to_owned())
}

/// The characters of keys and values.
fn is_label_text(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let outer = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(inner)
        && outer(text.chars().next())
        && outer(text.chars().next_back())
}
