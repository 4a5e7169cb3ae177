//! Values that are written as text in the file: names, periods, networks, patterns, selectors.
//! Each is parsed once; what holds one has a sound one.

mod selector;

pub use selector::Selector;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

/// Makes a type readable from text and writable as text.
macro_rules! from_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}

from_text!(Name, ObjectName, Period, Network, Glob, Selector);

/// An absolute DNS name: lower case, without the final dot; the root is empty and written `.`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Name(String);

impl Name {
    /// A name from our own source text.
    pub(super) fn literal(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Lower case, without the final dot; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `name` (lower case, without the final dot) is this name or below it.
    pub fn holds(&self, name: &str) -> bool {
        self.is_root()
            || name
                .strip_suffix(self.0.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "." {
            return Ok(Self(String::new()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let fail = |why: &str| Err(format!("{text:?} is no DNS name: {why}"));
        if name.is_empty() {
            return fail("it is empty");
        }
        if name.len() > nss_k8s_zone::MAX_TEXT {
            return fail("it has more than 253 characters");
        }
        if name
            .split('.')
            .any(|label| label.is_empty() || label.len() > 63)
        {
            return fail("a label has 1 to 63 characters");
        }
        match name.chars().find(|c| !is_name_character(*c)) {
            Some(other) => fail(&format!("{other:?} is not allowed")),
            None => Ok(Self(name)),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

/// Whether a lower-case name may have this character besides dots.
pub(super) const fn is_name_character(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.')
}

/// A namespaced object: `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ObjectName {
    /// A DNS label.
    pub namespace: String,
    /// A DNS label.
    pub name: String,
}

impl ObjectName {
    /// One from our own source text.
    pub(super) fn literal(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl FromStr for ObjectName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sound = |part: &str| crate::parse::label(part).is_ok();
        match text.split_once('/') {
            Some((namespace, name)) if sound(namespace) && sound(name) => {
                Ok(Self::literal(namespace, name))
            }
            _ => Err(format!("{text:?} is not NAMESPACE/NAME")),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// A period such as `500ms`, `30s`, `5m`, `1h30m` or `1d`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Period(Duration);

impl Period {
    /// So many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// As the standard library's.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        /// No period of this program is longer: ten years, in milliseconds.
        const MOST: u64 = 10 * 366 * 86_400_000;
        let fail = || format!("{text:?} is no period such as 500ms, 30s, 5m or 1h30m");
        let mut rest = text;
        let mut total = 0_u64;
        if rest.is_empty() {
            return Err(fail());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(fail)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let unit = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(fail()),
            };
            let number: u64 = number.parse().map_err(|_| fail())?;
            total = number
                .checked_mul(unit)
                .and_then(|part| total.checked_add(part))
                .filter(|total| *total <= MOST)
                .ok_or_else(|| format!("{text:?} is longer than ten years"))?;
            rest = tail;
        }
        Ok(Self::millis(total))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        match (seconds, millis) {
            (_, 0) => write!(formatter, "{seconds}s"),
            (0, _) => write!(formatter, "{millis}ms"),
            _ => write!(formatter, "{seconds}s{millis}ms"),
        }
    }
}

/// A network such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network {
    address: IpAddr,
    /// Bits that count.
    length: u8,
}

impl Network {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differing = (ours.to_bits() ^ theirs.to_bits()).leading_zeros();
                differing >= self.length.into()
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differing = (ours.to_bits() ^ theirs.to_bits()).leading_zeros();
                differing >= self.length.into()
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = || format!("{text:?} is no network such as 10.0.0.0/8");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| fail())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) => length.parse().map_err(|_| fail())?,
            None => most,
        };
        if length > most {
            return Err(fail());
        }
        let network = Self { address, length };
        let host_bits = match address {
            IpAddr::V4(address) => address.to_bits().checked_shl(length.into()).unwrap_or(0) != 0,
            IpAddr::V6(address) => address.to_bits().checked_shl(length.into()).unwrap_or(0) != 0,
        };
        if host_bits {
            return Err(format!("{text:?} has bits after its first {length}"));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

/// A pattern for names of namespaces; `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Glob(String);

impl Glob {
    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else {
            return false;
        };
        let mut last = None;
        for part in parts {
            if let Some(middle) = last.replace(part) {
                // The first place leaves the most for what follows.
                match rest.split_once(middle) {
                    Some((_, tail)) => rest = tail,
                    None => return false,
                }
            }
        }
        last.map_or(rest.is_empty(), |last| rest.ends_with(last))
    }
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sound = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '*');
        if text.is_empty() || text.len() > 63 || !text.chars().all(sound) {
            return Err(format!(
                "{text:?} is no name of a namespace, nor a pattern for some"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
