//! The answer of `nss-k8s query`, as text and as JSON.

use nss_k8s_stub::{
    Outcome, Reason,
    explain::{Event, Words, by_words},
    walk::Verdict,
};
use nss_k8s_zone::{Found, Name};
use serde::Serialize;

/// Everything that is said about one question; the fields of the JSON form.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answer {
    /// As asked.
    pub(super) name: String,
    /// `answer`, `nodata`, `nxdomain`, `again` or `pass`.
    pub(super) verdict: &'static str,
    /// Who answered in libc's place: `zone`, `held`, `upstream`, `forwarder`; empty after `pass`.
    pub(super) by: &'static str,
    /// Why the process's libc would answer instead; the word of the debug line.
    pub(super) reason: Option<String>,
    /// Who owns the data, or the CNAME's target.
    pub(super) canonical: Option<String>,
    /// Addresses, SRV data or names.
    pub(super) records: Vec<String>,
    /// The candidates, in the order in which the libc would ask.
    pub(super) tried: Vec<Tried>,
    /// The zone's state.
    pub(super) state: &'static str,
    /// The zone's serial.
    pub(super) serial: u64,
    /// Seconds since the agent's last beat.
    pub(super) alive_age: u64,
    /// Seconds since the watches were last known to be healthy.
    pub(super) synced_age: Option<u64>,
    /// What the process's resolv.conf is taken to say.
    pub(super) resolv_conf: String,
}

/// One candidate.
#[derive(Debug, Serialize)]
pub(super) struct Tried {
    /// The absolute name.
    pub(super) candidate: String,
    /// In words: who said what.
    pub(super) verdict: String,
}

impl Answer {
    /// Takes one step of the walk over. Every walk tells all candidates again; what was asked for one
    /// stands.
    pub(super) fn note(&mut self, event: Event<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match event {
            Event::Step(step) => {
                let candidate = text(step.candidate);
                let mut verdict = Words(step.verdict).to_string();
                if step.looked_up != step.candidate {
                    verdict = format!("rule: rewritten to {}; {verdict}", text(step.looked_up));
                }
                let known = self.tried.iter_mut().find(|one| one.candidate == candidate);
                match known {
                    Some(_) if matches!(step.verdict, Verdict::Asked(..)) => {}
                    Some(known) => known.verdict = verdict,
                    None => self.tried.push(Tried { candidate, verdict }),
                }
            }
            Event::Asked(name, by, asked) => {
                let words = Words(Verdict::Asked(by, asked));
                if let Some(last) = self.tried.last_mut() {
                    last.verdict = if last.candidate.as_bytes() == name {
                        words.to_string()
                    } else {
                        format!("{}; {}: {words}", last.verdict, text(name))
                    };
                }
            }
        }
    }

    /// Takes the walk's outcome over.
    pub(super) fn decide(&mut self, outcome: Outcome, canonical: &Name) {
        if let Outcome::Asked(by, _) = outcome {
            self.by = by_words(by);
        }
        let outcome = outcome.plain();
        let canonical = String::from_utf8_lossy(canonical.as_bytes()).into_owned();
        let canonical = (!canonical.is_empty()).then_some(canonical);
        self.verdict = match outcome {
            Outcome::Answer { .. } => "answer",
            Outcome::NoData => "nodata",
            Outcome::NxDomain => "nxdomain",
            Outcome::Again => "again",
            // The hosts file is not this machine's business.
            _ => "pass",
        };
        self.reason = match outcome {
            Outcome::Pass(reason) => Some(reason.as_str().to_owned()),
            // What the process says of it: libc has to follow the alias out of the zone.
            Outcome::Chase => Some(Reason::External.as_str().to_owned()),
            Outcome::Room(_) => Some("room".to_owned()),
            _ => None,
        };
        if matches!(outcome, Outcome::Answer { .. } | Outcome::Chase) {
            self.canonical = canonical;
        }
        if self.by.is_empty() && self.verdict != "pass" {
            self.by = "zone";
        }
    }

    /// Takes the zone's word on one candidate over; true when it ends the search.
    pub(super) fn settle(&mut self, found: Found, candidate: &str) -> bool {
        let (verdict, reason) = match found {
            Found::Answer { .. } => ("answer", None),
            // A name that exists without the type is remembered, and the search goes on.
            Found::NoData => ("nodata", None),
            Found::NxDomain if self.verdict == "nodata" => return false,
            Found::NxDomain => ("nxdomain", None),
            Found::Ask(ask) => ("pass", Some(Reason::Ask(ask))),
            Found::Unavailable(why) => ("pass", Some(Reason::Unavailable(why))),
            Found::Outside | Found::Chase | Found::Room(_) => ("pass", Some(Reason::External)),
        };
        self.verdict = verdict;
        self.reason = reason.map(|reason| reason.as_str().to_owned());
        if verdict == "answer" {
            self.canonical = Some(candidate.to_owned());
        }
        self.by = if verdict == "pass" { "" } else { "zone" };
        matches!(verdict, "answer" | "pass")
    }

    /// Prints the answer; `explain`: also how it came about.
    pub(super) fn print(&self, explain: bool) {
        if explain {
            println!("{}", self.name);
            for line in self.resolv_conf.lines() {
                println!("  | {line}");
            }
            let width = self
                .tried
                .iter()
                .map(|tried| tried.candidate.len())
                .max()
                .unwrap_or(0);
            for (index, Tried { candidate, verdict }) in self.tried.iter().enumerate() {
                println!("  {}. {candidate:<width$}  {verdict}", index + 1);
            }
        }
        match (self.verdict, self.reason.as_deref()) {
            ("pass", Some(reason)) if !explain => println!("pass({reason})"),
            ("nodata" | "nxdomain" | "again", _) if !explain => println!("{}", self.verdict),
            _ => {}
        }
        if explain && let Some(canonical) = &self.canonical {
            println!("  canonical name: {canonical}");
        }
        let indent = if explain { "  " } else { "" };
        for record in &self.records {
            println!("{indent}{record}");
        }
        if explain {
            println!("  {}", self.who());
            let synced = self
                .synced_age
                .map_or_else(|| "never".to_owned(), |s| format!("{s} s ago"));
            println!(
                "  zone: {}, serial {}, alive {} s ago, synced {synced}",
                self.state, self.serial, self.alive_age
            );
        }
    }

    /// Who would answer the process, in words.
    fn who(&self) -> String {
        let by = match self.by {
            "" | "zone" => "the zone",
            "held" => "the agent's answer in shared memory",
            "forwarder" => "the agent's forwarder",
            _ => "a nameserver of resolv.conf, over TCP",
        };
        match (self.verdict, self.reason.as_deref()) {
            ("answer", _) => format!("answered by: {by}, in the process"),
            ("nodata", _) => format!("answered by: {by}: the name has no such record"),
            ("nxdomain", _) => format!("answered by: {by}: the name does not exist"),
            ("again", _) => format!("answered by: {by}: it failed, try again"),
            (_, Some(reason)) => {
                format!("answered by: the process's libc and its DNS (pass: {reason})")
            }
            (_, None) => "answered by: the process's libc and its DNS".to_owned(),
        }
    }
}
