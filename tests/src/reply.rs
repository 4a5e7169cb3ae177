//! What `lookup` said to one command, parsed.

use std::fmt::Write;

/// The giver of an answer about which nss-k8s said nothing.
pub const NOBODY: &str = "nobody of ours";

/// The answer to one call, and who gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The error's name, for a call that failed.
    pub error: Option<String>,
    /// Entries of an `addrinfo` list, in order.
    pub entries: Vec<Entry>,
    /// `h_name`, or the host of `getnameinfo`.
    pub name: Option<String>,
    /// `h_aliases`, in order.
    pub aliases: Vec<String>,
    /// `h_addr_list`, in order.
    pub addresses: Vec<String>,
    /// Of `probes/resolver.c`: what came of the call, and the message, taken apart.
    pub message: Vec<String>,
    /// Whether errno still holds the value from before the call.
    pub errno_untouched: bool,
    /// Lines that nss-k8s wrote (`NSS_K8S_DEBUG`), in order.
    pub notes: Vec<Note>,
    /// Lines that nobody should write.
    pub strange: Vec<String>,
}

/// One entry of an `addrinfo` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `INET` or `INET6`.
    pub family: String,
    /// Socket type, a slash, protocol.
    pub kind: String,
    /// The address in text form.
    pub address: String,
    /// Port.
    pub port: u16,
    /// Flags and scope, as printed.
    pub rest: String,
    /// The canonical name, where there is one.
    pub canonical: Option<String>,
}

/// One line of `NSS_K8S_DEBUG`: `nss-k8s: <call> "<name>" -> <verdict>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The entry point.
    pub call: String,
    /// The name, with its quotes.
    pub name: String,
    /// `zone`, `nodata`, `nxdomain`, `hosts` or `pass(reason)`.
    pub verdict: String,
}

impl Reply {
    /// Takes one line of output.
    pub fn take(&mut self, line: &str) {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "nss-k8s:" => match Note::parse(value) {
                Some(note) => self.notes.push(note),
                None => self.strange.push(line.into()),
            },
            "returned" | "h_errno" | "state" | "options" | "header" | "question" | "record"
            | "no" | "broken" => {
                // What a recording server has there is in lower case.
                let section = value.split(' ').next().unwrap_or_default();
                let kept = key != "record" || section == "answer";
                let line = if kept {
                    line.to_owned()
                } else {
                    line.to_lowercase()
                };
                self.message.push(line);
                self.message.sort_unstable();
            }
            "error" => self.error = Some(value.into()),
            "errno" => self.errno_untouched = value == "untouched",
            "name" => self.name = Some(value.into()),
            "alias" => self.aliases.push(value.into()),
            "address" => {
                self.addresses
                    .push(value.split_once(' ').map_or(value, |(_, text)| text).into());
            }
            "service" | "descriptors" => self.addresses.push(value.into()),
            "entry" => match Entry::parse(value) {
                Some(entry) => self.entries.push(entry),
                None => self.strange.push(line.into()),
            },
            _ => self.strange.push(line.into()),
        }
    }

    /// Who answered: the verdict that all lines share, else all of them.
    pub fn who(&self) -> String {
        let mut verdicts: Vec<&str> = self
            .notes
            .iter()
            .map(|note| note.verdict.as_str())
            .collect();
        verdicts.dedup();
        if verdicts.is_empty() {
            NOBODY.into()
        } else {
            verdicts.join(", ")
        }
    }

    /// The answer in one line: distinct addresses, sorted, and the canonical name; or the error.
    pub fn summary(&self) -> String {
        if let Some(error) = &self.error {
            return error.clone();
        }
        let mut addresses: Vec<&str> = self
            .entries
            .iter()
            .map(|entry| entry.address.as_str())
            .collect();
        addresses.extend(self.addresses.iter().map(String::as_str));
        addresses.sort_unstable();
        addresses.dedup();
        let mut text = addresses.join(" ");
        let canonical = self
            .entries
            .first()
            .and_then(|entry| entry.canonical.as_ref());
        if let Some(name) = canonical.or(self.name.as_ref()) {
            let _ = write!(text, " = {name}");
        }
        text
    }

    /// Everything that must be the same whoever answers: the order of families, socket types and
    /// protocols, ports, flags, canonical names and aliases. Servers shuffle addresses, so in an
    /// `addrinfo` list each has the number of its first appearance, and those of a hostent count.
    pub fn shape(&self) -> String {
        let mut text = self.summary();
        let mut seen = Vec::new();
        for entry in &self.entries {
            if !seen.contains(&&entry.address) {
                seen.push(&entry.address);
            }
            let number = seen.iter().position(|one| **one == entry.address);
            let _ = write!(
                text,
                "\n  #{} {} {} {} {} {}",
                number.unwrap_or(0),
                entry.family,
                entry.kind,
                entry.port,
                entry.rest,
                entry.canonical.as_deref().unwrap_or("-")
            );
        }
        if !self.addresses.is_empty() {
            let _ = write!(text, "\n  {} addresses", self.addresses.len());
        }
        for alias in &self.aliases {
            let _ = write!(text, "\n  alias {alias}");
        }
        for line in &self.message {
            let _ = write!(text, "\n  {line}");
        }
        if !self.message.is_empty() {
            let _ = write!(text, "\n  errno untouched: {}", self.errno_untouched);
        }
        for line in &self.strange {
            let _ = write!(text, "\n  strange: {line}");
        }
        text
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(5, ' ');
        let family = words.next()?.into();
        let kind = words.next()?.into();
        let address = words.next()?.into();
        let port = words.next()?.parse().ok()?;
        let (rest, canonical) = words.next()?.split_once(" canonical=")?;
        let canonical = (canonical != "-").then(|| canonical.to_owned());
        Some(Self {
            family,
            kind,
            address,
            port,
            rest: rest.into(),
            canonical,
        })
    }
}

impl Note {
    fn parse(text: &str) -> Option<Self> {
        let (question, verdict) = text.rsplit_once(" -> ")?;
        let (call, name) = question.split_once(' ')?;
        Some(Self {
            call: call.into(),
            name: name.into(),
            verdict: verdict.into(),
        })
    }
}
