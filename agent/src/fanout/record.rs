//! The value of a key: a record of the watches' journals, with its format and a checksum.

use crate::{
    model::ObjectKey,
    objects::Who,
    watch::{FORMAT, Record},
};
use std::io;

/// Why a value is none that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    /// Another version of this program wrote it.
    #[error("a record of format {0}")]
    Foreign(u8),
    /// It is damaged, or nothing that this program writes.
    #[error("a damaged record")]
    Corrupt,
}

/// Writes a value. It cannot fail for what records are made of.
pub(super) fn encode(record: &Record) -> io::Result<Vec<u8>> {
    let body = record.body()?;
    let mut value = Vec::with_capacity(body.len() + 5);
    value.push(FORMAT);
    value.extend(crc32fast::hash(&body).to_le_bytes());
    value.extend(body);
    Ok(value)
}

/// Reads a value.
pub(super) fn decode(value: &[u8]) -> Result<Record, Flaw> {
    let (format, rest) = value.split_first().ok_or(Flaw::Corrupt)?;
    if *format != FORMAT {
        return Err(Flaw::Foreign(*format));
    }
    let (sum, body) = rest.split_first_chunk().ok_or(Flaw::Corrupt)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return Err(Flaw::Corrupt);
    }
    Record::read(body).ok_or(Flaw::Corrupt)
}

/// What a record says of an object that is gone or cannot be read: who it is. It cannot fail for what
/// it is made of.
pub(super) fn who(object: &ObjectKey, version: Option<&str>) -> Vec<u8> {
    let (namespace, name) = match object {
        ObjectKey::Namespace(name) => (None, name.clone()),
        ObjectKey::Service(key) => (Some(key.namespace().to_owned()), key.service().to_owned()),
        ObjectKey::Slice { namespace, name } => (Some(namespace.clone()), name.clone()),
    };
    let who = Who {
        name: Some(name),
        namespace,
        resource_version: version.map(str::to_owned),
    };
    postcard::to_stdvec(&who).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::What;

    fn record() -> Record {
        Record {
            what: What::Delete,
            version: "17".to_owned(),
            object: b"who".to_vec(),
        }
    }

    #[test]
    fn records_are_read_as_they_are_written() {
        let value = encode(&record()).unwrap();
        assert_eq!(decode(&value), Ok(record()));
        assert_eq!(value.len(), 5 + 1 + 3 + 3, "nothing that need not be sent");
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let value = encode(&record()).unwrap();
        for bit in 0..value.len() * 8 {
            let mut wrong = value.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let flaw = decode(&wrong).unwrap_err();
            assert_eq!(matches!(flaw, Flaw::Foreign(_)), bit < 8, "bit {bit}");
        }
        for end in 0..value.len() {
            decode(&value[..end]).unwrap_err();
        }
    }
}
