//! One file of YAML or JSON: documents, lists in them, and the kinds that we know.

use crate::{
    model::Labels,
    objects::{NamespaceObject, ServiceObject, SliceObject},
    parse::{self, Parsed, Verdict, excerpt},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An object and the labels that select it.
pub(super) struct Labeled {
    pub(super) parsed: Parsed,
    pub(super) labels: Labels,
}

/// The objects of each document, or why the document cannot be read. Documents count from 1;
/// empty ones count, but say nothing.
pub(super) fn documents(text: &str) -> Vec<(usize, Result<Vec<Labeled>, String>)> {
    let texts = split(text).into_iter().enumerate();
    texts
        .map(|(index, text)| (index + 1, document(&text)))
        .collect()
}

/// Each document as it stands, without the empty ones; documents count from 1.
pub(crate) fn values(text: &str) -> Vec<(usize, Result<Value, String>)> {
    let texts = split(text).into_iter().enumerate();
    texts
        .filter_map(|(index, text)| Some((index + 1, value(&text).transpose()?)))
        .collect()
}

/// Splits at `---` in the first column, which is a document marker wherever it stands (YAML 1.2.2
/// section 9.1.2), so that one broken document does not hide the others.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    let mut blank = true;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for line in text.split_inclusive('\n') {
        let marker = line
            .strip_prefix("---")
            .filter(|rest| rest.starts_with(char::is_whitespace));
        if marker.is_some() || line == "---" {
            // The marker before the first document does not end one.
            if !blank {
                documents.push(String::new());
            }
            if let Some(last) = documents.last_mut()
                && blank
            {
                last.clear();
            }
            blank = false;
            let rest = marker.unwrap_or_default();
            if let Some(last) = documents.last_mut() {
                last.push_str(rest);
            }
            continue;
        }
        let trimmed = line.trim();
        blank &= trimmed.is_empty() || trimmed.starts_with('#') || trimmed.starts_with('%');
        if let Some(last) = documents.last_mut() {
            last.push_str(line);
        }
    }
    documents
}

/// The objects of one document.
fn document(text: &str) -> Result<Vec<Labeled>, String> {
    let mut objects = Vec::new();
    if let Some(value) = value(text)? {
        collect(value, &mut objects)?;
    }
    Ok(objects)
}

/// One document as it stands; none of an empty one.
fn value(text: &str) -> Result<Option<Value>, String> {
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(None);
    }
    let options = serde_saphyr::options! {
        // A list of 10,000 services is ordinary; these only stop what would eat the memory.
        budget: serde_saphyr::budget! {
            max_events: 40_000_000,
            max_nodes: 10_000_000,
        },
    };
    serde_saphyr::from_str_with_options(text, options)
        .map(Some)
        .map_err(|error| first_line(&error.to_string()))
}

/// Reads one object, or every item of a list.
fn collect(value: Value, objects: &mut Vec<Labeled>) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let text = |field: &str| {
        value
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (version, kind) = (text("apiVersion"), text("kind"));
    match (version.as_str(), kind.as_str()) {
        (_, "") => return Err("it has no kind".to_owned()),
        ("v1", "Namespace") => read::<NamespaceObject>(value, &kind, parse::namespace, objects),
        ("v1", "Service") => read::<ServiceObject>(value, &kind, parse::service, objects),
        ("discovery.k8s.io/v1", "EndpointSlice") => {
            read::<SliceObject>(value, &kind, parse::slice, objects);
        }
        ("v1", "List" | "ServiceList" | "NamespaceList")
        | ("discovery.k8s.io/v1", "EndpointSliceList") => {
            let Value::Object(mut list) = value else {
                return Ok(());
            };
            let Some(Value::Array(items)) = list.remove("items") else {
                return Ok(());
            };
            for mut item in items {
                // The items of a typed list need not repeat what they are.
                if let (Some(fields), Some(single)) = (
                    item.as_object_mut(),
                    kind.strip_suffix("List").filter(|kind| !kind.is_empty()),
                ) {
                    fields.entry("kind").or_insert_with(|| single.into());
                    fields
                        .entry("apiVersion")
                        .or_insert_with(|| version.clone().into());
                }
                collect(item, objects)?;
            }
        }
        (_, "Namespace" | "Service" | "EndpointSlice")
            if version.is_empty()
                || version == "v1"
                || version.starts_with("discovery.k8s.io/") =>
        {
            let why = format!("{kind} with apiVersion {}: unknown", excerpt(&version));
            let (parsed, labels) = (malformed(why), Labels::new());
            objects.push(Labeled { parsed, labels });
        }
        // Deployments, ConfigMaps and whatever else lives in a directory of manifests.
        _ => {}
    }
    Ok(())
}

/// Decodes one object of a known kind.
fn read<T: DeserializeOwned>(
    value: Value,
    kind: &str,
    parse: fn(&T) -> Parsed,
    objects: &mut Vec<Labeled>,
) {
    let name = value
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str);
    let key = parse::object_key(kind, namespace, name);
    let shown = if name.is_empty() {
        "without a name".to_owned()
    } else {
        excerpt(name)
    };
    // What is no text selects nothing; the decoder complains about it.
    let labels = value.pointer("/metadata/labels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten().filter_map(|(key, value)| {
        let value = value.as_str()?;
        Some((key.clone(), value.to_owned()))
    });
    let labels = labels.collect();
    let parsed = match serde_json::from_value(value) {
        Ok(object) => parse(&object),
        Err(error) => {
            // Who logs it says which object it is, when it has an identity.
            let named = key
                .as_ref()
                .map_or_else(|| format!("{kind} {shown}: "), |_| String::new());
            Parsed {
                verdict: Verdict::Malformed(key, format!("{named}{error}")),
                complaints: Vec::new(),
            }
        }
    };
    objects.push(Labeled { parsed, labels });
}

/// An object without an identity that cannot be read.
fn malformed(why: String) -> Parsed {
    Parsed {
        verdict: Verdict::Malformed(None, why),
        complaints: Vec::new(),
    }
}

/// The line of a parser's message that says what and where; the rest shows the text.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or("not YAML").to_owned()
}
