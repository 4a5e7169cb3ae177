//! What a real DNS server said to each question of a list: the text form that stands in
//! `corpus/coredns.tsv`, and messages to and from it.
//!
//! One line per question, its seven columns separated by tabs:
//!
//! ```text
//! name  type  rcode  aa|-  answers  authority  additional
//! ```
//!
//! Names are in lower case without the last dot (the root is `.`), odd bytes as `\DDD`. A section
//! is its records, each `owner ttl type data`, sorted and joined by ` | `; an empty one is `-`. The
//! serial number of an SOA is `*`. The pseudo-record OPT is left out.

mod reader;
#[cfg(test)]
mod tests;

use self::reader::Reader;
use crate::{
    artifacts,
    wire::{self, Question, kind},
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::{BTreeSet, HashMap},
    fmt, fs,
    net::IpAddr,
    sync::Mutex,
};

/// The file of recordings, relative to `tests/`.
pub const FILE: &str = "corpus/coredns.tsv";
/// The file of questions that recording asks, relative to `tests/`: `name TAB type` lines.
pub const QUESTIONS: &str = "corpus/questions.tsv";

/// What is escaped in a label although it is printable; `\t` is not.
pub(crate) const IN_NAMES: &[u8] = b".\\ |";

/// One question and the server's answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Lower case, no last dot.
    pub name: String,
    /// See [`kind`].
    pub kind: u16,
    /// See [`wire::rcode`].
    pub code: u8,
    /// The AA bit.
    pub authoritative: bool,
    /// Answer, authority, additional.
    pub sections: [Vec<Resource>; 3],
}

/// One resource record in text form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Lower case, no last dot.
    pub owner: String,
    /// Seconds.
    pub ttl: u32,
    /// See [`kind`].
    pub kind: u16,
    /// As a zone file has it, names without the last dot; of a type unknown here RFC 3597's form.
    pub data: String,
}

impl Recording {
    /// A response message, its names in lower case and its records sorted.
    pub fn from_message(message: &[u8]) -> Result<Self> {
        let mut reader = Reader { message, at: 0 };
        let header: [u16; 6] = core::array::from_fn(|_| reader.number().unwrap_or(0));
        ensure!(message.len() >= 12, "short header");
        ensure!(header[2] == 1, "{} questions", header[2]);
        let name = reader.name()?;
        let kind = reader.number()?;
        reader.number()?;
        let mut sections = [const { Vec::new() }; 3];
        for (section, count) in sections.iter_mut().zip(&header[3..]) {
            for _ in 0..*count {
                let record = reader.resource()?;
                if record.kind != kind::OPT {
                    section.push(record);
                }
            }
            section.sort_unstable();
        }
        Ok(Self {
            name,
            kind,
            code: u8::try_from(header[1] & 15)?,
            authoritative: header[1] & 0x0400 != 0,
            sections,
        })
    }

    /// One line of the file.
    pub fn from_line(line: &str) -> Result<Self> {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, kind, code, aa, sections @ ..] = &columns[..] else {
            bail!("not seven columns: {line}");
        };
        ensure!(sections.len() == 3, "not seven columns: {line}");
        let mut parsed = [const { Vec::new() }; 3];
        for (section, text) in parsed.iter_mut().zip(sections) {
            if *text != "-" {
                *section = text
                    .split(" | ")
                    .map(Resource::from_text)
                    .collect::<Result<_>>()?;
                section.sort_unstable();
            }
        }
        Ok(Self {
            name: name.trim_end_matches('.').to_lowercase(),
            kind: kind::from_text(kind).with_context(|| line.to_owned())?,
            code: wire::rcode::from_text(code).with_context(|| line.to_owned())?,
            authoritative: *aa == "aa",
            sections: parsed,
        })
    }

    /// The message that the server would send to `question` (a question of this name and type, in
    /// whatever case, which the owners repeat as it does); over `limit` bytes the last records are
    /// left out and the message is marked truncated.
    pub fn respond(&self, question: &Question, limit: usize) -> Vec<u8> {
        let mut message = question.id.to_be_bytes().to_vec();
        message.push(0b1000_0001 | if self.authoritative { 0b100 } else { 0 });
        // CoreDNS does not offer recursion in the zones that it has itself.
        message.push(self.code | if self.authoritative { 0 } else { 0b1000_0000 });
        message.extend(1_u16.to_be_bytes());
        message.extend([0; 6]);
        message.extend(&question.raw);
        let mut full = false;
        for (number, section) in self.sections.iter().enumerate() {
            let mut count: u16 = 0;
            for record in self.chained(section) {
                let mut bytes = Vec::new();
                record.put(&mut bytes, &self.name);
                full |= message.len() + bytes.len() > limit;
                if full {
                    break;
                }
                message.extend(bytes);
                count += 1;
            }
            message[6 + 2 * number..8 + 2 * number].copy_from_slice(&count.to_be_bytes());
        }
        if full {
            message[2] |= 0b10;
        }
        message
    }

    /// The records with the aliases in front, each before the one that it leads to: readers follow
    /// them in one pass.
    fn chained<'a>(&'a self, section: &'a [Resource]) -> Vec<&'a Resource> {
        let mut ordered = Vec::new();
        let mut owner = &self.name;
        let alias = |owner: &str| {
            let mut all = section.iter();
            all.find(|record| record.kind == kind::CNAME && record.owner == owner)
        };
        while let Some(record) = alias(owner)
            && !ordered.contains(&record)
        {
            ordered.push(record);
            owner = &record.data;
        }
        let rest = section.iter().filter(|record| !ordered.contains(record));
        let rest: Vec<_> = rest.collect();
        ordered.extend(rest);
        ordered
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() {
            "."
        } else {
            &self.name
        };
        let aa = if self.authoritative { "aa" } else { "-" };
        write!(
            formatter,
            "{name}\t{}\t{}\t{aa}",
            kind::to_text(self.kind),
            wire::rcode::to_text(self.code)
        )?;
        for section in &self.sections {
            let mut records: Vec<_> = section.iter().map(ToString::to_string).collect();
            records.sort_unstable();
            let text = records.join(" | ");
            write!(formatter, "\t{}", if text.is_empty() { "-" } else { &text })?;
        }
        Ok(())
    }
}

impl Resource {
    /// `owner ttl type data`.
    fn from_text(text: &str) -> Result<Self> {
        let mut words = text.splitn(4, ' ');
        let mut word = || {
            words
                .next()
                .with_context(|| format!("short record: {text}"))
        };
        let (owner, ttl, kind, data) = (word()?, word()?, word()?, word()?);
        let record = Self {
            owner: owner.trim_end_matches('.').to_lowercase(),
            ttl: ttl.parse().with_context(|| text.to_owned())?,
            kind: kind::from_text(kind).with_context(|| text.to_owned())?,
            data: data.into(),
        };
        record.wire_data().with_context(|| text.to_owned())?;
        Ok(record)
    }

    /// Appends the record; an owner that is the question's name points at it.
    fn put(&self, message: &mut Vec<u8>, asked: &str) {
        if self.owner == asked {
            // The question's name stands behind the header (RFC 1035 section 4.1.4).
            message.extend([0xc0, 12]);
        } else {
            message.extend(wire::name(&self.owner));
        }
        message.extend(self.kind.to_be_bytes());
        message.extend(1_u16.to_be_bytes());
        message.extend(self.ttl.to_be_bytes());
        // `from_text` has refused what has no wire form.
        let data = self.wire_data().unwrap_or_default();
        message.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        message.extend(data);
    }

    fn wire_data(&self) -> Result<Vec<u8>> {
        let words: Vec<&str> = self.data.split(' ').collect();
        let number = |word: &str| -> Result<u16> { word.parse().context("no number") };
        Ok(match (self.kind, &words[..]) {
            (kind::A | kind::AAAA, [text]) => {
                let (kind, data) = wire::address(text.parse::<IpAddr>()?);
                ensure!(kind == self.kind, "the other family");
                data
            }
            (kind::CNAME | kind::PTR | kind::NS, [target]) => wire::name(target),
            (kind::SRV, [priority, weight, port, target]) => {
                let mut data = Vec::new();
                for word in [priority, weight, port] {
                    data.extend(number(word)?.to_be_bytes());
                }
                data.extend(wire::name(target));
                data
            }
            (kind::SOA, [server, mailbox, numbers @ ..]) => {
                ensure!(numbers.len() == 5, "an SOA has five numbers");
                let mut data = wire::name(server);
                data.extend(wire::name(mailbox));
                for word in numbers {
                    let number: u32 = if *word == "*" { 1 } else { word.parse()? };
                    data.extend(number.to_be_bytes());
                }
                data
            }
            (kind::TXT, _) => {
                let mut data = Vec::new();
                let strings = self
                    .data
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'));
                for text in strings.context("no quotes")?.split("\" \"") {
                    let bytes = unescape(text)?;
                    data.push(u8::try_from(bytes.len())?);
                    data.extend(bytes);
                }
                data
            }
            (_, ["\\#", _, digits]) => (0..digits.len() / 2)
                .map(|k| u8::from_str_radix(&digits[2 * k..2 * k + 2], 16))
                .collect::<Result<_, _>>()?,
            (_, ["\\#", "0"]) => Vec::new(),
            _ => bail!("not the data of a {}", kind::to_text(self.kind)),
        })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = if self.owner.is_empty() {
            "."
        } else {
            &self.owner
        };
        let kind = kind::to_text(self.kind);
        write!(formatter, "{owner} {} {kind} {}", self.ttl, self.data)
    }
}

/// All recordings, by name and type.
#[derive(Clone, Debug, Default)]
pub struct Recordings(HashMap<(String, u16), Recording>);

impl Recordings {
    /// Those of [`FILE`].
    pub fn load() -> Result<Self> {
        let text = fs::read_to_string(artifacts::fixture(FILE)).context(FILE)?;
        let mut all = HashMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let recording = Recording::from_line(line).context(FILE)?;
            let key = (recording.name.clone(), recording.kind);
            ensure!(all.insert(key, recording).is_none(), "twice: {line}");
        }
        Ok(Self(all))
    }

    /// The answer to a question, if it is held.
    pub fn find(&self, name: &str, kind: u16) -> Option<&Recording> {
        self.0.get(&(name.to_owned(), kind))
    }

    /// Every one, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Recording> {
        self.0.values()
    }
}

/// The questions of [`QUESTIONS`], sorted.
pub fn questions() -> Result<Vec<(String, u16)>> {
    let text = fs::read_to_string(artifacts::fixture(QUESTIONS)).context(QUESTIONS)?;
    let mut all = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, kind) = line.split_once('\t').with_context(|| line.to_owned())?;
        let kind = kind::from_text(kind).with_context(|| line.to_owned())?;
        all.push((name.trim_end_matches('.').to_owned(), kind));
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Adds questions to [`QUESTIONS`], which stays sorted.
pub fn add_questions(more: &BTreeSet<(String, u16)>) -> Result<()> {
    if more.is_empty() {
        return Ok(());
    }
    // Tests of one process record side by side.
    static FILE: Mutex<()> = Mutex::new(());
    let _held = FILE.lock();
    let mut lines: BTreeSet<String> = questions()?
        .into_iter()
        .chain(more.iter().cloned())
        .map(|(name, kind)| format!("{name}\t{}\n", kind::to_text(kind)))
        .collect();
    lines.insert("# What recording asks: see README.md.\n".into());
    fs::write(artifacts::fixture(QUESTIONS), String::from_iter(lines)).context(QUESTIONS)
}

/// The question in wire form, with the identifier given, recursion desired.
pub fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(wire::name(name));
    message.extend(kind.to_be_bytes());
    message.extend(1_u16.to_be_bytes());
    message
}

/// Bytes as text: those in `special`, and what is not printable, as `\DDD`.
pub(crate) fn escape(bytes: &[u8], special: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let printable = byte.is_ascii_graphic() || *byte == b' ';
        if printable && !special.contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("\\{byte:03}"));
        }
    }
    text
}

/// The bytes of such a text.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'\\' {
            let (digits, tail) = rest.split_at_checked(3).context("short escape")?;
            bytes.push(core::str::from_utf8(digits)?.parse()?);
            rest = tail;
        } else {
            bytes.push(byte);
        }
    }
    Ok(bytes)
}
