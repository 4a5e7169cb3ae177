//! Questions to a zone, and answers that compare.

use nss_k8s_zone::{Address, Families, Found, Name, Now, Os, Reader, Unavailable};

/// When the questions are asked: the writers of these tests beat at this time.
pub(crate) const NOW: Now = Now(1_700_000_000);

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// A and AAAA, from one version of the record.
    Addresses(String),
    /// PTR.
    Names(Address),
}

/// All that the asker learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The reader's verdict on the zone.
    Unavailable(Unavailable),
    /// The verdict on the name, with the data in an order of their own.
    Found(Found, Vec<Address>, Vec<Vec<u8>>, Vec<u8>),
}

impl Told {
    /// Neither data nor a denial: the process asks DNS as it would without us.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Found(found, ..) => matches!(found, Found::Ask(_) | Found::Unavailable(_)),
        }
    }

    /// The name is denied.
    pub(crate) fn denies(&self) -> bool {
        matches!(self, Self::Found(Found::NxDomain | Found::NoData, ..))
    }
}

/// Asks `question` at [`NOW`].
pub(crate) fn ask(os: &impl Os, reader: &Reader, question: &Question) -> Told {
    ask_at(os, reader, question, NOW)
}

/// Asks `question` with room for 1,024 addresses or 64 names.
pub(crate) fn ask_at(os: &impl Os, reader: &Reader, question: &Question, now: Now) -> Told {
    let mut addresses = vec![Address::UNSPECIFIED; 1024];
    let mut names = vec![Name::EMPTY; 64];
    let mut canonical = Name::EMPTY;
    let found = reader.read(os, c"/zone.v1", now, |zone| match question {
        Question::Addresses(name) => zone.addresses(
            name.as_bytes(),
            Families::BOTH,
            &mut addresses,
            &mut canonical,
        ),
        Question::Names(address) => zone.names(address, &mut names),
    });
    let found = match found {
        Ok(found) => found,
        Err(why) => return Told::Unavailable(why),
    };
    let count = match found {
        Found::Answer { count } => count,
        _ => 0,
    };
    let (mut addresses, mut names) = match question {
        Question::Addresses(_) => (addresses[..count].to_vec(), Vec::new()),
        Question::Names(_) => (
            Vec::new(),
            names[..count]
                .iter()
                .map(|name| name.as_bytes().to_vec())
                .collect(),
        ),
    };
    addresses.sort_unstable();
    names.sort_unstable();
    // Only these two give the canonical name a meaning beside an answer.
    let canonical = match found {
        Found::Answer { .. } | Found::NoData | Found::Chase => canonical.as_bytes().to_vec(),
        _ => Vec::new(),
    };
    Told::Found(found, addresses, names, canonical)
}
