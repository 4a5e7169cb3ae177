//! Raw system calls. Errors are errno values, `errno` itself stays untouched.
//!
//! Only calls that libc's own resolver makes too are on the warm path of anything, so that a
//! sandbox that admits libc admits us.

use super::socket::SocketAddress;
use core::ffi::CStr;
use core::ptr::NonNull;

/// A system call's number on this architecture.
#[derive(Clone, Copy)]
struct Number(usize);

#[cfg(target_arch = "x86_64")]
mod number {
    //! Linux x86_64 (arch/x86/entry/syscalls/syscall_64.tbl).
    use super::Number;
    pub(super) const READ: Number = Number(0);
    pub(super) const WRITE: Number = Number(1);
    pub(super) const CLOSE: Number = Number(3);
    pub(super) const POLL: Number = Number(7);
    pub(super) const MMAP: Number = Number(9);
    pub(super) const MUNMAP: Number = Number(11);
    pub(super) const MADVISE: Number = Number(28);
    pub(super) const GETPID: Number = Number(39);
    pub(super) const SOCKET: Number = Number(41);
    pub(super) const CONNECT: Number = Number(42);
    pub(super) const SENDTO: Number = Number(44);
    pub(super) const RECVFROM: Number = Number(45);
    pub(super) const GETSOCKNAME: Number = Number(51);
    pub(super) const UNAME: Number = Number(63);
    pub(super) const GETEUID: Number = Number(107);
    pub(super) const FSTATFS: Number = Number(138);
    pub(super) const NEWFSTATAT: Number = Number(262);
    pub(super) const CLOCK_GETTIME: Number = Number(228);
    pub(super) const OPENAT: Number = Number(257);
    pub(super) const PRLIMIT64: Number = Number(302);
}

#[cfg(target_arch = "aarch64")]
mod number {
    //! Linux aarch64 (include/uapi/asm-generic/unistd.h).
    use super::Number;
    pub(super) const FSTATFS: Number = Number(44);
    pub(super) const OPENAT: Number = Number(56);
    pub(super) const CLOSE: Number = Number(57);
    pub(super) const READ: Number = Number(63);
    pub(super) const WRITE: Number = Number(64);
    /// There is no `poll`; libcs call this, too.
    pub(super) const PPOLL: Number = Number(73);
    pub(super) const NEWFSTATAT: Number = Number(79);
    pub(super) const CLOCK_GETTIME: Number = Number(113);
    pub(super) const UNAME: Number = Number(160);
    pub(super) const GETPID: Number = Number(172);
    pub(super) const GETEUID: Number = Number(175);
    pub(super) const SOCKET: Number = Number(198);
    pub(super) const CONNECT: Number = Number(203);
    pub(super) const GETSOCKNAME: Number = Number(204);
    pub(super) const SENDTO: Number = Number(206);
    pub(super) const RECVFROM: Number = Number(207);
    pub(super) const MUNMAP: Number = Number(215);
    pub(super) const MMAP: Number = Number(222);
    pub(super) const MADVISE: Number = Number(233);
    pub(super) const PRLIMIT64: Number = Number(261);
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("nss-k8s has system calls for x86_64 and aarch64 only");

/// A descriptor that is closed when it goes out of scope.
pub(super) struct Descriptor(i32);

impl Descriptor {
    /// The number, for calls that take it.
    pub(super) const fn raw(&self) -> i32 {
        self.0
    }

    /// Gives up ownership: somebody else closes it.
    pub(super) const fn into_raw(self) -> i32 {
        let raw = self.0;
        core::mem::forget(self);
        raw
    }

    /// Takes ownership of a number that [`Descriptor::into_raw`] gave away.
    pub(super) const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: closing a descriptor that this value owns touches no memory.
        let _ = unsafe { system_call(number::CLOSE, [from_int(self.0), 0, 0, 0, 0, 0]) };
    }
}

/// `openat(AT_FDCWD, path, flags)`; retried when interrupted.
pub(super) fn open(path: &CStr, flags: i32) -> Result<Descriptor, i32> {
    let arguments = [
        from_int(libc::AT_FDCWD),
        path.as_ptr().addr(),
        from_int(flags),
        0,
        0,
        0,
    ];
    loop {
        // SAFETY: the kernel reads a NUL-terminated string that outlives the call.
        match unsafe { system_call(number::OPENAT, arguments) } {
            Err(libc::EINTR) => {}
            other => return other.map(|raw| Descriptor(to_int(raw))),
        }
    }
}

/// `read`; retried when interrupted.
pub(super) fn read(descriptor: &Descriptor, room: &mut [u8]) -> Result<usize, i32> {
    let arguments = [
        from_int(descriptor.0),
        room.as_mut_ptr().addr(),
        room.len(),
        0,
        0,
        0,
    ];
    loop {
        // SAFETY: the kernel writes at most `room.len()` bytes into an exclusive slice.
        match unsafe { system_call(number::READ, arguments) } {
            Err(libc::EINTR) => {}
            other => return other,
        }
    }
}

/// `write`, once; the result does not matter.
pub(super) fn write(descriptor: i32, bytes: &[u8]) {
    let arguments = [
        from_int(descriptor),
        bytes.as_ptr().addr(),
        bytes.len(),
        0,
        0,
        0,
    ];
    // SAFETY: the kernel reads a slice that outlives the call.
    let _ = unsafe { system_call(number::WRITE, arguments) };
}

/// `fstat`, as glibc asks it since 2.33: a sandbox that admits libc's admits ours.
pub(super) fn status(descriptor: i32) -> Result<libc::stat, i32> {
    // SAFETY: `stat` is plain old data, for which zeros are a value.
    let mut status: libc::stat = unsafe { core::mem::zeroed() };
    let (empty, target) = (c"".as_ptr().addr(), (&raw mut status).addr());
    let flags = from_int(libc::AT_EMPTY_PATH);
    let arguments = [from_int(descriptor), empty, target, flags, 0, 0];
    // SAFETY: the kernel reads a NUL-terminated string and fills the struct, whose layout is its
    // own on both architectures.
    unsafe { system_call(number::NEWFSTATAT, arguments) }?;
    Ok(status)
}

/// `stat`: symbolic links are followed.
pub(super) fn status_of(path: &CStr) -> Result<libc::stat, i32> {
    // SAFETY: `stat` is plain old data, for which zeros are a value.
    let mut status: libc::stat = unsafe { core::mem::zeroed() };
    let target = (&raw mut status).addr();
    let path = path.as_ptr().addr();
    let arguments = [from_int(libc::AT_FDCWD), path, target, 0, 0, 0];
    // SAFETY: the kernel reads a NUL-terminated string and fills the struct.
    unsafe { system_call(number::NEWFSTATAT, arguments) }?;
    Ok(status)
}

/// `struct statfs` as the kernel has it (uapi/asm-generic/statfs.h, x86_64 and aarch64 alike): 15
/// words, of which two are asked for here.
pub(super) struct Filesystem {
    /// `f_type`.
    pub(super) magic: u64,
    /// `f_flags`: ST_RDONLY and others.
    pub(super) flags: u64,
}

/// `fstatfs`.
pub(super) fn filesystem(descriptor: i32) -> Result<Filesystem, i32> {
    let mut words = [0_u64; 15];
    let target = (&raw mut words).addr();
    // SAFETY: the kernel fills 15 words.
    unsafe { system_call(number::FSTATFS, [from_int(descriptor), target, 0, 0, 0, 0]) }?;
    let [magic, _, _, _, _, _, _, _, _, _, flags, ..] = words;
    Ok(Filesystem { magic, flags })
}

/// `mmap` where the kernel chooses the place (never at 0), offset 0.
pub(super) fn map(
    length: usize,
    protection: i32,
    flags: i32,
    descriptor: i32,
) -> Result<NonNull<u8>, i32> {
    let arguments = [
        0,
        length,
        from_int(protection),
        from_int(flags),
        from_int(descriptor),
        0,
    ];
    // SAFETY: without MAP_FIXED no mapping that exists is touched; callers pass none.
    let start = unsafe { system_call(number::MMAP, arguments) }?;
    NonNull::new(core::ptr::with_exposed_provenance_mut(start)).ok_or(libc::ENOMEM)
}

/// `mmap(MAP_FIXED|MAP_PRIVATE|MAP_ANONYMOUS, PROT_READ)`.
///
/// # Safety
/// The range is one mapping that the caller owns, and nobody relies on its bytes.
pub(super) unsafe fn overlay_zeros(start: NonNull<u8>, length: usize) -> Result<(), i32> {
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let arguments = [
        start.as_ptr().expose_provenance(),
        length,
        from_int(libc::PROT_READ),
        from_int(flags),
        from_int(-1),
        0,
    ];
    // SAFETY: the caller owns the range.
    unsafe { system_call(number::MMAP, arguments) }.map(|_| ())
}

/// `munmap`.
///
/// # Safety
/// The caller owns the range and nobody uses it any more.
pub(super) unsafe fn unmap(start: NonNull<u8>, length: usize) {
    let arguments = [start.as_ptr().expose_provenance(), length, 0, 0, 0, 0];
    // SAFETY: the caller's contract.
    let _ = unsafe { system_call(number::MUNMAP, arguments) };
}

/// `madvise` with advice that changes no byte of the range.
pub(super) fn advise(start: NonNull<u8>, length: usize, advice: i32) -> Result<(), i32> {
    let arguments = [
        start.as_ptr().expose_provenance(),
        length,
        from_int(advice),
        0,
        0,
        0,
    ];
    // SAFETY: the only advice passed is MADV_POPULATE_READ, which changes no byte.
    unsafe { system_call(number::MADVISE, arguments) }.map(|_| ())
}

/// `geteuid`, which cannot fail.
pub(super) fn effective_uid() -> u32 {
    // SAFETY: touches no memory.
    let uid = unsafe { system_call(number::GETEUID, [0; 6]) };
    uid.map_or(u32::MAX, |uid| u32::try_from(uid).unwrap_or(u32::MAX))
}

/// `getpid`; 0 when it fails, which it does not.
pub(super) fn process_number() -> u64 {
    // SAFETY: touches no memory.
    let number = unsafe { system_call(number::GETPID, [0; 6]) };
    number.map_or(0, |number| number as u64)
}

/// `prlimit64(0, resource, NULL, ..)`: the soft limit.
pub(super) fn soft_limit(resource: u32) -> Result<u64, i32> {
    let mut limit = [u64::MAX; 2];
    let resource = usize::try_from(resource).map_err(|_| libc::EINVAL)?;
    let arguments = [0, resource, 0, (&raw mut limit).addr(), 0, 0];
    // SAFETY: the kernel writes two 64-bit words into an array of that size.
    unsafe { system_call(number::PRLIMIT64, arguments) }?;
    let [soft, _] = limit;
    Ok(soft)
}

/// `uname`'s nodename; `room` is left empty (a NUL at its start) when the call fails.
pub(super) fn node_name(room: &mut [u8; 65]) {
    // struct new_utsname: six fields of 65 bytes, nodename the second (uapi/linux/utsname.h).
    let mut fields = [[0_u8; 65]; 6];
    // SAFETY: the kernel writes 390 bytes into an array of that size.
    let done = unsafe { system_call(number::UNAME, [(&raw mut fields).addr(), 0, 0, 0, 0, 0]) };
    let [_, node, ..] = fields;
    *room = if done.is_ok() { node } else { [0; 65] };
}

/// `clock_gettime`, for hosts without the function.
pub(super) fn clock(clock: i32) -> Result<libc::timespec, i32> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let target = (&raw mut time).addr();
    // SAFETY: the kernel fills the struct.
    unsafe { system_call(number::CLOCK_GETTIME, [from_int(clock), target, 0, 0, 0, 0]) }?;
    Ok(time)
}

/// `socket`.
pub(super) fn socket(domain: i32, kind: i32, protocol: i32) -> Result<Descriptor, i32> {
    let arguments = [
        from_int(domain),
        from_int(kind),
        from_int(protocol),
        0,
        0,
        0,
    ];
    // SAFETY: touches no memory.
    unsafe { system_call(number::SOCKET, arguments) }.map(|raw| Descriptor(to_int(raw)))
}

/// `connect`; of the address, `length` octets count.
pub(super) fn connect(
    descriptor: &Descriptor,
    address: &SocketAddress,
    length: u32,
) -> Result<(), i32> {
    let length = usize::try_from(length).map_err(|_| libc::EINVAL)?;
    let place = core::ptr::from_ref(address).addr();
    // SAFETY: callers pass at most the struct's size, and the struct outlives the call.
    unsafe { connect_to(descriptor, place, length) }
}

/// `connect` to a Unix socket: `struct sockaddr_un` up to the end of its path.
pub(super) fn connect_local(descriptor: &Descriptor, address: &[u8]) -> Result<(), i32> {
    // SAFETY: the kernel reads a slice that outlives the call.
    unsafe { connect_to(descriptor, address.as_ptr().addr(), address.len()) }
}

/// # Safety
/// `length` octets from `place` on are readable.
unsafe fn connect_to(descriptor: &Descriptor, place: usize, length: usize) -> Result<(), i32> {
    let arguments = [from_int(descriptor.0), place, length, 0, 0, 0];
    // SAFETY: the caller's contract.
    unsafe { system_call(number::CONNECT, arguments) }.map(|_| ())
}

/// `poll`, at most so many milliseconds; how many are ready. EINTR is an error: whoever waits
/// knows how long it still may.
pub(super) fn poll(polled: &mut [libc::pollfd], milliseconds: i32) -> Result<usize, i32> {
    let (place, count) = (polled.as_mut_ptr().addr(), polled.len());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel reads and writes `count` entries of an exclusive slice.
    let ready = unsafe {
        let arguments = [place, count, from_int(milliseconds), 0, 0, 0];
        system_call(number::POLL, arguments)
    };
    #[cfg(target_arch = "aarch64")]
    let ready = {
        let mut time = libc::timespec {
            tv_sec: i64::from(milliseconds / 1000),
            tv_nsec: i64::from(milliseconds % 1000).wrapping_mul(1_000_000),
        };
        let arguments = [place, count, (&raw mut time).addr(), 0, 0, 0];
        // SAFETY: the same, and the kernel reads and writes a struct that outlives the call: what is
        // left of the time.
        unsafe { system_call(number::PPOLL, arguments) }
    };
    ready
}

/// `connect` to AF_UNSPEC: takes a datagram socket's destination and source from it, and resets a
/// TCP connection.
pub(super) fn disconnect(descriptor: &Descriptor) -> Result<(), i32> {
    // struct sockaddr: the family, which is 0, and fourteen octets.
    let address = [0_u64; 2];
    let place = (&raw const address).addr();
    let arguments = [from_int(descriptor.0), place, 16, 0, 0, 0];
    // SAFETY: the kernel reads 16 octets, which outlive the call.
    unsafe { system_call(number::CONNECT, arguments) }.map(|_| ())
}

/// `getsockname`: the length that the kernel's address has.
pub(super) fn own_address(descriptor: &Descriptor, room: &mut [u8; 28]) -> Result<usize, i32> {
    let mut length: u32 = 28;
    let (address, size) = ((&raw mut *room).addr(), (&raw mut length).addr());
    // SAFETY: the kernel writes at most 28 bytes, and the length.
    unsafe {
        system_call(
            number::GETSOCKNAME,
            [from_int(descriptor.0), address, size, 0, 0, 0],
        )
    }?;
    usize::try_from(length).map_err(|_| libc::EINVAL)
}

/// `send` with MSG_NOSIGNAL and MSG_DONTWAIT.
pub(super) fn send(descriptor: &Descriptor, bytes: &[u8]) -> Result<usize, i32> {
    let flags = from_int(libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT);
    let arguments = [
        from_int(descriptor.0),
        bytes.as_ptr().addr(),
        bytes.len(),
        flags,
        0,
        0,
    ];
    // SAFETY: the kernel reads a slice that outlives the call.
    unsafe { system_call(number::SENDTO, arguments) }
}

/// `recv` with MSG_DONTWAIT and MSG_TRUNC: the whole length of the message, even if longer than
/// `room`. Retried when interrupted.
pub(super) fn receive(descriptor: &Descriptor, room: &mut [u8]) -> Result<usize, i32> {
    let flags = from_int(libc::MSG_DONTWAIT | libc::MSG_TRUNC);
    let arguments = [
        from_int(descriptor.0),
        room.as_mut_ptr().addr(),
        room.len(),
        flags,
        0,
        0,
    ];
    loop {
        // SAFETY: the kernel writes at most `room.len()` bytes into an exclusive slice.
        match unsafe { system_call(number::RECVFROM, arguments) } {
            Err(libc::EINTR) => {}
            other => return other,
        }
    }
}

/// Sign-extends, as the kernel's ABI takes `int`s.
const fn from_int(value: i32) -> usize {
    value as isize as usize
}

/// A result that the kernel defines as `int`: a descriptor.
const fn to_int(value: usize) -> i32 {
    value as i32
}

/// One system call; -4095..=-1 is an errno (the same on both architectures).
///
/// # Safety
/// As the kernel documents that call: every pointer is valid for what the call does with it.
#[inline]
unsafe fn system_call(number: Number, arguments: [usize; 6]) -> Result<usize, i32> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's contract; rcx and r11 are what the instruction destroys.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number.0 as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the caller's contract; the kernel keeps every other register.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number.0,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    match result {
        -4095..=-1 => Err(result.unsigned_abs() as i32),
        _ => Ok(result as usize),
    }
}
