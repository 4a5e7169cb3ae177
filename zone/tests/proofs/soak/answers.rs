//! Lookups of the soak, each of which is checked.

use super::{
    random::Random,
    soak_record::{Part, SERVICES, endpoints, now, short},
    torment::Counts,
};
use nss_k8s_zone::{Address, Families, Found, Name, Reader, Unavailable};
use std::{ffi::CString, sync::atomic::Ordering};

/// Checks a few random names.
pub(crate) fn check_some(
    reader: &Reader,
    path: &CString,
    random: &mut Random,
    counts: &Counts,
) -> Result<(), String> {
    for _ in 0..64 {
        let service = random.below(u64::from(SERVICES)) as u32;
        match random.below(4) {
            0 => check_cluster_ip(reader, path, service, counts)?,
            1 => check_endpoint(reader, path, service, random.below(8) as u32, counts)?,
            _ => {
                check_headless(reader, path, service, counts)?;
            }
        }
    }
    Ok(())
}

/// All endpoints of `h<service>`: one generation, each place once. Returns the generation, 0 when
/// the reader gave up.
pub(crate) fn check_headless(
    reader: &Reader,
    path: &CString,
    service: u32,
    counts: &Counts,
) -> Result<u64, String> {
    let name = format!("h{service}.soak.svc.cluster.local");
    let Some(answer) = lookup(reader, path, &name, counts)? else {
        return Ok(0);
    };
    let parts: Option<Vec<Part>> = answer.iter().map(Part::parse).collect();
    let parts = parts.ok_or_else(|| format!("torn: {name}: a checksum in {answer:?}"))?;
    let generation = parts.first().map_or(0, |part| part.generation);
    let whole = parts.len() == endpoints(generation) as usize
        && parts
            .iter()
            .all(|part| part.service == service && part.generation == generation)
        && {
            let mut places: Vec<u16> = parts.iter().map(|part| part.place).collect();
            places.sort_unstable();
            places.into_iter().eq(0..endpoints(generation) as u16)
        };
    if whole {
        Ok(generation)
    } else {
        Err(format!(
            "torn: {name}: {} addresses, {parts:?}",
            parts.len()
        ))
    }
}

/// One endpoint by its host name.
fn check_endpoint(
    reader: &Reader,
    path: &CString,
    service: u32,
    place: u32,
    counts: &Counts,
) -> Result<(), String> {
    let name = format!("e{place}.h{service}.soak.svc.cluster.local");
    let Some(answer) = lookup(reader, path, &name, counts)? else {
        return Ok(());
    };
    match answer.as_slice() {
        [one] => match Part::parse(one) {
            Some(part) if part.service == service && u32::from(part.place) == place => Ok(()),
            part => Err(format!("torn: {name}: {one:?} is {part:?}")),
        },
        _ => Err(format!("torn: {name}: {answer:?}")),
    }
}

/// The two addresses of `c<service>`, of one generation.
fn check_cluster_ip(
    reader: &Reader,
    path: &CString,
    service: u32,
    counts: &Counts,
) -> Result<(), String> {
    let name = format!("c{service}.soak.svc.cluster.local");
    let Some(mut answer) = lookup(reader, path, &name, counts)? else {
        return Ok(());
    };
    answer.sort_unstable();
    let [v4, v6] = answer.as_slice() else {
        return Err(format!("torn: {name}: {answer:?}"));
    };
    let part = Part::parse(v6).ok_or_else(|| format!("torn: {name}: {v6:?}"))?;
    if part.service != service || *v4 != short(part.service, part.generation) {
        return Err(format!("torn: {name}: {v4:?} beside {part:?}"));
    }
    Ok(())
}

/// The addresses of `name`, or nothing when the reader gave up after its last attempt. Every other
/// outcome is a failure: all names of the soak exist all the time.
fn lookup(
    reader: &Reader,
    path: &CString,
    name: &str,
    counts: &Counts,
) -> Result<Option<Vec<Address>>, String> {
    match look_up(reader, path, name, counts) {
        Ok((Found::Answer { .. }, answer)) => {
            counts.answers.fetch_add(1, Ordering::Relaxed);
            Ok(Some(answer))
        }
        Err(Unavailable::Busy) => {
            counts.busy.fetch_add(1, Ordering::Relaxed);
            Ok(None)
        }
        other => Err(format!("wrong: {name}: {other:?}")),
    }
}

/// One lookup, with the addresses that were found.
fn look_up(
    reader: &Reader,
    path: &CString,
    name: &str,
    counts: &Counts,
) -> Result<(Found, Vec<Address>), Unavailable> {
    let mut room = [Address::UNSPECIFIED; 256];
    let mut canonical = Name::EMPTY;
    let mut attempts = 0;
    let found = reader.read(&counts.system, path, now(), |zone| {
        attempts += 1;
        zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical)
    });
    counts.lookups.fetch_add(1, Ordering::Relaxed);
    counts
        .retries
        .fetch_add(u64::saturating_sub(attempts, 1), Ordering::Relaxed);
    found.map(|found| {
        let count = match found {
            Found::Answer { count } => count,
            _ => 0,
        };
        (found, room[..count].to_vec())
    })
}
