//! Answers that the agent published beside the zone: an external name that it holds costs no system
//! call.
//!
//! ```text
//!   walk --"ask this name"--> held --no--> ask
//!                              '-- external.v1, mapped as the zone is, by a reader of its own
//! ```

use crate::ask::Asked;
use crate::process;
use core::ffi::CStr;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use nss_k8s_zone::{Address, Families, Found, Name, Now, Reader, Snapshot};

/// Beside [`process::ZONE_PATH`].
const HELD_PATH: &CStr = c"/run/nss-k8s/external.v1";
/// The file's name in the directory of any other zone.
const HELD_FILE: &[u8] = b"/external.v1";

/// The file, mapped at first use. While it is absent, it is looked for once a second.
static READER: Reader = Reader::of_held();

/// What is held of one absolute `name` (lower case, no trailing dot), beside the zone file at
/// `zone`; `None`: nothing that counts at `now` for all of the `families`, a server must be asked.
/// Addresses are in no order. `canonical` is the end of the CNAMEs that led there, or empty: the
/// candidate itself owns the data.
#[inline(never)]
pub fn held(
    zone: &CStr,
    name: &[u8],
    families: Families,
    now: Now,
    room: &mut [Address],
    canonical: &mut Name,
) -> Option<Asked> {
    let path = held_path(zone)?;
    let mut asked = None;
    let told = process::read_of(&READER, path, now, false, &mut |snapshot: &Snapshot<'_>| {
        asked = match snapshot.held(name, families, now, room, canonical) {
            Found::Answer { count } => Some(Asked::Answer { count }),
            Found::Room(count) => Some(Asked::Room(count)),
            Found::NoData => Some(Asked::NoData),
            Found::NxDomain => Some(Asked::NxDomain),
            _ => None,
        };
        crate::Outcome::NoData
    });
    told.ok()?;
    asked
}

/// Where the answers beside a zone are.
fn held_path(zone: &CStr) -> Option<&'static CStr> {
    /// The path beside a zone that is elsewhere, NUL-terminated, and its length with the NUL.
    static PATH: AtomicPtr<u8> = AtomicPtr::new(null_mut());
    static LENGTH: AtomicUsize = AtomicUsize::new(0);
    if zone == process::ZONE_PATH {
        return Some(HELD_PATH);
    }
    if PATH.load(Ordering::Acquire).is_null() {
        let directory = zone.to_bytes().strip_suffix(process::ZONE_FILE)?;
        if !process::publish_path(&PATH, &LENGTH, directory, HELD_FILE) {
            return None;
        }
    }
    process::published_path(&PATH, &LENGTH)
}

#[cfg(test)]
mod tests {
    use super::{HELD_FILE, HELD_PATH, held_path};
    use crate::process::{ZONE_FILE, ZONE_PATH};

    #[test]
    fn answers_lie_beside_the_zone() {
        let (held, zone) = (HELD_PATH.to_bytes(), ZONE_PATH.to_bytes());
        assert_eq!(
            held.strip_suffix(HELD_FILE).unwrap(),
            zone.strip_suffix(ZONE_FILE).unwrap()
        );
        assert_eq!(held_path(ZONE_PATH), Some(HELD_PATH));
        for _ in 0..2 {
            let elsewhere = held_path(c"/somewhere/else/zone.v1");
            assert_eq!(elsewhere, Some(c"/somewhere/else/external.v1"));
        }
    }
}
