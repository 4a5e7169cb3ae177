//! The command line, read by hand: this program is copied into other people's images, and small.

use nss_k8s_stub::{Families, sys::Libc};

/// Printed for `--help`, and after what is wrong.
pub(crate) const USAGE: &str = "\
usage: nss-k8s-explain [--libc glibc|musl] [--type A|AAAA] [--no-ask] NAME
       nss-k8s-explain --shadow [PID...]
       nss-k8s-explain --version

Says what the libraries of nss-k8s make of a name in this container, and why.

  --libc glibc|musl  whose rules; by default the libc that is found in the image
  --type A|AAAA      one address type; by default both, as getaddrinfo asks
  --no-ask           ask nobody over the network

status: 0 addresses, 1 none, 2 wrong usage, 3 libc answers instead

With --shadow it says what running processes counted while their view was in shadow: how often libc
answered what the zone would have. Without numbers: every process that can be seen.

status: 0 all the same, 1 some differed, 2 wrong usage, 3 nothing compared, or not all could be read
";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Print how it is used.
    Help,
    /// Print the version and the build.
    Version,
    /// Say what becomes of a name.
    Explain(Arguments),
    /// Say what these processes counted in shadow; none: all.
    Shadow(Vec<u32>),
}

impl Task {
    /// Reads the words behind the program's name.
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let words: Vec<String> = words.collect();
        let has = |flag: &str| words.iter().any(|word| word == flag);
        if has("--help") || has("-h") {
            return Ok(Self::Help);
        }
        if let [flag] = words.as_slice()
            && flag == "--version"
        {
            return Ok(Self::Version);
        }
        if !has("--shadow") {
            return Arguments::read(words.into_iter()).map(Self::Explain);
        }
        let numbers = words.iter().filter(|word| *word != "--shadow");
        let number = |word: &String| {
            word.parse()
                .map_err(|_| format!("{word}: no process number"))
        };
        numbers
            .map(number)
            .collect::<Result<_, _>>()
            .map(Self::Shadow)
    }
}

/// What is asked for of a name.
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
    /// Reads the words of a lookup.
    fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
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
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Task, String> {
        Task::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn reads_flags_in_any_order() {
        let explain = |libc, families, asks| {
            let name = "api".to_owned();
            Ok(Task::Explain(Arguments {
                name,
                libc,
                families,
                asks,
            }))
        };
        assert_eq!(
            read("api --no-ask --libc=musl -t AAAA"),
            explain(Some(Libc::Musl), Families::V6, false)
        );
        assert_eq!(read("--libc auto api"), explain(None, Families::BOTH, true));
        assert_eq!(read("api --help"), Ok(Task::Help));
        assert_eq!(read("--version"), Ok(Task::Version));
        assert_eq!(read("--shadow"), Ok(Task::Shadow(vec![])));
        assert_eq!(read("--shadow 7 42"), Ok(Task::Shadow(vec![7, 42])));
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
            "--shadow api",
            "--shadow --no-ask",
            "--version api",
        ] {
            read(line).unwrap_err();
        }
    }
}
