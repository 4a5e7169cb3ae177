//! One line per lookup on standard error, for those who ask for it with `NSS_K8S_DEBUG=1`.
//!
//! ```text
//! nss-k8s: getaddrinfo "api" -> zone
//! nss-k8s: gethostbyname_r "www.example.com" -> pass(external)
//! nss-k8s: getaddrinfo "www.example.com" -> upstream
//! nss-k8s: getaddrinfo "api" -> shadow(same)
//! nss-k8s: getaddrinfo "nope.example.com" -> forwarder(nxdomain)
//! ```

use super::{call, host};
use crate::{Address, By, Name, Outcome, Reason, Said};
use core::sync::atomic::{AtomicU8, Ordering};
use nss_k8s_zone::text;

/// Reports a forward lookup through the entry point `call`.
pub fn debug(call: &str, name: &[u8], outcome: Outcome) {
    // The control of the no-panic proof: with this the proof's link must fail.
    #[cfg(plant_panic)]
    assert!(name.len() != 4242, "planted");
    if is_on() {
        let mut line = Line::new(call);
        line.append_name(name);
        line.write(words(outcome));
    }
}

/// Reports a forward lookup that was passed on for a reason that the stub did not see: what the
/// program asked for besides the name.
pub fn debug_pass(call: &str, name: &[u8], reason: &str) {
    if is_on() {
        let mut line = Line::new(call);
        line.append_name(name);
        line.write(("pass(", reason, ")"));
    }
}

/// Reports what became of a comparison with libc's answer.
pub fn debug_shadow(call: &str, name: &[u8], verdict: &str) {
    if is_on() {
        let mut line = Line::new(call);
        line.append_name(name);
        line.write(("shadow(", verdict, ")"));
    }
}

/// Reports a reverse lookup through the entry point `call`.
pub fn debug_reverse(call: &str, address: &Address, outcome: Outcome) {
    if is_on() {
        let mut line = Line::new(call);
        line.append_address(address);
        line.write(words(outcome));
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

/// The end of the line: in three parts, to be joined.
fn words(outcome: Outcome) -> (&'static str, &'static str, &'static str) {
    match outcome {
        // Also when the caller's buffer is too small for what the zone has.
        Outcome::Answer { .. } | Outcome::Room(_) => ("zone", "", ""),
        Outcome::Hosts { .. } => ("hosts", "", ""),
        Outcome::NoData => ("nodata", "", ""),
        Outcome::NxDomain => ("nxdomain", "", ""),
        Outcome::Again => ("again", "", ""),
        Outcome::Asked(by, said) => {
            let by = match by {
                By::Upstream => "upstream",
                By::Forwarder => "forwarder",
                By::Held => "held",
            };
            match said {
                Said::Answer(_) => (by, "", ""),
                Said::NoData => (by, "(nodata", ")"),
                Said::NxDomain => (by, "(nxdomain", ")"),
                Said::Again => (by, "(again", ")"),
            }
        }
        Outcome::Chase => ("pass(", Reason::External.as_str(), ")"),
        Outcome::Pass(reason) => ("pass(", reason.as_str(), ")"),
    }
}

/// A line of bounded length; what does not fit is left out.
struct Line {
    length: usize,
    text: [u8; 512],
}

impl Line {
    /// A line up to its subject.
    #[cold]
    #[inline(never)]
    fn new(call: &str) -> Self {
        let mut line = Self {
            length: 0,
            text: [0; 512],
        };
        for part in ["nss-k8s: ", call, " \""] {
            line.append(part);
        }
        line
    }

    /// Ends the line and writes it, with one write, so that the lines of threads do not mix.
    #[cold]
    #[inline(never)]
    fn write(mut self, (before, reason, after): (&str, &str, &str)) {
        for part in ["\" -> ", before, reason, after, "\n"] {
            self.append(part);
        }
        call::write(2, self.text.get(..self.length).unwrap_or(&[]));
    }

    #[inline(never)]
    fn append(&mut self, text: &str) {
        for byte in text.bytes() {
            self.push(byte);
        }
    }

    /// A name as the program passed it: what is no printable ASCII, or a quote, shows as `?`. Only
    /// as much as leaves room for the rest of the line.
    #[inline(never)]
    fn append_name(&mut self, name: &[u8]) {
        for byte in name.iter().take(400) {
            self.push(if byte.is_ascii_graphic() && *byte != b'"' {
                *byte
            } else {
                b'?'
            });
        }
    }

    /// An address in its canonical text. (The formatter of `core` keeps a panic path.)
    fn append_address(&mut self, address: &Address) {
        let mut text = Name::EMPTY;
        // It always fits.
        let _ = text::format(address, b'.', b':', &mut text);
        self.append_name(text.as_bytes());
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
            self.length = self.length.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(append: impl FnOnce(&mut Line)) -> String {
        let mut line = Line {
            length: 0,
            text: [0; 512],
        };
        append(&mut line);
        String::from_utf8_lossy(&line.text[..line.length]).into_owned()
    }

    #[test]
    fn addresses_read_as_the_standard_library_writes_them() {
        for octets in [
            [0, 0, 0, 0],
            [10, 244, 0, 7],
            [255, 100, 99, 9],
            [1, 20, 30, 109],
        ] {
            let expected = core::net::Ipv4Addr::from(octets).to_string();
            assert_eq!(
                written(|line| line.append_address(&Address::v4(octets))),
                expected
            );
        }
        for address in [
            "::",
            "::1",
            "fd00::7",
            "1::",
            "1:0:0:2::3",
            "2001:db8:0:1:1:1:1:1",
            "1:2:3:4:5:6:7:8",
            "0:1::f00",
        ] {
            let address: core::net::Ipv6Addr = address.parse().unwrap();
            let expected = address.to_string();
            assert_eq!(
                written(|line| line.append_address(&Address::v6(address.octets()))),
                expected
            );
        }
    }
}
