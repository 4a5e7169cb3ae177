//! What the API server sends, down to single objects. Only the fields that count are decoded, of
//! one object at a time; the text of the others is skipped.

use super::{
    failure::{self, Failure},
    journal::What,
};
use crate::{
    objects::{NamespaceObject, ServiceObject, SliceObject, Watched, Who},
    parse::{self, Parsed, Verdict},
};
use kube::core::Status;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap};

/// The annotation of the bookmark that ends a streamed list.
const END_OF_LIST: &str = "k8s.io/initial-events-end";

/// How the objects of a kind are read.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// From the API server's text.
    pub(super) decode: fn(&RawValue) -> Decoded,
    /// From what is kept of an object, or of who it was; `None`: it is neither.
    pub(super) restore: fn(What, &[u8]) -> Option<Parsed>,
}

/// Namespaces of which only the metadata is asked for.
pub(super) const NAMESPACE: Kind = Kind {
    decode: |text| decode::<NamespaceObject>(text, parse::namespace),
    restore: |what, kept| restore::<NamespaceObject>(what, kept, parse::namespace),
};

/// Services.
pub(super) const SERVICE: Kind = Kind {
    decode: |text| decode::<ServiceObject>(text, parse::service),
    restore: |what, kept| restore::<ServiceObject>(what, kept, parse::service),
};

/// EndpointSlices.
pub(super) const SLICE: Kind = Kind {
    decode: |text| decode::<SliceObject>(text, parse::slice),
    restore: |what, kept| restore::<SliceObject>(what, kept, parse::slice),
};

/// An object and the version of the cluster's state that it stands for.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) parsed: Parsed,
    /// Empty when unknown.
    pub(super) version: String,
    /// What to keep: `Apply` with the object, or `Unreadable` with who it is.
    pub(super) kept: (What, Vec<u8>),
    /// Who it is, to be kept when it is gone.
    pub(super) who: Vec<u8>,
}

/// A line of a watch.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// An object is there, or has changed.
    Apply(&'a RawValue),
    /// An object was there.
    Delete(&'a RawValue),
    /// Nothing happened up to a version.
    Bookmark {
        version: String,
        /// The streamed list is complete.
        ends_list: bool,
    },
    /// The server gives up.
    Error(Box<Status>),
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    pub(super) metadata: PageMetadata,
    /// The objects.
    #[serde(borrow)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

/// Where a page stands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMetadata {
    #[serde(default)]
    pub(super) resource_version: String,
    /// The token of the next page.
    #[serde(rename = "continue")]
    pub(super) token: Option<String>,
}

/// Decodes a page.
pub(super) fn page(text: &[u8]) -> Result<Page<'_>, Failure> {
    serde_json::from_slice(text).map_err(|error| nonsense(&error))
}

/// Decodes a line.
pub(super) fn line(text: &str) -> Result<Line<'_>, Failure> {
    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Bookmark {
        metadata: Metadata,
    }
    // Their annotations are others than an object's.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        #[serde(default)]
        resource_version: String,
        annotations: Option<BTreeMap<String, IgnoredAny>>,
    }
    let outer: Outer<'_> = serde_json::from_str(text).map_err(|error| nonsense(&error))?;
    match outer.r#type.as_ref() {
        "ADDED" | "MODIFIED" => Ok(Line::Apply(outer.object)),
        "DELETED" => Ok(Line::Delete(outer.object)),
        "BOOKMARK" => {
            let bookmark: Bookmark =
                serde_json::from_str(outer.object.get()).map_err(|error| nonsense(&error))?;
            let notes = bookmark.metadata.annotations.unwrap_or_default();
            Ok(Line::Bookmark {
                version: bookmark.metadata.resource_version,
                ends_list: notes.contains_key(END_OF_LIST),
            })
        }
        "ERROR" => {
            let status =
                serde_json::from_str(outer.object.get()).map_err(|error| nonsense(&error))?;
            Ok(Line::Error(status))
        }
        other => {
            let other = parse::excerpt(other);
            Err(Failure::new(
                failure::Kind::Nonsense,
                format!("an event {other}"),
            ))
        }
    }
}

/// Decodes an object; when that fails, who it is.
fn decode<T: Watched>(text: &RawValue, parse: fn(&T) -> Parsed) -> Decoded {
    match serde_json::from_str::<T>(text.get()) {
        Ok(object) => {
            let who = object.who();
            Decoded {
                parsed: parse(&object),
                kept: (What::Apply, pack(&object)),
                who: pack(&who),
                version: who.resource_version.unwrap_or_default(),
            }
        }
        Err(error) => {
            #[derive(Default, Deserialize)]
            struct Identity {
                #[serde(default)]
                metadata: Who,
            }
            let identity: Identity = serde_json::from_str(text.get()).unwrap_or_default();
            let who = identity.metadata;
            Decoded {
                parsed: unreadable(T::KIND, &who, &error.to_string()),
                kept: (What::Unreadable, pack(&who)),
                who: pack(&who),
                version: who.resource_version.unwrap_or_default(),
            }
        }
    }
}

/// Reads what was kept.
fn restore<T: Watched>(what: What, kept: &[u8], parse: fn(&T) -> Parsed) -> Option<Parsed> {
    if what == What::Apply {
        return postcard::from_bytes::<T>(kept).ok().map(|it| parse(&it));
    }
    let who: Who = postcard::from_bytes(kept).ok()?;
    Some(unreadable(T::KIND, &who, "unreadable when it was listed"))
}

/// An object that cannot be decoded, as far as it says who it is.
fn unreadable(kind: &'static str, who: &Who, why: &str) -> Parsed {
    let name = who.name.as_deref().unwrap_or_default();
    let key = parse::object_key(kind, who.namespace.as_deref(), name);
    // Who logs it says which object it is, when it has an identity.
    let why = match key {
        Some(_) => why.to_owned(),
        None => format!("{kind}: {why}"),
    };
    Parsed {
        verdict: Verdict::Malformed(key, why),
        complaints: Vec::new(),
    }
}

/// What is kept of a value. It cannot fail for what the objects are made of; nothing at all would be
/// found damaged.
fn pack(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap_or_default()
}

/// Text that is no answer of an API server, or only the beginning of one.
fn nonsense(error: &serde_json::Error) -> Failure {
    let kind = match error.is_eof() {
        true => failure::Kind::Stream,
        false => failure::Kind::Nonsense,
    };
    Failure::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn raw(value: &serde_json::Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    #[test]
    fn half_a_line_is_a_broken_connection() {
        let whole = r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#;
        assert!(matches!(line(whole), Ok(Line::Apply(_))));
        for end in 1..whole.len() {
            assert_eq!(
                line(&whole[..end]).unwrap_err().kind,
                failure::Kind::Stream,
                "{end}"
            );
        }
        assert_eq!(line("<html>").unwrap_err().kind, failure::Kind::Nonsense);
        let unknown = r#"{"type":"MOVED","object":{}}"#;
        assert_eq!(line(unknown).unwrap_err().kind, failure::Kind::Nonsense);
    }

    #[test]
    fn the_end_of_a_list_is_a_bookmark_with_a_note() {
        let bookmark = |notes: serde_json::Value| {
            let metadata = json!({"resourceVersion": "7", "annotations": notes});
            json!({"type": "BOOKMARK", "object": {"kind": "Service", "metadata": metadata}})
        };
        for (notes, wanted) in [(json!({END_OF_LIST: "true"}), true), (json!(null), false)] {
            let text = bookmark(notes).to_string();
            match line(&text) {
                Ok(Line::Bookmark { version, ends_list }) => {
                    assert_eq!((version.as_str(), ends_list), ("7", wanted));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_read_still_says_who_it_is() {
        let metadata = json!({"name": "a", "namespace": "shop", "resourceVersion": "9"});
        let decoded = (SERVICE.decode)(&raw(&json!({"metadata": metadata, "spec": 7})));
        assert_eq!(decoded.version, "9");
        assert!(matches!(
            decoded.parsed.verdict,
            Verdict::Malformed(Some(_), _)
        ));
        let (what, kept) = decoded.kept;
        let restored = (SERVICE.restore)(what, &kept).unwrap();
        assert_eq!(restored.key(), decoded.parsed.key());
        let decoded = (SERVICE.decode)(&raw(&json!({"metadata": 7})));
        assert!(matches!(
            decoded.parsed.verdict,
            Verdict::Malformed(None, _)
        ));
    }
}
