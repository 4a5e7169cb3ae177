//! Two threads of a process find that their file was superseded: both map the next one, one of them
//! publishes its mapping and lays zeros over the old one, under the eyes of the other.

use super::{
    fails, holds_within,
    world::{ADDRESSES, File, KEY, NAME, NOW, WHOLE, World, assert_whole, finish, put_service},
};
use crate::{
    Address, Families, FileStatus, FilesystemStatus, Name, Os, Reader,
    sync::{AtomicU64, Ordering, Step, fence},
};
use core::{ffi::CStr, ptr::NonNull};
use std::sync::Arc;

#[test]
fn one_thread_alone_lets_go_of_a_superseded_file() {
    holds_within(2, "overlay", overlay);
}

#[test]
fn the_overlay_goes_wrong_without_each_step() {
    for step in [Step::Winner, Step::Recheck, Step::LastFence] {
        fails("overlay", step, overlay);
    }
}

/// Two threads that have the old file mapped ask once each, while the writer moves to the new one.
fn overlay() {
    let mut old = World::unread(File::new(0, WHOLE), WHOLE, |zone| put_service(zone, KEY, 1));
    let mut new = World::unread(File::new(1, WHOLE), WHOLE, |zone| put_service(zone, KEY, 2));
    old.open();
    new.open();
    let process = Arc::new(Process {
        files: [Arc::clone(&old.file), Arc::clone(&new.file)],
        current: AtomicU64::new(0),
        telling: old.telling(),
        overlaid: AtomicU64::new(0),
        discarded: AtomicU64::new(0),
        reader: Reader::new(),
    });
    process.ask();
    old.begin();
    new.begin();
    let readers = [(); 2].map(|()| {
        let process = Arc::clone(&process);
        old.reader(move |_| process.ask())
    });
    process.current.store(1, Ordering::SeqCst);
    old.supersede();
    finish(readers);
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    super::looking(|| {
        assert!(count(&process.overlaid) <= 1, "overlaid twice");
        assert!(count(&process.discarded) <= 1, "both lost");
    });
}

/// A process and its system calls.
struct Process {
    files: [Arc<File>; 2],
    /// Which of them is at the path.
    current: AtomicU64,
    /// The words of the old one that are overlaid.
    telling: [usize; 5],
    /// How often a mapping was overlaid.
    overlaid: AtomicU64,
    /// How often one was given back.
    discarded: AtomicU64,
    reader: Reader,
}

impl Process {
    /// The service is there, as in one of the files.
    fn ask(&self) {
        let mut room = [Address::UNSPECIFIED; ADDRESSES];
        let mut canonical = Name::EMPTY;
        let found = self.reader.read(self, c"/zone.v1", NOW, |snapshot| {
            snapshot.addresses(NAME, Families::BOTH, &mut room, &mut canonical)
        });
        assert_whole(found.expect("one of the files"), &room);
    }

    fn file(&self, start: NonNull<u8>) -> &File {
        let start = start.as_ptr().addr();
        let mut files = self.files.iter();
        files
            .find(|file| file.words().address() == start)
            .expect("a file's start")
    }
}

// SAFETY: `map` returns the words of a file, which this value keeps.
unsafe impl Os for Process {
    fn open(&self, _path: &CStr) -> Result<i32, i32> {
        // What the kernel tells is no older than what the process has seen.
        fence(Ordering::SeqCst);
        Ok(self.current.load(Ordering::SeqCst) as i32)
    }

    fn close(&self, _descriptor: i32) {}

    fn status(&self, descriptor: i32) -> Result<FileStatus, i32> {
        Ok(FileStatus {
            device: 1,
            inode: descriptor as u64 + 1,
            mode: 0o100_444,
            uid: 0,
            size: (WHOLE * 8) as u64,
        })
    }

    fn filesystem(&self, _descriptor: i32) -> Result<FilesystemStatus, i32> {
        Ok(FilesystemStatus {
            magic: 0x0102_1994,
            read_only: false,
        })
    }

    fn map(&self, descriptor: i32, _length: usize) -> Result<NonNull<u8>, i32> {
        let start = self.files[descriptor as usize].words().address();
        NonNull::new(core::ptr::with_exposed_provenance_mut(start)).ok_or(1)
    }

    unsafe fn unmap(&self, _start: NonNull<u8>, _length: usize) {
        count(&self.discarded);
    }

    unsafe fn overlay_zeros(&self, start: NonNull<u8>, _length: usize) -> Result<(), i32> {
        count(&self.overlaid);
        fence(Ordering::SeqCst);
        self.file(start).overlay(&self.telling);
        Ok(())
    }

    unsafe fn populate(&self, _start: NonNull<u8>, _length: usize) -> Result<(), i32> {
        Err(14)
    }

    fn effective_uid(&self) -> u32 {
        0
    }

    fn secure(&self) -> bool {
        false
    }

    fn address_space_is_limited(&self) -> bool {
        false
    }
}

/// One more.
fn count(counter: &AtomicU64) {
    loop {
        let old = counter.load(Ordering::SeqCst);
        let counted = counter.compare_exchange(old, old + 1, Ordering::SeqCst, Ordering::SeqCst);
        if counted.is_ok() {
            return;
        }
    }
}
