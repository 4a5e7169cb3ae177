//! Processes, writers and calls of the tests beside.

use nss_k8s_zone::{
    Address, Families, Found, LibcOs, Name, Now, Options, Os, Reader, ServiceBody, ServiceKey,
    Unavailable, Writer,
};
use std::{
    cell::Cell,
    ffi::{CStr, CString},
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    path::Path,
    ptr::{NonNull, null_mut},
};

/// When the writers beat, and the processes ask.
pub(crate) const NOW: Now = Now(1_700_000_000);

/// A process.
pub(crate) struct Process<O> {
    pub(crate) os: O,
    reader: Reader,
    path: CString,
}

impl<O: Os> Process<O> {
    /// One that has just started.
    pub(crate) fn new(os: O, path: &Path) -> Self {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("a path");
        Self {
            os,
            reader: Reader::new(),
            path,
        }
    }

    /// A and AAAA.
    pub(crate) fn ask(&self, name: &str) -> Result<Found, Unavailable> {
        let mut room = [Address::UNSPECIFIED; 4];
        let mut canonical = Name::EMPTY;
        self.reader.read(&self.os, &self.path, NOW, |zone| {
            zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical)
        })
    }
}

/// A kernel that cannot populate.
#[derive(Default)]
pub(crate) struct Before514 {
    /// Files opened.
    pub(crate) opens: Cell<u32>,
    /// Attempts to populate.
    pub(crate) populated: Cell<u32>,
}

/// A process whose address space is limited, as far as it knows.
pub(crate) struct Limited;

// SAFETY: as LibcOs.
unsafe impl Os for Before514 {
    through_libc!(close status filesystem map unmap overlay_zeros effective_uid secure);

    fn open(&self, path: &CStr) -> Result<i32, i32> {
        self.opens.set(self.opens.get() + 1);
        LibcOs.open(path)
    }

    unsafe fn populate(&self, _: NonNull<u8>, _: usize) -> Result<(), i32> {
        self.populated.set(self.populated.get() + 1);
        Err(libc::EINVAL)
    }

    fn address_space_is_limited(&self) -> bool {
        false
    }
}

// SAFETY: as LibcOs.
unsafe impl Os for Limited {
    through_libc!(open close status filesystem map unmap overlay_zeros populate effective_uid secure);

    fn address_space_is_limited(&self) -> bool {
        true
    }
}

/// A live zone with one service, in a directory of its own.
pub(crate) fn shop() -> (tempfile::TempDir, Writer) {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let writer = shop_in(directory.path());
    (directory, writer)
}

/// A live zone with one service.
pub(crate) fn shop_in(directory: &Path) -> Writer {
    let options = Options {
        initial_bytes: 1,
        ..Options::new(directory, "cluster.local")
    };
    let (mut writer, _) = Writer::open(options).unwrap();
    writer.put_namespace("shop").unwrap();
    put(&mut writer, "api");
    writer.beat(NOW);
    writer.set_synced(NOW);
    writer
}

/// Publishes a service.
pub(crate) fn put(writer: &mut Writer, name: &str) {
    let body = ServiceBody::ClusterIp {
        addresses: vec![Address::v4([10, 96, 0, 1])],
        ports: vec![],
    };
    let key = ServiceKey::new(name, "shop").unwrap();
    writer.put_service(&key, &body).unwrap();
}

/// Adds services until the file and its index have grown; the name of the last, whose record is in
/// the new part.
pub(crate) fn grow(writer: &mut Writer) -> String {
    let before = writer.statistics();
    let mut number = 0;
    loop {
        number += 1;
        put(writer, &format!("service-{number}"));
        let now = writer.statistics();
        if now.used_bytes >= before.bytes * 2 && now.main_lines > before.main_lines {
            return format!("service-{number}.shop.svc.cluster.local");
        }
    }
}

/// The process goes on as without us.
pub(crate) fn passes(found: Result<Found, Unavailable>) -> bool {
    !matches!(
        found,
        Ok(Found::Answer { .. } | Found::NoData | Found::NxDomain)
    )
}

/// The sizes of this process's mappings of a file.
pub(crate) fn mapped(path: &Path) -> Vec<usize> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let of_it = maps
        .lines()
        .filter(|line| line.ends_with(path.to_str().unwrap()) && line.contains(" r--s "));
    of_it
        .map(|line| {
            let (range, _) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            number(end) - number(start)
        })
        .collect()
}

/// A file's size.
pub(crate) fn size(path: &Path) -> usize {
    usize::try_from(fs::metadata(path).unwrap().len()).unwrap()
}

/// `posix_fallocate` from the start.
pub(crate) fn allocate(file: &File, bytes: usize) -> io::Result<()> {
    let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: an open descriptor.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// A shared mapping that is never given back.
pub(crate) fn map(file: &File, access: i32, length: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a fresh mapping, placed by the kernel.
    let start = unsafe {
        let descriptor = file.as_raw_fd();
        libc::mmap(null_mut(), length, access, libc::MAP_SHARED, descriptor, 0)
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))
}

/// What a call returned.
pub(crate) fn outcome(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// That a call failed, and how.
pub(crate) fn expect(what: &str, result: io::Result<()>, error: i32) -> Result<(), String> {
    let got = result.err().and_then(|error| error.raw_os_error());
    check(got == Some(error), &format!("{what}: {got:?}, not {error}"))
}

/// A fact.
pub(crate) fn check(holds: bool, otherwise: &str) -> Result<(), String> {
    holds.then_some(()).ok_or_else(|| otherwise.to_owned())
}
