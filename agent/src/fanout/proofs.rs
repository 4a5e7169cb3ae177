//! What the fuzz targets need from inside. Not part of the interface.

use super::{
    key::{self, Key},
    record::{self, Flaw},
    state::State,
};
use crate::watch;

/// Reads a key; what is one is written alike.
pub fn key(text: &str) {
    if let Some(key) = Key::parse(text) {
        assert_eq!(key.to_string(), text);
    }
}

/// Reads a state record; what is one is written and read alike.
pub fn state(bytes: &[u8]) {
    if let Ok(state) = State::parse(bytes) {
        assert_eq!(State::parse(&state.to_bytes()).as_ref(), Ok(&state));
        let _ = state.fits(key::ALL.map(|source| (source, None)));
        let _ = state.beat();
    }
}

/// Reads a record of every kind, as it is and with the checksum that it should have.
pub fn record(bytes: &[u8]) {
    let mut right = bytes.to_vec();
    if let Some((_, rest)) = right.split_first_mut()
        && let Some((sum, body)) = rest.split_first_chunk_mut()
    {
        *sum = crc32fast::hash(body).to_le_bytes();
    }
    for value in [bytes, &right] {
        match record::decode(value) {
            Ok(record) => {
                for source in key::ALL {
                    let _ = watch::restore(source, record.what, &record.object);
                }
                let again = record::encode(&record).expect("what was read can be written");
                assert_eq!(record::decode(&again), Ok(record));
            }
            Err(Flaw::Foreign(_) | Flaw::Corrupt) => {}
        }
    }
}
