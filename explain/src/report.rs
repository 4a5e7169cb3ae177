//! What is printed.

use nss_k8s_stub::{
    Address, BUILD, Family, Name, Outcome, Reason,
    explain::{Event, Facts, Words, by_words},
    nsswitch::Placement,
    walk::{Settings, Verdict},
};
use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// FNV-1a of `default`, the view of every pod that is of no other class.
const DEFAULT_VIEW: u32 = 0x933b_5bde;

/// The text, and the candidates of the walk so far.
#[derive(Default)]
pub(crate) struct Report {
    text: String,
    tried: Vec<(String, String)>,
    by: &'static str,
}

impl Report {
    /// One line as it stands.
    pub(crate) fn line(&mut self, line: String) {
        self.text.push_str(&line);
        self.text.push('\n');
    }

    /// The whole text.
    pub(crate) fn text(self) -> String {
        self.text
    }

    /// What the files of /etc say.
    pub(crate) fn settings(&mut self, settings: &Settings) {
        match &settings.resolv_conf {
            Ok(conf) => {
                let servers: Vec<String> = conf
                    .nameservers()
                    .iter()
                    .map(|address| ip(address).to_string())
                    .collect();
                let search: Vec<String> = conf.search.iter().map(text).collect();
                let (servers, search) = (servers.join(" "), search.join(" "));
                let ndots = conf.ndots;
                self.line(format!(
                    "  resolv.conf: nameserver {servers}; search {search}; ndots {ndots}"
                ));
            }
            Err(why) => self.line(format!("  resolv.conf: unclear ({why:?}): libc answers")),
        }
        let placement = match settings.placement {
            Placement::Unplaced => Some("`hosts:` cannot be placed: libc answers (glibc alone)"),
            Placement::AnswersOnly => Some("another source stands behind DNS: only answers count"),
            Placement::NoIsFinal => Some("no is final, failures are not"),
            Placement::Certain => None,
        };
        if let Some(words) = placement {
            self.line(format!("  nsswitch.conf: {words}"));
        }
        if settings.module_asks {
            self.line(
                "  nsswitch.conf: names our module, which asks for external names".to_owned(),
            );
        }
        if settings.host_aliases {
            self.line("  HOSTALIASES is set: names without dots are libc's".to_owned());
        }
    }

    /// What the zone file says of itself.
    pub(crate) fn facts(&mut self, facts: Facts) {
        let view = if facts.view == DEFAULT_VIEW {
            "default".to_owned()
        } else {
            format!("{:08x}", facts.view)
        };
        self.line(format!("  view {view}; library build {BUILD}"));
        if facts.refused {
            self.line("  this build is refused: libc answers".to_owned());
        }
        if facts.disabled_permille > 0 {
            let permille = facts.disabled_permille;
            let here = if facts.disabled {
                ", with this one: libc answers"
            } else {
                ", without this one"
            };
            self.line(format!(
                "  {permille} of a thousand hosts are switched off{here}"
            ));
        }
        if facts.shadow {
            self.line(
                "  in shadow: libc answers, what follows is only compared with that".to_owned(),
            );
        }
    }

    /// The hosts file ends the lookup.
    pub(crate) fn hosts(&mut self, outcome: Outcome) {
        self.by = "hosts";
        let words = match outcome {
            Outcome::Hosts { .. } => "the name is in it",
            Outcome::NoData => "the name is in it, with other addresses alone",
            _ => "what libc makes of it is not certain",
        };
        self.line(format!("  hosts file: {words}"));
    }

    /// Takes one step of the walk over; every walk tells all candidates again.
    pub(crate) fn note(&mut self, event: Event<'_>) {
        match event {
            Event::Step(step) => {
                let candidate = text(step.candidate);
                let mut words = Words(step.verdict).to_string();
                if step.looked_up != step.candidate {
                    words = format!("rule: rewritten to {}; {words}", text(step.looked_up));
                }
                let known = self.tried.iter_mut().find(|(name, _)| *name == candidate);
                match known {
                    // What was asked for it stands.
                    Some(_) if matches!(step.verdict, Verdict::Asked(..)) => {}
                    Some((_, verdict)) => *verdict = words,
                    None => self.tried.push((candidate, words)),
                }
            }
            Event::Asked(name, by, asked) => {
                let words = Words(Verdict::Asked(by, asked));
                if let Some((candidate, verdict)) = self.tried.last_mut() {
                    *verdict = if candidate.as_bytes() == name {
                        words.to_string()
                    } else {
                        format!("{verdict}; {}: {words}", text(name))
                    };
                }
            }
        }
    }

    /// Writes the candidates down.
    pub(crate) fn candidates(&mut self) {
        let tried = core::mem::take(&mut self.tried);
        let width = tried.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (index, (name, verdict)) in tried.iter().enumerate() {
            let number = index + 1;
            let _ = writeln!(self.text, "  {number}. {name:<width$}  {verdict}");
        }
    }

    /// The outcome, and the addresses.
    pub(crate) fn end(&mut self, outcome: Outcome, room: &[Address], canonical: &Name) {
        let by = match outcome {
            Outcome::Asked(by, _) => by_words(by),
            _ if self.by.is_empty() => "zone",
            _ => self.by,
        };
        let words = match outcome.plain() {
            Outcome::Answer { .. } | Outcome::Hosts { .. } => format!("answered by: {by}"),
            Outcome::NoData => format!("answered by: {by}: no such record"),
            Outcome::NxDomain => format!("answered by: {by}: no such name"),
            Outcome::Again => format!("answered by: {by}: failed, try again"),
            Outcome::Chase => pass(Reason::External),
            Outcome::Pass(reason) => pass(reason),
            _ => "answered by: libc".to_owned(),
        };
        self.line(words);
        let count = outcome.answered().unwrap_or(0);
        if count > 0 && !canonical.is_empty() {
            self.line(format!("canonical name: {}", text(canonical.as_bytes())));
        }
        for address in room.iter().take(count) {
            self.line(ip(address).to_string());
        }
    }
}

/// libc answers.
fn pass(reason: Reason) -> String {
    format!("answered by: libc (pass: {})", reason.as_str())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An address as the standard library's.
fn ip(address: &Address) -> IpAddr {
    let [a, b, c, d, ..] = address.octets;
    match address.family {
        Family::V4 => Ipv4Addr::new(a, b, c, d).into(),
        Family::V6 => Ipv6Addr::from(address.octets).into(),
    }
}
