//! memcpy, memmove, memset, memcmp, bcmp and strlen: what ordinary code compiles to, and what an
//! object without any libc must define itself.
//!
//! The symbols are hidden: they serve this object and nobody sees them. They are assembly because
//! the compiler would turn a loop in Rust that copies bytes into a call of the function that the
//! loop is the body of. This crate's own tests run on them.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(test)]
mod tests {
    use core::ffi::{c_char, c_int, c_void};

    unsafe extern "C" {
        fn memcpy(to: *mut c_void, from: *const c_void, count: usize) -> *mut c_void;
        fn memmove(to: *mut c_void, from: *const c_void, count: usize) -> *mut c_void;
        fn memset(to: *mut c_void, byte: c_int, count: usize) -> *mut c_void;
        fn memcmp(one: *const c_void, other: *const c_void, count: usize) -> c_int;
        fn bcmp(one: *const c_void, other: *const c_void, count: usize) -> c_int;
        fn strlen(text: *const c_char) -> usize;
    }

    const SIZE: usize = 400;

    /// No two of 251 neighbors alike, no zero.
    fn pattern() -> [u8; SIZE] {
        core::array::from_fn(|index| u8::try_from(index % 251).unwrap() + 1)
    }

    /// The symbols in use are the ones in this object: a weak spot of the test would be libc's.
    #[test]
    fn they_are_ours() {
        for function in [memcpy as *const () as usize, memset as *const () as usize] {
            assert!(super::super::next::is_in_ours(function));
        }
    }

    #[test]
    fn copies_every_length_and_overlap() {
        for count in (0..=140).chain([255, 256]) {
            for (from, to) in [
                (0, 200),
                (3, 130),
                (0, 0),
                (16, 17),
                (17, 16),
                (9, 40),
                (40, 9),
                (1, 9),
            ] {
                if from + count > SIZE || to + count > SIZE {
                    continue;
                }
                let mut expected = pattern();
                for (index, byte) in pattern()[from..from + count].iter().enumerate() {
                    expected[to + index] = *byte;
                }
                let mut got = pattern();
                let start = got.as_mut_ptr();
                // SAFETY: both ranges are inside the array; memmove may overlap.
                let returned =
                    unsafe { memmove(start.add(to).cast(), start.add(from).cast(), count) };
                assert_eq!(returned, start.wrapping_add(to).cast());
                assert_eq!(got, expected, "memmove {count} from {from} to {to}");
                if from + count <= to || to + count <= from {
                    let source = pattern();
                    let mut got = pattern();
                    // SAFETY: both ranges are inside arrays of their own.
                    unsafe {
                        memcpy(
                            got[to..].as_mut_ptr().cast(),
                            source[from..].as_ptr().cast(),
                            count,
                        )
                    };
                    assert_eq!(got, expected, "memcpy {count} from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn sets_every_length_and_no_neighbor() {
        for count in 0..=140 {
            for start in [0, 1, 7] {
                let mut expected = pattern();
                for byte in expected.iter_mut().skip(start).take(count) {
                    *byte = 0xa5;
                }
                let mut got = pattern();
                // SAFETY: the range is inside the array. Only the low byte counts.
                unsafe { memset(got[start..].as_mut_ptr().cast(), 0x7f00 | 0xa5, count) };
                assert_eq!(got, expected, "{count} at {start}");
            }
        }
    }

    #[test]
    fn compares_as_unsigned_bytes_in_order() {
        let sign = |value: c_int| value.signum();
        for count in 0..=40 {
            let one = pattern();
            // SAFETY: both ranges are inside arrays.
            unsafe {
                assert_eq!(
                    memcmp(one.as_ptr().cast(), pattern().as_ptr().cast(), count),
                    0
                );
                assert_eq!(
                    bcmp(one.as_ptr().cast(), pattern().as_ptr().cast(), count),
                    0
                );
            }
            for place in 0..count {
                let mut other = pattern();
                other[place] ^= 0x80;
                // What follows the first difference does not count.
                other[place + 1] = !other[place + 1];
                let expected = if one[place] < other[place] { -1 } else { 1 };
                // SAFETY: both ranges are inside arrays.
                let got = unsafe { memcmp(one.as_ptr().cast(), other.as_ptr().cast(), count) };
                assert_eq!(sign(got), expected, "{count}, differing at {place}");
            }
        }
    }

    #[test]
    fn measures_text() {
        for length in 0..=70 {
            let mut text = pattern();
            text[length] = 0;
            // SAFETY: there is a NUL inside the array.
            assert_eq!(unsafe { strlen(text.as_ptr().cast()) }, length);
        }
    }
}
