//! One line per lookup on standard error, for those who ask for it with `NSS_K8S_DEBUG=1`.
//!
//! ```text
//! nss-k8s: getaddrinfo "api" -> zone
//! nss-k8s: gethostbyname_r "www.example.com" -> pass(external)
//! ```

use super::{call, host};
use crate::{Address, Family, Outcome};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering};

/// Reports a forward lookup through the entry point `call`.
pub fn debug(call: &str, name: &[u8], outcome: Outcome) {
    // The control of the no-panic proof: with this the proof's link must fail.
    #[cfg(plant_panic)]
    assert!(name.len() != 4242, "planted");
    if is_on() {
        write_line(call, outcome, |line| {
            for byte in name {
                line.push(if byte.is_ascii_graphic() && *byte != b'"' {
                    *byte
                } else {
                    b'?'
                });
            }
        });
    }
}

/// Reports a reverse lookup through the entry point `call`.
pub fn debug_reverse(call: &str, address: &Address, outcome: Outcome) {
    if is_on() {
        let octets = address.octets;
        write_line(call, outcome, |line| {
            let _ = match address.family {
                Family::V4 => {
                    let [a, b, c, d, ..] = octets;
                    write!(line, "{}", core::net::Ipv4Addr::new(a, b, c, d))
                }
                Family::V6 => write!(line, "{}", core::net::Ipv6Addr::from(octets)),
            };
        });
    }
}

/// Whether the environment asks for it, as it was at this process's first lookup; never where the
/// environment cannot be trusted.
fn is_on() -> bool {
    /// 0: not looked yet; 1: off; 2: on.
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let on = !host::secure()
                && host::environment(c"NSS_K8S_DEBUG").is_some_and(|value| value == c"1");
            KNOWN.store(if on { 2 } else { 1 }, Ordering::Relaxed);
            on
        }
        known => known == 2,
    }
}

#[cold]
#[inline(never)]
fn write_line(call: &str, outcome: Outcome, subject: impl FnOnce(&mut Line)) {
    let mut line = Line {
        length: 0,
        text: [0; 512],
    };
    line.append("nss-k8s: ");
    line.append(call);
    line.append(" \"");
    subject(&mut line);
    line.append("\" -> ");
    let (before, reason, after) = match outcome {
        Outcome::Answer { .. } => ("zone", "", ""),
        Outcome::NoData => ("nodata", "", ""),
        Outcome::NxDomain => ("nxdomain", "", ""),
        Outcome::Chase => ("pass(", "chase", ")"),
        Outcome::Room(_) => ("pass(", "room", ")"),
        Outcome::Pass(reason) => ("pass(", reason.as_str(), ")"),
    };
    for part in [before, reason, after, "\n"] {
        line.append(part);
    }
    // One write, so that the lines of threads do not mix.
    call::write(2, line.text.get(..line.length).unwrap_or(&[]));
}

/// A line of bounded length; what does not fit is left out.
struct Line {
    length: usize,
    text: [u8; 512],
}

impl Line {
    fn append(&mut self, text: &str) {
        for byte in text.bytes() {
            self.push(byte);
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
            self.length = self.length.saturating_add(1);
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.append(text);
        Ok(())
    }
}
