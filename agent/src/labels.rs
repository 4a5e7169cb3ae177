//! Labels of namespaces, of which an agent of a large cluster holds ten thousand sets and looks at few.

use std::collections::BTreeMap;

/// An object's labels: a quarter of the memory of a map with one label or two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// As selectors want them.
    pub fn map(&self) -> BTreeMap<String, String> {
        let pairs = self.0.iter();
        let pairs = pairs.map(|(key, value)| (key.to_string(), value.to_string()));
        pairs.collect()
    }
}

/// Of a key that comes twice, the last counts.
impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        let sorted: BTreeMap<_, _> = pairs.into_iter().collect();
        let boxed = |(key, value): (String, String)| (key.into(), value.into());
        Self(sorted.into_iter().map(boxed).collect())
    }
}

impl<const N: usize> From<[(String, String); N]> for Labels {
    fn from(pairs: [(String, String); N]) -> Self {
        pairs.into_iter().collect()
    }
}

#[test]
fn the_same_labels_are_equal() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let some = Labels::from([pair("b", "1"), pair("a", "2"), pair("a", "3")]);
    assert_eq!(some, Labels::from([pair("a", "3"), pair("b", "1")]));
    assert_ne!(some, Labels::new());
    let map = some.map();
    assert_eq!(map.get("a").map(String::as_str), Some("3"));
    assert_eq!(map.len(), 2);
}
