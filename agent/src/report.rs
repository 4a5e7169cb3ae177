//! How errors are told to people.

use std::error::Error;

/// An error with its causes on one line. Some errors spell their cause out themselves; it is not
/// said twice.
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string().replace('\n', " ");
        if !line.contains(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once_and_on_one_line() {
        let error = anyhow::anyhow!("no such\nfile").context("cannot open x: no such file");
        let error = error.context("no zone");
        assert_eq!(
            one_line(error.as_ref()),
            "no zone: cannot open x: no such file"
        );
    }
}
