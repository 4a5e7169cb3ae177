//! Keys of the bucket: which object stands where.

use crate::{
    model::{ObjectKey, Source},
    objects::Who,
    parse,
};

/// What every agent follows.
const BASE: &str = "base";
/// What agents that hold all slices follow, too.
const REST: &str = "rest";

/// Where the state record is.
pub(super) const STATE: &str = "base.state";

/// An object of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Which watch brings it.
    pub(super) source: Source,
    /// Which object it is.
    pub(super) object: ObjectKey,
}

impl Key {
    /// The key of an object; `None`: it has a name that Kubernetes does not allow.
    pub(super) fn of(source: Source, who: &Who) -> Option<Self> {
        let namespace = who.namespace.as_deref();
        let name = who.name.as_deref().unwrap_or_default();
        Self::new(source, namespace, name)
    }

    /// Reads a key of the bucket; `None`: it is nothing that a publisher of this form writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (branch, rest) = text.split_once('.')?;
        let (word, rest) = rest.split_once('.')?;
        let source = ALL.into_iter().find(|source| kind(*source) == word)?;
        if branch != branch_of(source) {
            return None;
        }
        let key = match source {
            Source::Namespaces => Self::new(source, None, rest),
            _ => {
                let (namespace, name) = rest.split_once('.')?;
                Self::new(source, Some(namespace), name)
            }
        };
        // An object without a namespace is one of `default`, which no publisher writes as nothing.
        key.filter(|key| key.to_string() == text)
    }

    fn new(source: Source, namespace: Option<&str>, name: &str) -> Option<Self> {
        let word = match source {
            Source::Namespaces => "Namespace",
            Source::Services => "Service",
            Source::Slices | Source::OtherSlices | Source::ProxySlices => "EndpointSlice",
        };
        let object = parse::object_key(word, namespace, name)?;
        if let ObjectKey::Slice { namespace, name } = &object {
            let sound = name.split('.').all(is_token);
            if !sound || name.len() > 253 || !is_token(namespace) {
                return None;
            }
        }
        Some(Self { source, object })
    }
}

impl core::fmt::Display for Key {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (branch, kind) = (branch_of(self.source), kind(self.source));
        match &self.object {
            ObjectKey::Namespace(name) => write!(formatter, "{branch}.{kind}.{name}"),
            ObjectKey::Service(key) => {
                let (namespace, name) = (key.namespace(), key.service());
                write!(formatter, "{branch}.{kind}.{namespace}.{name}")
            }
            ObjectKey::Slice { namespace, name } => {
                write!(formatter, "{branch}.{kind}.{namespace}.{name}")
            }
        }
    }
}

/// Every kind.
pub(super) const ALL: [Source; 5] = [
    Source::Namespaces,
    Source::Services,
    Source::Slices,
    Source::OtherSlices,
    Source::ProxySlices,
];

/// The kinds that an agent or a publisher needs.
pub(super) fn sources(all_slices: bool) -> Vec<Source> {
    let wanted = |source: &Source| all_slices || branch_of(*source) == BASE;
    ALL.into_iter().filter(wanted).collect()
}

/// The subject, or the pattern of subjects, that a key or a pattern of keys has.
pub(super) fn subject(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// The subjects that an agent follows.
pub(super) fn filter(bucket: &str, all_slices: bool) -> String {
    let keys = if all_slices { ">" } else { "base.>" };
    subject(bucket, keys)
}

/// A kind's word in keys and in the state record.
pub(super) const fn kind(source: Source) -> &'static str {
    match source {
        Source::Namespaces => "namespaces",
        Source::Services => "services",
        Source::Slices => "slices",
        Source::OtherSlices => "other-slices",
        Source::ProxySlices => "proxy-slices",
    }
}

fn branch_of(source: Source) -> &'static str {
    match source {
        Source::ProxySlices => REST,
        _ => BASE,
    }
}

/// Whether a label may be a part of a subject: what Kubernetes allows, and nothing that NATS reads
/// otherwise.
fn is_token(label: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty() && label.bytes().all(sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(namespace: &str, name: &str) -> Who {
        Who {
            name: Some(name.to_owned()),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            resource_version: None,
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        for (source, namespace, name, text) in [
            (Source::Namespaces, "", "shop", "base.namespaces.shop"),
            (Source::Services, "shop", "db", "base.services.shop.db"),
            (Source::Slices, "shop", "db-x", "base.slices.shop.db-x"),
            (
                Source::OtherSlices,
                "shop",
                "a.b.c",
                "base.other-slices.shop.a.b.c",
            ),
            (
                Source::ProxySlices,
                "shop",
                "db-y",
                "rest.proxy-slices.shop.db-y",
            ),
        ] {
            let key = Key::of(source, &who(namespace, name)).unwrap();
            assert_eq!(key.to_string(), text);
            assert_eq!(Key::parse(text), Some(key));
        }
    }

    #[test]
    fn names_that_subjects_cannot_have_are_refused() {
        for name in ["", "a b", "*", ">", "a..b", ".a", "a.", "A", "a.*", "é"] {
            assert_eq!(Key::of(Source::Slices, &who("shop", name)), None, "{name}");
        }
        assert_eq!(Key::of(Source::Slices, &who("*", "a")), None);
        assert_eq!(Key::parse("base.other-slices..a"), None, "of `default`");
        assert_eq!(Key::of(Source::Services, &who("shop", "a.b")), None);
    }

    #[test]
    fn what_no_publisher_writes_is_no_key() {
        for text in [
            "",
            "base",
            STATE,
            "base.pods.shop.a",
            "rest.services.shop.a",
            "base.proxy-slices.shop.a",
            "base.services.shop",
            "base.slices.shop",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }

    #[test]
    fn agents_of_headless_services_leave_the_rest_alone() {
        assert_eq!(sources(true), ALL);
        assert_eq!(sources(false), ALL[..4]);
        assert_eq!(filter("b", false), "$KV.b.base.>");
        assert_eq!(filter("b", true), "$KV.b.>");
    }
}
