//! What the fuzz targets need from inside. Not part of the interface.

use super::{
    decode::{self, Decoded, Kind, Line},
    journal::{Journal, What},
};
use serde_json::value::RawValue;
use std::{fs, path::Path};

/// Every kind of objects.
const KINDS: [Kind; 3] = [decode::NAMESPACE, decode::SERVICE, decode::SLICE];
/// Whose journals are read here.
const IDENTITY: &str = "x";

/// Decodes a line of a watch, and its object as every kind.
pub fn line(text: &str) {
    if let Ok(Line::Apply(object) | Line::Delete(object)) = decode::line(text) {
        objects(object);
    }
}

/// Decodes a page of a list, and its objects as every kind.
pub fn page(text: &[u8]) {
    if let Ok(page) = decode::page(text) {
        page.items.unwrap_or_default().into_iter().for_each(objects);
    }
}

/// Restores a journal of one file, whose header is right. In odd files each record gets its length (its first
/// byte) and its checksum; others are taken as they are.
pub fn journal(directory: &Path, bytes: &[u8]) {
    let mut file = b"nssk8sw\x01\x01\x01\0\0\0x".to_vec();
    file.extend(crc32fast::hash(IDENTITY.as_bytes()).to_le_bytes());
    match bytes.split_first() {
        Some((first, mut rest)) if first & 1 == 1 => {
            while let Some((length, more)) = rest.split_first() {
                let (body, more) = more.split_at(more.len().min(usize::from(*length)));
                file.extend((body.len() as u32).to_le_bytes());
                file.extend(crc32fast::hash(body).to_le_bytes());
                file.extend(body);
                rest = more;
            }
        }
        _ => file.extend(bytes),
    }
    let _ = fs::write(directory.join("0000000000000001"), file);
    let mut journal = Journal::new(directory.to_owned(), IDENTITY.to_owned());
    let Some(mut kept) = journal.restore() else {
        return;
    };
    while let Ok(Some(record)) = kept.next() {
        for kind in KINDS {
            let _ = (kind.restore)(record.what, &record.object);
        }
    }
}

fn objects(text: &RawValue) {
    for kind in KINDS {
        let Decoded { parsed, kept, .. } = (kind.decode)(text);
        let (what, bytes) = kept;
        let restored = (kind.restore)(what, &bytes);
        if what == What::Apply {
            assert_eq!(restored.as_ref(), Some(&parsed));
        }
        assert!(restored.is_some(), "what was kept cannot be read");
    }
}
