//! Questions to a file of held answers, and what each should be told.

use nss_k8s_zone::{
    Address, Ask, Families, Family, Found, Held, HeldVerdict, Name, Now, Os, Reader, Unavailable,
    proofs::Image,
};
use std::ffi::CStr;

/// What is asked; a crowd of other names comes and goes around them.
pub(crate) const NAMES: [&str; 4] = ["a.example.com", "b.example.com", "c.example", "d"];

/// All that the asker learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) found: Result<Found, Unavailable>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) canonical: Vec<u8>,
}

impl Told {
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self.found, Err(_) | Ok(Found::Unavailable(_)))
    }

    pub(crate) fn passes(&self) -> bool {
        self.is_unavailable() || matches!(self.found, Ok(Found::Ask(_)))
    }

    pub(crate) fn denies(&self) -> bool {
        matches!(self.found, Ok(Found::NxDomain | Found::NoData))
    }
}

/// Asks `name` of `external.v1` as `os` has it.
pub(crate) fn ask(os: &impl Os, reader: &Reader, name: &str, families: Families, now: Now) -> Told {
    ask_at(os, reader, c"/external.v1", name, families, now)
}

/// Asks `name` of the file at `path`, with room for 512 addresses.
pub(crate) fn ask_at(
    os: &impl Os,
    reader: &Reader,
    path: &CStr,
    name: &str,
    families: Families,
    now: Now,
) -> Told {
    ask_counting(os, reader, path, (name, families), now, &mut 0)
}

/// The same, counting the attempts.
pub(crate) fn ask_counting(
    os: &impl Os,
    reader: &Reader,
    path: &CStr,
    (name, families): (&str, Families),
    now: Now,
    attempts: &mut u64,
) -> Told {
    let mut room = vec![Address::UNSPECIFIED; 512];
    let mut canonical = Name::EMPTY;
    let found = reader.read(os, path, now, |snapshot| {
        *attempts += 1;
        snapshot.held(name.as_bytes(), families, now, &mut room, &mut canonical)
    });
    let count = match found {
        Ok(Found::Answer { count }) => count,
        _ => 0,
    };
    room.truncate(count);
    room.sort_unstable();
    let canonical = match found {
        Ok(Found::Answer { .. } | Found::NoData) => canonical.as_bytes().to_vec(),
        _ => Vec::new(),
    };
    Told {
        found,
        addresses: room,
        canonical,
    }
}

/// Every question that the calls can change the answer to.
pub(crate) fn ask_all(image: &Image, reader: &Reader, now: Now) -> Vec<Told> {
    let families = [Families::BOTH, Families::V4, Families::V6];
    NAMES
        .iter()
        .flat_map(|name| families.map(|families| ask(image, reader, name, families, now)))
        .collect()
}

/// What `held` comes to, told without looking at any record.
pub(crate) fn expected(held: Option<&Held>, families: Families, now: Now) -> Told {
    let not_held = Told {
        found: Ok(Found::Ask(Ask::NotHeld)),
        addresses: Vec::new(),
        canonical: Vec::new(),
    };
    let mut parts = Vec::new();
    for family in [Family::V4, Family::V6] {
        if families.contains(family) {
            match held.and_then(|held| held.family(family)) {
                Some(answer) if answer.expires.is_none_or(|end| now < end) => {
                    parts.push(&answer.verdict);
                }
                _ => return not_held,
            }
        }
    }
    let denied = parts.iter().filter(|part| ***part == HeldVerdict::NxDomain);
    let denied = denied.count();
    if denied > 0 {
        return if denied == parts.len() {
            Told {
                found: Ok(Found::NxDomain),
                ..not_held
            }
        } else {
            not_held
        };
    }
    let data = |part: &&HeldVerdict| match part {
        HeldVerdict::Data {
            addresses,
            canonical,
        } => (addresses.clone(), canonical.clone().unwrap_or_default()),
        HeldVerdict::NxDomain => unreachable!("counted above"),
    };
    let parts: Vec<_> = parts.iter().map(data).collect();
    let mut addresses: Vec<Address> = parts.iter().flat_map(|part| part.0.clone()).collect();
    addresses.sort_unstable();
    let owner = parts.iter().find(|part| !part.0.is_empty());
    Told {
        found: Ok(match addresses.len() {
            0 => Found::NoData,
            count => Found::Answer { count },
        }),
        canonical: owner.unwrap_or(&parts[0]).1.clone().into_bytes(),
        addresses,
    }
}
