//! The command line, read by hand: this program is copied into other people's images, and small.

use nss_k8s_stub::{Families, sys::Libc};

/// Printed for `--help`, and after what is wrong.
pub(crate) const USAGE: &str = "\
usage: nss-k8s-explain [--libc glibc|musl] [--type A|AAAA] [--no-ask] NAME

Says what the libraries of nss-k8s make of a name in this container, and why.

  --libc glibc|musl  whose rules; by default the libc that is found in the image
  --type A|AAAA      one address type; by default both, as getaddrinfo asks
  --no-ask           ask nobody over the network

status: 0 addresses, 1 none, 2 wrong usage, 3 libc answers instead
";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// As a program would write it.
    pub(crate) name: String,
    /// Whose rules; `None`: look.
    pub(crate) libc: Option<Libc>,
    /// Which types.
    pub(crate) families: Families,
    /// Names outside the zone are asked for as the libraries would.
    pub(crate) asks: bool,
}

impl Arguments {
    /// Reads the words behind the program's name; `None`: help is wanted.
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut this = Self {
            name: String::new(),
            libc: None,
            families: Families::BOTH,
            asks: true,
        };
        let mut words = words.flat_map(|word| match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => {
                vec![flag.to_owned(), value.to_owned()]
            }
            _ => vec![word],
        });
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--no-ask" => this.asks = false,
                "--libc" => {
                    this.libc = match words.next().as_deref() {
                        Some("glibc") => Some(Libc::Glibc),
                        Some("musl") => Some(Libc::Musl),
                        Some("auto") => None,
                        other => return Err(format!("--libc: {other:?}")),
                    };
                }
                "--type" | "-t" => {
                    this.families = match words.next().as_deref() {
                        Some("A" | "a") => Families::V4,
                        Some("AAAA" | "aaaa") => Families::V6,
                        other => return Err(format!("--type: {other:?}")),
                    };
                }
                flag if flag.starts_with("--") => return Err(format!("{flag}: unknown")),
                name if this.name.is_empty() => name.clone_into(&mut this.name),
                other => return Err(format!("{other}: one name at a time")),
            }
        }
        if this.name.is_empty() {
            return Err("no name".to_owned());
        }
        Ok(Some(this))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Arguments>, String> {
        Arguments::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn reads_flags_in_any_order() {
        let both = read("api --no-ask --libc=musl -t AAAA").unwrap().unwrap();
        assert_eq!(
            both,
            Arguments {
                name: "api".to_owned(),
                libc: Some(Libc::Musl),
                families: Families::V6,
                asks: false,
            }
        );
        let plain = read("--libc auto api").unwrap().unwrap();
        assert!(plain.asks && plain.libc.is_none() && plain.families == Families::BOTH);
        assert_eq!(read("api --help"), Ok(None));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for line in [
            "",
            "a b",
            "--libc",
            "--libc uclibc a",
            "--type MX a",
            "--what a",
        ] {
            read(line).unwrap_err();
        }
    }
}
