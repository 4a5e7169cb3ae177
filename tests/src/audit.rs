//! What the agent asked of a real API server, as the server itself wrote it down after `cluster/audit.yaml`.

use anyhow::Result;
use serde_json::Value;
use std::{fs, path::Path};

/// One request of the agent.
#[derive(Clone, Debug)]
pub struct Request {
    /// `list`, `watch`, `get`, ...
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// Group, a slash, resource; a path of no resource stands as it is.
    pub resource: String,
    /// HTTP status; 0 while it is not known.
    pub status: u64,
}

impl Request {
    /// A list in pages, or one by streaming; not the question for the server's version, which is a list
    /// of one key.
    pub fn is_list(&self) -> bool {
        let is_question = self.uri.contains("fieldSelector=");
        self.is_streaming_list() || self.verb == "list" && !is_question
    }

    /// A list by streaming: a watch that begins with everything that there is.
    pub fn is_streaming_list(&self) -> bool {
        self.verb == "watch" && self.uri.contains("sendInitialEvents=true")
    }
}

/// Everything up to now, in order, from the file of `--audit-log-path`. A watch counts when it begins, or
/// when it is refused; its end, which may be written long after its agent's, is left out.
pub fn requests(log: &Path) -> Result<Vec<Request>> {
    let text = fs::read_to_string(log).unwrap_or_default();
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut requests = Vec::new();
    for line in whole.lines() {
        let event: Value = serde_json::from_str(line)?;
        let request = read(&event);
        if request.verb != "watch" || event["stage"] == "ResponseStarted" || request.status >= 400 {
            requests.push(request);
        }
    }
    Ok(requests)
}

fn read(event: &Value) -> Request {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let resource = match object["resource"].as_str() {
        Some(resource) => format!(
            "{}/{resource}",
            object["apiGroup"].as_str().unwrap_or_default()
        ),
        None => text(&event["requestURI"]),
    };
    Request {
        verb: text(&event["verb"]),
        uri: text(&event["requestURI"]),
        resource,
        status: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
    }
}
