//! Compaction: of each object that is there, the record that counts.

use super::{
    CHUNK, create, remove,
    segment::{self, Reader, Record, What},
    segment_path, segments,
};
use crate::objects::Who;
use std::{
    collections::HashMap,
    fs,
    hash::{BuildHasher, RandomState},
    io::{self, Write},
    path::Path,
};

/// Rewrites the files up to `full` as one that begins anew, in the place of `full`; its length.
pub(super) fn compacted(directory: &Path, identity: &str, full: u64) -> io::Result<u64> {
    let all: Vec<_> = segments(directory)?
        .into_iter()
        .filter(|(number, _)| *number <= full)
        .collect();
    // First where the record is that counts of each object that is there; then those records.
    let mut last: HashMap<u128, u64> = HashMap::new();
    let mut version = String::new();
    let mut place = 0_u64;
    let read = |each: &mut dyn FnMut(Record) -> io::Result<()>| -> io::Result<()> {
        for (_, path) in &all {
            let reader = Reader::open(path, identity)?;
            let mut reader = reader.ok_or_else(|| io::Error::other("it is of something else"))?;
            while let Some(record) = reader.next()? {
                each(record)?;
            }
        }
        Ok(())
    };
    let keys = [RandomState::new(), RandomState::new()];
    let key = |who: &Who| {
        let [high, low] = keys
            .each_ref()
            .map(|keys| keys.hash_one((&who.namespace, &who.name)));
        u128::from(high) << 64 | u128::from(low)
    };
    read(&mut |record| {
        place += 1;
        if let Some(who) = record.who() {
            match record.what {
                What::Delete => {
                    last.remove(&key(&who));
                }
                // What was known of it stays.
                What::Unreadable => {
                    last.entry(key(&who)).or_insert(place);
                }
                What::Apply | What::Moved => {
                    last.insert(key(&who), place);
                }
            }
        }
        if !record.version.is_empty() {
            version = record.version;
        }
        Ok(())
    })?;
    let temporary = directory.join("compacting");
    let mut file = create(&temporary)?;
    let (mut buffer, mut bytes) = (Vec::new(), 0);
    segment::header(&mut buffer, true, identity)?;
    place = 0;
    read(&mut |mut record| {
        place += 1;
        let counts = record
            .who()
            .is_some_and(|who| last.get(&key(&who)) == Some(&place));
        if counts {
            record.version.clear();
            record.write(&mut buffer)?;
            if buffer.len() >= CHUNK {
                bytes += buffer.len() as u64;
                file.write_all(&buffer)?;
                buffer.clear();
            }
        }
        Ok(())
    })?;
    let end = Record {
        what: What::Moved,
        version,
        object: Vec::new(),
    };
    end.write(&mut buffer)?;
    file.write_all(&buffer)?;
    bytes += buffer.len() as u64;
    fs::rename(&temporary, segment_path(directory, full))?;
    let before = all.iter().filter(|(number, _)| *number < full);
    remove(before.map(|(_, path)| path))?;
    Ok(bytes)
}
