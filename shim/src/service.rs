//! Which (socket type, protocol, port) triples each address of a result comes with.

use crate::real;
use crate::request::Request;
use core::ffi::{CStr, c_char, c_int};
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use libc::addrinfo;
use nss_k8s_stub::sys::Libc;

/// One triple.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) socket_type: c_int,
    pub(crate) protocol: c_int,
    /// Network byte order.
    pub(crate) port: [u8; 2],
}

/// At most so many; more are libc's business.
const MOST: usize = 8;

/// The triples of one call, in libc's order. Filled where it stands: it is asked for in every call.
pub(crate) struct Services {
    /// So many of the list are initialized.
    count: usize,
    list: [MaybeUninit<Service>; MOST],
}

impl Services {
    /// None yet.
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            count: 0,
            list: [const { MaybeUninit::uninit() }; MOST],
        }
    }

    /// Adds the triples for a request; `None` when libc must say what is wrong with it.
    ///
    /// # Safety
    /// `service` is null or NUL-terminated.
    pub(crate) unsafe fn find(&mut self, request: &Request, service: *const c_char) -> Option<()> {
        let port = if service.is_null() {
            Some(0)
        } else {
            // SAFETY: the caller's contract.
            plain_number(unsafe { CStr::from_ptr(service) }.to_bytes())
        };
        match (request.socket_type, request.protocol, port) {
            (0, 0, Some(port))
            | (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP, Some(port))
            | (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP, Some(port)) => {
                self.add_numeric(request, port.to_be_bytes());
                Some(())
            }
            // SAFETY: the caller's contract.
            _ => unsafe { self.ask(request, service) },
        }
    }

    /// The triples, never empty.
    pub(crate) fn as_slice(&self) -> &[Service] {
        let list = self.list.get(..self.count).unwrap_or(&[]);
        // SAFETY: `push` writes an entry before it counts it.
        unsafe { list.assume_init_ref() }
    }

    /// The types of the request with one port, in the order of glibc's gaih_inet_typeproto and
    /// musl's lookup_serv.c. Only glibc offers raw sockets, also for a port.
    fn add_numeric(&mut self, request: &Request, port: [u8; 2]) {
        for (socket_type, protocol) in [
            (libc::SOCK_STREAM, libc::IPPROTO_TCP),
            (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
            (libc::SOCK_RAW, 0),
        ] {
            let wanted = match request.socket_type {
                0 => socket_type != libc::SOCK_RAW || request.libc == Libc::Glibc,
                one => socket_type == one,
            };
            if wanted {
                // Three fit.
                let _ = self.push(Service {
                    socket_type,
                    protocol,
                    port,
                });
            }
        }
    }

    /// The triples of a named (or oddly written) service, or of a socket type and protocol that are
    /// not everybody's: the real function is asked for them with a numeric node, so that
    /// /etc/services, each version's table and every quirk are its own. It asks nobody for that.
    ///
    /// # Safety
    /// `service` is null or NUL-terminated.
    #[cold]
    unsafe fn ask(&mut self, request: &Request, service: *const c_char) -> Option<()> {
        let hints = addrinfo {
            ai_flags: request.service_flags | libc::AI_NUMERICHOST,
            ai_family: libc::AF_INET,
            ai_socktype: request.socket_type,
            ai_protocol: request.protocol,
            ai_addrlen: 0,
            ai_addr: null_mut(),
            ai_canonname: null_mut(),
            ai_next: null_mut(),
        };
        let node = c"127.0.0.1".as_ptr();
        let mut first: *mut addrinfo = null_mut();
        // SAFETY: the caller's contract; there is one address, the node itself.
        if unsafe { real::getaddrinfo(node, service, &raw const hints, &raw mut first) } != 0 {
            return None;
        }
        let mut next: *const addrinfo = first;
        let mut complete = true;
        // SAFETY: a list as the real function returns it, not freed yet.
        while let Some(entry) = unsafe { next.as_ref() } {
            complete &= entry.ai_family == libc::AF_INET && !entry.ai_addr.is_null();
            if !complete {
                break;
            }
            // SAFETY: an AF_INET entry has a sockaddr_in; its port is at octet 2.
            let port = unsafe { entry.ai_addr.cast::<[u8; 4]>().read_unaligned() };
            let [_, _, high, low] = port;
            let (socket_type, protocol) = (entry.ai_socktype, entry.ai_protocol);
            complete &= self.push(Service {
                socket_type,
                protocol,
                port: [high, low],
            });
            next = entry.ai_next;
        }
        // SAFETY: the real function's own list goes to its own `freeaddrinfo`, once.
        unsafe { real::freeaddrinfo(first) };
        (complete && self.count > 0).then_some(())
    }

    /// False when there is no room.
    #[must_use]
    fn push(&mut self, service: Service) -> bool {
        let Some(place) = self.list.get_mut(self.count) else {
            return false;
        };
        place.write(service);
        self.count = self.count.saturating_add(1);
        true
    }
}

/// One to five digits up to 65535: what both libcs read alike. Signs, blanks and larger numbers
/// have their own meaning in each.
fn plain_number(service: &[u8]) -> Option<u16> {
    if service.is_empty() || service.len() > 5 {
        return None;
    }
    service.iter().try_fold(0_u16, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u16::from(byte & 15))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
