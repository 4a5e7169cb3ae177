//! `nss-k8s-explain --shadow`: what running processes counted while their view was in shadow. The
//! counters lie in the preload library's writable memory and are found there by their first bytes
//! (`nss_k8s_stub::shadow`); nothing in the processes is stopped or changed.
//!
//! ```text
//!   /proc/<pid>/maps --> writable memory of libnss_k8s_preload.so --/proc/<pid>/mem--> Counters
//! ```

use nss_k8s_stub::shadow::{Counters, MAGIC, Verdict, WORDS};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    process::ExitCode,
};

/// The exit status when nothing was compared, or some process could not be read.
const UNKNOWN: u8 = 3;
/// As it is called in every image.
const LIBRARY: &str = "/libnss_k8s_preload.so";
/// More is not our library's memory.
const MOST_BYTES: u64 = 1 << 20;

/// Reads these processes, or all there are; the text, and the status: 0 every answer was the same,
/// 1 some differed, 3 nothing was compared or not everything could be read.
pub(crate) fn report(processes: &[u32]) -> (String, ExitCode) {
    let named = !processes.is_empty();
    let all = if named { processes.to_vec() } else { numbers() };
    let mut text = String::new();
    let mut sum = Counts::default();
    let (mut read, mut unread) = (0, 0);
    for process in all {
        match counts(process) {
            Ok(Some(counts)) => {
                read += 1;
                let _ = writeln!(text, "{process} {}: {}", command(process), counts.words());
                sum.add(&counts);
            }
            Ok(None) if named => {
                unread += 1;
                let _ = writeln!(text, "{process}: has no preload library that counts");
            }
            Ok(None) => {}
            // It ended meanwhile.
            Err(error) if !named && error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                unread += 1;
                let why = match error.kind() {
                    ErrorKind::PermissionDenied => {
                        "not permitted: it takes the process's own user or CAP_SYS_PTRACE, and \
                         CAP_SYS_PTRACE where kernel.yama.ptrace_scope is not 0"
                            .to_owned()
                    }
                    ErrorKind::NotFound => "no such process".to_owned(),
                    _ => error.to_string(),
                };
                let _ = writeln!(text, "{process} {}: {why}", command(process));
            }
        }
    }
    let _ = write!(text, "{read} processes: {}", sum.words());
    if unread > 0 {
        let _ = write!(text, "; {unread} could not be read");
    }
    text.push('\n');
    let status = if sum.differences() > 0 {
        ExitCode::FAILURE
    } else if unread > 0 || sum.of(Verdict::Same) == 0 {
        ExitCode::from(UNKNOWN)
    } else {
        ExitCode::SUCCESS
    };
    (text, status)
}

/// The counts of one process, or of several.
#[derive(Default)]
struct Counts {
    build: Option<u64>,
    on: bool,
    counts: [u64; Verdict::ALL.len()],
    last: String,
}

impl Counts {
    /// From the memory of a process that calls itself `number`.
    fn from_words(words: &[u64; WORDS], number: u64) -> Self {
        let mut this = Self {
            build: Some(words[Counters::BUILD]),
            on: words[Counters::ON] != 0,
            ..Self::default()
        };
        // What a child has of its parent is the parent's.
        if words[Counters::PROCESS] == number {
            this.counts
                .copy_from_slice(&words[Counters::FIRST..Counters::NAME]);
            let bytes: Vec<u8> = words[Counters::NAME..]
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .take_while(|byte| *byte != 0)
                .collect();
            this.last = String::from_utf8_lossy(&bytes).escape_default().to_string();
        }
        this
    }

    fn of(&self, verdict: Verdict) -> u64 {
        self.counts[verdict as usize]
    }

    /// Those that count as such: none lately.
    fn differences(&self) -> u64 {
        self.of(Verdict::Addresses) + self.of(Verdict::Status)
    }

    fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
    }

    /// One line's end.
    fn words(&self) -> String {
        let mut words = String::new();
        if let Some(build) = self.build {
            let shadow = if self.on {
                "in shadow"
            } else {
                "not in shadow"
            };
            let _ = write!(words, "build {build}, {shadow}; ");
        }
        let counts =
            Verdict::ALL.map(|verdict| format!("{} {}", verdict.as_str(), self.of(verdict)));
        words.push_str(&counts.join(", "));
        if !self.last.is_empty() {
            let _ = write!(words, "; last difference: {}", self.last);
        }
        words
    }
}

/// The counters of a process; `None` when it has no preload library, or one that does not count.
fn counts(process: u32) -> io::Result<Option<Counts>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let areas: Vec<(u64, u64)> = maps.lines().filter_map(writable).collect();
    if areas.is_empty() {
        return Ok(None);
    }
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let number = number_inside(process)?;
    for (start, end) in areas {
        let length = (end - start).min(MOST_BYTES);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        memory.read_exact_at(&mut bytes, start)?;
        if let Some(words) = find(&bytes) {
            return Ok(Some(Counts::from_words(&words, number)));
        }
    }
    Ok(None)
}

/// The area of a line of `maps` that is writable memory of the preload library.
fn writable(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let access = fields.next()?;
    let path = line.split_once('/').map(|(_, rest)| rest)?;
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let is_ours = format!("/{path}").ends_with(LIBRARY) && access.starts_with("rw");
    let number = |text| u64::from_str_radix(text, 16).ok();
    let area = (number(start)?, number(end)?);
    (is_ours && area.0 < area.1).then_some(area)
}

/// The counters in a piece of memory.
fn find(bytes: &[u8]) -> Option<[u64; WORDS]> {
    let words: Vec<u64> = bytes
        .chunks_exact(8)
        .map(|word| {
            word.iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        })
        .collect();
    let found = words
        .windows(WORDS)
        .find(|window| window.starts_with(&MAGIC))?;
    found.try_into().ok()
}

/// The number by which a process knows itself: that of its innermost pid namespace.
fn number_inside(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let last = line.and_then(|line| line.split_whitespace().last());
    let number = last.and_then(|text| text.parse().ok());
    Ok(number.unwrap_or(u64::from(process)))
}

/// All processes that can be seen, in order.
fn numbers() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// A process's name.
fn command(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    name.trim_end().escape_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writable_memory_of_the_library_counts() {
        let of = |access: &str, path: &str| {
            writable(&format!("7f00-8f00 {access} 0001f000 08:01 4242   {path}"))
        };
        let here = "/run/nss-k8s/lib/0.1.0/libnss_k8s_preload.so";
        assert_eq!(of("rw-p", here), Some((0x7f00, 0x8f00)));
        assert_eq!(
            of("rw-p", &format!("{here} (deleted)")),
            Some((0x7f00, 0x8f00))
        );
        for (access, path) in [
            ("r--p", here),
            ("rw-p", "/lib/libc.so.6"),
            ("rw-p", "/my libnss_k8s_preload.so"),
            ("rw-p", ""),
        ] {
            assert_eq!(of(access, path), None, "{access} {path}");
        }
    }

    #[test]
    fn counters_are_found_by_their_first_words() {
        let mut bytes = vec![7; 24];
        for word in MAGIC.into_iter().chain([2, 4242, 1]).chain(10..16) {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(b"api.shop");
        assert!(find(&bytes).is_none(), "not all of them");
        bytes.extend([0; 48]);
        let words = find(&bytes).unwrap();
        let counts = Counts::from_words(&words, 4242);
        assert_eq!((counts.of(Verdict::Same), counts.differences()), (10, 23));
        assert!(counts.words().ends_with("last difference: api.shop"));
        let of_the_parent = Counts::from_words(&words, 4243);
        assert_eq!(of_the_parent.counts, [0; 6]);
    }
}
