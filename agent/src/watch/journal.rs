//! What a watch has been told, kept beside the zone, so that the agent that comes after this one goes
//! on where this one stopped instead of listing everything again.
//!
//! ```text
//!   list complete --> 5 (begins anew) -- events --> 5, full --> 6 --> 7
//!                                                   \_____ compacted _/  6 (begins anew), 7
//! ```
//!
//! Every event is written before the model is told of it: what is kept is never older than the
//! zone. A journal that is damaged, of another cluster or selector, or old is not used; one that cannot
//! be written is removed. In both cases a list is all that it costs.

mod compaction;
mod segment;

pub(crate) use segment::{FORMAT, Record, What};

use compaction::compacted;
use segment::Reader;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::task::JoinHandle;

/// Servers remember some five minutes of events: an older journal would be refused, or belongs to a
/// cluster whose storage may have been restored meanwhile.
const OLDEST: Duration = Duration::from_secs(600);

/// A journal is compacted when it is twice as long as what it was made of, and so much more.
const SLACK: u64 = 1 << 20;

/// Of a list, so much is written at once.
const CHUNK: usize = 64 << 10;

/// The list that is being written.
const LISTING: &str = "listing";

/// The journal of one watch.
pub(crate) struct Journal {
    directory: PathBuf,
    /// Server, resource and selector.
    identity: String,
    /// Where to append; `None`: nothing is kept until the next list is complete.
    file: Option<File>,
    /// The number of that file.
    number: u64,
    listing: bool,
    buffer: Vec<u8>,
    /// What has been written since the last list or compaction, and what that was.
    bytes: u64,
    base: u64,
    compaction: Option<JoinHandle<io::Result<u64>>>,
}

/// What a journal holds: everything that a watch knew.
pub(crate) struct Kept {
    segments: Vec<PathBuf>,
    identity: String,
    open: Option<Reader>,
    /// The version up to which it is complete.
    pub(crate) version: String,
}

impl Journal {
    /// Below a directory; nothing is read or written yet.
    pub(crate) fn new(directory: PathBuf, identity: String) -> Self {
        Self {
            directory,
            identity,
            file: None,
            number: 0,
            listing: false,
            buffer: Vec::new(),
            bytes: 0,
            base: 0,
            compaction: None,
        }
    }

    /// What an earlier agent left, if it can be gone on from; then it is written to from now on.
    pub(crate) fn restore(&mut self) -> Option<Kept> {
        match self.open() {
            Ok(kept) => Some(kept),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    let path = self.directory.display();
                    tracing::info!(%path, %error, "no watch to go on with");
                }
                None
            }
        }
    }

    /// A list begins: until it is complete, there is nothing to go on from.
    pub(crate) fn begin(&mut self) {
        self.attempt(Self::try_begin);
    }

    /// Keeps a record.
    pub(crate) fn record(&mut self, record: &Record) {
        self.attempt(|this| {
            if this.file.is_none() {
                return Ok(());
            }
            record.write(&mut this.buffer)?;
            if this.listing && this.buffer.len() < CHUNK {
                return Ok(());
            }
            this.flush()?;
            match this.listing {
                true => Ok(()),
                false => this.compact(),
            }
        });
    }

    /// The list is complete as of a version: it takes the place of all that was kept.
    pub(crate) fn complete(&mut self, version: &str) {
        let version = version.to_owned();
        self.attempt(|this| this.try_complete(version));
    }

    fn open(&mut self) -> io::Result<Kept> {
        let segments = segments(&self.directory)?;
        let last = segments.last().ok_or(io::ErrorKind::NotFound)?;
        let age = fs::metadata(&last.1)?.modified()?;
        // A clock that was set back is no reason.
        let age = SystemTime::now().duration_since(age).unwrap_or_default();
        if age > OLDEST {
            return Err(io::Error::other("it is old"));
        }
        let mut bytes = 0;
        let mut kept = Kept {
            segments: Vec::new(),
            identity: self.identity.clone(),
            open: None,
            version: String::new(),
        };
        let mut expected = None;
        for (number, path) in &segments {
            let reader = Reader::open(path, &self.identity)?;
            let reader = reader.ok_or_else(|| io::Error::other("it is of something else"))?;
            if reader.anew {
                kept.segments.clear();
                bytes = 0;
            } else if expected != Some(*number) {
                return Err(io::Error::other("a part of it is missing"));
            }
            expected = number.checked_add(1);
            kept.segments.push(path.clone());
            bytes += fs::metadata(path)?.len();
        }
        // All of it is checked before any of it is told.
        let segments = kept.segments.clone();
        while let Some(record) = kept.next()? {
            if !record.version.is_empty() {
                kept.version = record.version;
            }
        }
        if kept.version.is_empty() {
            return Err(io::Error::other("it says no version"));
        }
        kept.segments = segments;
        self.file = Some(OpenOptions::new().append(true).open(&last.1)?);
        self.number = last.0;
        (self.bytes, self.base) = (0, bytes);
        Ok(kept)
    }

    fn try_begin(&mut self) -> io::Result<()> {
        self.listing = true;
        self.buffer.clear();
        self.file = None;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        if !has_room(&self.directory)? {
            return Err(io::Error::other("the file system has little room left"));
        }
        self.void()?;
        self.bytes = 0;
        self.file = Some(create(&self.directory.join(LISTING))?);
        segment::header(&mut self.buffer, true, &self.identity)
    }

    /// What is kept counts no more: the model is told newer things than that from now on. The file that
    /// says so stands behind whatever a compaction may still put in place.
    fn void(&mut self) -> io::Result<()> {
        let before = segments(&self.directory)?;
        let Some((last, _)) = before.last() else {
            return Ok(());
        };
        self.compaction = None;
        self.number = self.number.max(*last) + 1;
        let mut start = Vec::new();
        segment::header(&mut start, true, &self.identity)?;
        create(&segment_path(&self.directory, self.number))?.write_all(&start)?;
        remove(before.iter().map(|(_, path)| path))
    }

    fn try_complete(&mut self, version: String) -> io::Result<()> {
        self.listing = false;
        if self.file.is_none() {
            return Ok(());
        }
        let end = Record {
            what: What::Moved,
            version,
            object: Vec::new(),
        };
        end.write(&mut self.buffer)?;
        self.flush()?;
        // A compaction that is under way would put the past back.
        self.compaction = None;
        let before = segments(&self.directory)?;
        let last = before.last().map_or(self.number, |(number, _)| *number);
        self.number = last.max(self.number) + 1;
        let path = segment_path(&self.directory, self.number);
        fs::rename(self.directory.join(LISTING), path)?;
        remove(before.iter().map(|(_, path)| path))?;
        (self.base, self.bytes) = (self.bytes, 0);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(&self.buffer)?;
            self.bytes += self.buffer.len() as u64;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Compacts what is closed when there is too much of it; events go to the next file meanwhile.
    fn compact(&mut self) -> io::Result<()> {
        if let Some(running) = self.compaction.take_if(|running| running.is_finished()) {
            use futures::FutureExt;
            match running.now_or_never() {
                Some(Ok(Ok(bytes))) => self.base = bytes,
                Some(Ok(Err(error))) => return Err(error),
                Some(Err(_)) | None => return Err(io::Error::other("compaction failed")),
            }
        }
        if self.compaction.is_some() || self.bytes <= self.base + SLACK {
            return Ok(());
        }
        if !has_room(&self.directory)? {
            return Err(io::Error::other("the file system has little room left"));
        }
        let full = self.number;
        self.number += 1;
        let mut file = create(&segment_path(&self.directory, self.number))?;
        let mut start = Vec::new();
        segment::header(&mut start, false, &self.identity)?;
        file.write_all(&start)?;
        self.file = Some(file);
        self.bytes = 0;
        let (directory, identity) = (self.directory.clone(), self.identity.clone());
        let work = move || compacted(&directory, &identity, full);
        self.compaction = Some(tokio::task::spawn_blocking(work));
        Ok(())
    }

    /// Does something; when it fails, nothing is kept until the next list.
    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) {
        let Err(error) = work(self) else { return };
        let path = self.directory.display();
        tracing::warn!(%path, %error, "the watch is not kept: the next agent will list");
        self.file = None;
        self.buffer.clear();
        self.compaction = None;
        // Nothing that is wrong, and no room taken. What cannot be removed is found damaged or old.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Kept {
    /// The next record, in the order in which they were written; later ones of an object count.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            if let Some(open) = &mut self.open
                && let Some(record) = open.next()?
            {
                return Ok(Some(record));
            }
            if self.segments.is_empty() {
                return Ok(None);
            }
            let path = self.segments.remove(0);
            self.open = Reader::open(&path, &self.identity)?;
        }
    }
}

/// The files of a directory by their numbers.
fn segments(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().filter(|name| name.len() == 16);
        if let Some(number) = number.and_then(|name| u64::from_str_radix(name, 16).ok()) {
            all.push((number, entry.path()));
        }
    }
    all.sort_unstable();
    Ok(all)
}

fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}"))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(path)
}

fn remove<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> io::Result<()> {
    for path in paths {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Whether a quarter of the file system is free: the zone comes first.
fn has_room(directory: &Path) -> io::Result<bool> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail >= found.f_blocks / 4)
}

#[cfg(test)]
mod tests;
