//! The report, for people and for scripts.

use super::finding::{Finding, Severity};
use serde::Serialize;
use std::fmt::Write as _;

/// Everything that is said; the fields of the JSON form.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The gravest first.
    pub(super) findings: Vec<Finding>,
    /// Permissions and files that were missing: what they would have shown was not judged.
    pub(super) not_read: Vec<String>,
    /// The exit status.
    pub(super) status: u8,
}

impl Report {
    /// Sums up. Settings that the configuration has already make a warning a note.
    pub(super) fn new(mut findings: Vec<Finding>, not_read: Vec<String>) -> Self {
        for finding in &mut findings {
            if finding.is_set && finding.severity == Severity::Warning {
                finding.severity = Severity::Note;
            }
        }
        findings.sort_by_key(|finding| core::cmp::Reverse(finding.severity));
        let gravest = findings.iter().map(|finding| finding.severity).max();
        let status = match gravest {
            Some(Severity::Blocker) => 2,
            _ if !not_read.is_empty() => 3,
            Some(Severity::Warning) => 1,
            _ => 0,
        };
        Self {
            findings,
            not_read,
            status,
        }
    }

    /// The report as text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let word = match finding.severity {
                Severity::Note => "note",
                Severity::Warning => "warning",
                Severity::Blocker => "blocker",
            };
            let _ = writeln!(text, "{word}: {} [{}]", finding.place, finding.id);
            let _ = writeln!(text, "    {}", finding.what);
            if !finding.advice.is_empty() {
                let _ = writeln!(text, "    what to do: {}", finding.advice);
            }
            for setting in &finding.settings {
                let set = if finding.is_set { "is set" } else { "set" };
                let _ = writeln!(text, "    {set}: {}: {}", setting.option, setting.value);
            }
        }
        for gap in &self.not_read {
            let _ = writeln!(text, "not read: {gap}");
        }
        let count = |severity| {
            self.findings
                .iter()
                .filter(|one| one.severity == severity)
                .count()
        };
        let _ = writeln!(
            text,
            "{} blockers, {} warnings, {} notes, {} not read: {}",
            count(Severity::Blocker),
            count(Severity::Warning),
            count(Severity::Note),
            self.not_read.len(),
            match self.status {
                0 => "nothing has to be set",
                1 => "set the options above, or take those of --print-config",
                2 => "programs would get other answers; see the blockers",
                _ => "what was not read may change this",
            }
        );
        text
    }
}
