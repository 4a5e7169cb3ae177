//! What is answered otherwise than the zone and the upstreams would: rewritten, fixed and blocked
//! names, and the guard for namespaces that are named as top-level domains.

use super::text::{Name, Period, is_name_character};
use regex::Regex;
use regex_syntax::hir::{
    Look,
    literal::{ExtractKind, Extractor},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, str::FromStr};

/// One rule: names that match are looked up under another name, and answered under their own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub struct Rewrite {
    /// Which names.
    pub from: Match,
    /// `Exact`: the other name. `Prefix`, `Suffix`: what takes the matched text's place. `Regex`:
    /// the other name, `{0}`, `{1}` ... standing for groups. Lower case, without the final dot.
    pub to: String,
    /// The rules behind it are tried on the new name; else it is the last one tried.
    pub continues: bool,
}

/// Which names a rule is for; names are absolute and in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// This one.
    Exact(Name),
    /// Those that begin with these labels, as in CoreDNS, where every such text ends in a dot.
    Prefix(String),
    /// Those that end with this text (not: with these labels), without the final dot.
    Suffix(String),
    /// Those that this matches, *with* their final dot. Not in process: see [`Pattern::suffixes`].
    Regex(Pattern),
}

/// A rule as it is written: one of the four, and `to`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// This name
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exact: Option<String>,
    /// Names that begin with these labels
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// Names that end with this text
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suffix: Option<String>,
    /// Names that this matches; it ends with `\.$` after at least one literal label
    #[serde(default, skip_serializing_if = "Option::is_none")]
    regex: Option<String>,
    /// What takes the place of what matched; with `regex` `{1}` is its first group
    to: String,
    /// Try the rules behind it on the new name, too
    #[serde(
        default,
        rename = "continue",
        skip_serializing_if = "core::ops::Not::not"
    )]
    continues: bool,
}

impl TryFrom<Written> for Rewrite {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written {
            exact,
            prefix,
            suffix,
            regex,
            to,
            continues,
        } = written;
        let (from, to) = match (exact, prefix, suffix, regex) {
            (Some(exact), None, None, None) => {
                let to: Name = to.parse()?;
                (Match::Exact(exact.parse()?), to.as_str().to_owned())
            }
            (None, Some(prefix), None, None) => {
                (Match::Prefix(part(&prefix, false)?), part(&to, false)?)
            }
            (None, None, Some(suffix), None) => {
                (Match::Suffix(part(&suffix, false)?), part(&to, true)?)
            }
            (None, None, None, Some(regex)) => {
                let from: Pattern = regex.parse()?;
                let to = from.replacement(&to)?;
                (Match::Regex(from), to)
            }
            _ => return Err("a rewrite has one of exact, prefix, suffix and regex".to_owned()),
        };
        Ok(Self {
            from,
            to,
            continues,
        })
    }
}

impl From<Rewrite> for Written {
    fn from(rewrite: Rewrite) -> Self {
        let mut written = Self {
            to: rewrite.to,
            continues: rewrite.continues,
            ..Self::default()
        };
        match rewrite.from {
            Match::Exact(name) => written.exact = Some(name.to_string()),
            Match::Prefix(text) => written.prefix = Some(text),
            Match::Suffix(text) => written.suffix = Some(text),
            Match::Regex(pattern) => written.regex = Some(pattern.to_string()),
        }
        written
    }
}

/// A part of a name: lower case, without a final dot.
fn part(text: &str, may_be_empty: bool) -> Result<String, String> {
    let part = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if part.is_empty() && !may_be_empty {
        return Err("a rewrite needs something to match".to_owned());
    }
    if part.len() > nss_k8s_zone::MAX_TEXT || part.contains("..") {
        return Err(format!("{text:?} cannot be part of a DNS name"));
    }
    match part.chars().find(|c| !is_name_character(*c)) {
        Some(other) => Err(format!("{text:?}: {other:?} is not allowed in a DNS name")),
        None => Ok(part),
    }
}

/// A regular expression for names that is certain of their last labels.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    suffixes: Vec<Name>,
}

impl Pattern {
    /// The longest text: as CoreDNS's.
    const LONGEST: usize = 10_000;

    /// The compiled expression. It is for a lower-case name with its final dot.
    pub const fn regex(&self) -> &Regex {
        &self.regex
    }

    /// Every name that matches is at or below one of these. Processes leave such names to DNS, for
    /// they have no regular expressions.
    pub fn suffixes(&self) -> &[Name] {
        &self.suffixes
    }

    /// Checks the name that replaces matches.
    fn replacement(&self, text: &str) -> Result<String, String> {
        let to = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let mut sample = to.clone();
        for group in 0..self.regex.captures_len() {
            sample = sample.replace(&format!("{{{group}}}"), "x");
        }
        if sample.contains(['{', '}']) {
            let groups = self.regex.captures_len() - 1;
            return Err(format!("{text:?}: the pattern has {groups} groups"));
        }
        sample.parse::<Name>().map(|_| to)
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = |why: &str| format!("{text:?}: {why}");
        if text.len() > Self::LONGEST {
            return Err("a pattern has at most 10000 characters".to_owned());
        }
        let regex = Regex::new(text).map_err(|error| {
            let error = error.to_string();
            fail(error.lines().last().unwrap_or_default())
        })?;
        let hir = regex_syntax::parse(text).map_err(|error| fail(&error.to_string()))?;
        if !hir.properties().look_set_suffix().contains(Look::End) {
            return Err(fail(
                "it must end with `$`, or it would match inside of names",
            ));
        }
        let mut extractor = Extractor::new();
        let literals = extractor.kind(ExtractKind::Suffix).extract(&hir);
        let why = "it must end with at least one literal label and the final dot, as in \
                   `\\.example\\.com\\.$`";
        let mut suffixes: Vec<Name> = Vec::new();
        for literal in literals.literals().ok_or_else(|| fail(why))? {
            let literal = core::str::from_utf8(literal.as_bytes()).unwrap_or_default();
            // Names end with a dot here: a variant without one matches nothing.
            let Some(name) = literal.strip_suffix('.') else {
                if literal.is_empty() {
                    return Err(fail(why));
                }
                continue;
            };
            let (_, labels) = name.split_once('.').ok_or_else(|| fail(why))?;
            let name: Name = labels.parse().map_err(|_| fail(why))?;
            if !suffixes.contains(&name) {
                suffixes.push(name);
            }
        }
        if suffixes.is_empty() {
            return Err(fail(why));
        }
        Ok(Self { regex, suffixes })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.regex.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for Pattern {}

/// Names with fixed addresses. A family without an address has none: NODATA.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Their names
    #[schemars(length(min = 1))]
    pub names: Vec<Name>,
    /// Their addresses
    #[schemars(length(min = 1))]
    pub addresses: Vec<IpAddr>,
    /// Time to live
    #[serde(default = "host_ttl")]
    pub ttl: Period,
}

/// CoreDNS's default.
const fn host_ttl() -> Period {
    Period::secs(3600)
}

/// A namespace `com` turns `google.com` into a service's name on every search list: the guard
/// takes such candidates out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TldGuard {
    /// What is done about such namespaces
    pub mode: GuardMode,
    /// Namespaces that are meant to be reached so, although they are top-level domains
    pub except: Vec<String>,
    /// Further names that count as top-level domains
    pub also: Vec<String>,
}

/// What is done about a namespace that is named as a top-level domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuardMode {
    /// Nothing
    #[default]
    Off,
    /// A line in the log and a metric
    Warn,
    /// `NAME.NAMESPACE` finds no service in it; `NAME.NAMESPACE.svc` still does
    On,
}
