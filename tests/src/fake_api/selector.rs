//! Label selectors: the part of their language that lists and watches of slices use.

/// Requirements that all have to be met.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug)]
enum Requirement {
    Exists(String),
    Absent(String),
    Equal(String, String),
    Differs(String, String),
}

impl Selector {
    /// Reads a selector; `None` where a real server would know more of the language than this one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        let parts = parts.map(|part| {
            if let Some((key, value)) = part.split_once("!=") {
                return Some(Requirement::Differs(word(key)?, word(value)?));
            }
            if let Some((key, value)) = part.split_once('=') {
                let value = value.strip_prefix('=').unwrap_or(value);
                return Some(Requirement::Equal(word(key)?, word(value)?));
            }
            match part.strip_prefix('!') {
                Some(key) => Some(Requirement::Absent(word(key)?)),
                None => Some(Requirement::Exists(word(part)?)),
            }
        });
        parts.collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether it wants everything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it wants an object with these labels. A label that is absent differs from every value.
    pub(super) fn matches(&self, labels: &[(&'static str, String)]) -> bool {
        let value = |key: &str| {
            let mut found = labels.iter().filter(|(name, _)| *name == key);
            found.next().map(|(_, value)| value.as_str())
        };
        self.0.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Absent(key) => value(key).is_none(),
            Requirement::Equal(key, wanted) => value(key) == Some(wanted),
            Requirement::Differs(key, unwanted) => value(key) != Some(unwanted),
        })
    }
}

fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    text.bytes().all(good).then(|| text.to_owned())
}

#[test]
fn selectors_are_those_of_kubernetes() {
    let labels = [("a/b", "x".to_owned()), ("empty", String::new())];
    let wants = |text: &str| Selector::parse(text).unwrap().matches(&labels);
    for (text, wanted) in [
        ("", true),
        ("a/b", true),
        ("!a/b", false),
        ("!c", true),
        ("a/b=x", true),
        ("a/b==x", true),
        ("a/b!=x", false),
        ("c!=x", true),
        ("empty", true),
        ("empty=", true),
        ("a/b,!empty", false),
    ] {
        assert_eq!(wants(text), wanted, "{text}");
    }
    for unknown in ["a in (x)", "!!", "a>1"] {
        assert!(Selector::parse(unknown).is_none(), "{unknown}");
    }
}
