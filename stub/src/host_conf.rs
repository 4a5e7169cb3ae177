//! `/etc/host.conf`: whether one line of the hosts file answers on glibc, or all that have the name
//! (resolv/res_hconf.c). musl knows no such file.

use crate::c_text::{is_space, is_word, lines, split_word, trim_start};
use crate::hosts::Lines;
use crate::sys;
use core::ffi::CStr;

/// What else glibc looks at; none of them is taken out of the environment of privileged programs
/// for certain.
const VARIABLES: [&CStr; 5] = [
    c"RESOLV_HOST_CONF",
    c"RESOLV_MULTI",
    c"RESOLV_REORDER",
    c"RESOLV_ADD_TRIM_DOMAINS",
    c"RESOLV_OVERRIDE_TRIM_DOMAINS",
];
/// glibc reads lines in pieces of fewer bytes.
const MAX_LINE: usize = 255;

/// Reads a whole file, as empty as none, together with the environment.
#[inline(never)]
pub(crate) fn parse(text: &[u8]) -> Lines {
    if VARIABLES
        .iter()
        .any(|variable| sys::environment(variable).is_some())
    {
        return Lines::Unclear;
    }
    read(text)
}

/// Takes `order` (which means nothing) and `multi`; `reorder` and `trim`, and what glibc complains
/// about, are left to glibc.
pub(crate) fn read(text: &[u8]) -> Lines {
    let mut found = Lines::First;
    for line in lines(text) {
        let is_read = line.len() < MAX_LINE && !line.iter().any(|byte| *byte == 0);
        let (line, _) = split_word(line, |byte| byte == b'#');
        let (command, rest) = split_word(trim_start(line, is_space), is_space);
        let argument = trim_start(rest, is_space);
        let (argument, rest) = split_word(argument, is_space);
        if is_read && (command.is_empty() || is_word(command, b"order")) {
            continue;
        }
        if !is_word(command, b"multi") || !is_read || !trim_start(rest, is_space).is_empty() {
            return Lines::Unclear;
        }
        if is_word(argument, b"on") {
            found = Lines::All;
        } else if is_word(argument, b"off") {
            found = Lines::First;
        } else {
            return Lines::Unclear;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certain_is_taken() {
        for (text, expected) in [
            ("", Lines::First),
            ("multi on\n", Lines::All),
            (" Multi\tON  # all of them\n", Lines::All),
            ("# multi on\n", Lines::First),
            ("order hosts,bind\nmulti on", Lines::All),
            ("multi on\nmulti off\n", Lines::First),
            ("multi off on\n", Lines::Unclear),
            ("multi\n", Lines::Unclear),
            ("multi once\n", Lines::Unclear),
            ("multi,on\n", Lines::Unclear),
            ("reorder on\n", Lines::Unclear),
            ("trim .example\n", Lines::Unclear),
            ("nospoof on\n", Lines::Unclear),
            ("multi on\0\n", Lines::Unclear),
        ] {
            assert_eq!(read(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(read(&[b' '; 300]), Lines::Unclear);
    }
}
