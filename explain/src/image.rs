//! Which libc an image has, by its dynamic loader.

use nss_k8s_stub::sys::Libc;
use std::{fs, path::Path};

/// Where loaders lie.
const FOLDERS: [&str; 3] = ["/lib", "/lib64", "/usr/lib"];

/// The libc that programs of this image use, and how that was found. Where there are both loaders,
/// or none, it is glibc: name the other with `--libc`.
pub(crate) fn libc() -> (Libc, String) {
    let mut found = [None, None];
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(Path::new(folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if let Some(libc) = of_loader(&name) {
                let place = format!("{folder}/{name} is there");
                found[usize::from(libc == Libc::Musl)].get_or_insert(place);
            }
        }
    }
    match found {
        [None, Some(place)] => (Libc::Musl, place),
        [Some(place), None] => (Libc::Glibc, place),
        [Some(_), Some(musl)] => (Libc::Glibc, format!("but {musl}, too: see --libc")),
        [None, None] => (Libc::Glibc, "no loader was found: see --libc".to_owned()),
    }
}

/// The libc that a loader's file name belongs to.
fn of_loader(name: &str) -> Option<Libc> {
    if name.starts_with("ld-musl-") {
        Some(Libc::Musl)
    } else if name.starts_with("ld-linux") || name.starts_with("ld64.so") {
        Some(Libc::Glibc)
    } else {
        None
    }
}

/// Its name.
pub(crate) const fn word(libc: Libc) -> &'static str {
    match libc {
        Libc::Glibc => "glibc",
        Libc::Musl => "musl",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_loaders_apart() {
        for (name, expected) in [
            ("ld-linux-x86-64.so.2", Some(Libc::Glibc)),
            ("ld-linux-aarch64.so.1", Some(Libc::Glibc)),
            ("ld-musl-x86_64.so.1", Some(Libc::Musl)),
            ("libc.so.6", None),
        ] {
            assert_eq!(of_loader(name), expected, "{name}");
        }
    }
}
