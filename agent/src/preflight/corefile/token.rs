//! The words of a Corefile: caddy's lexer.

/// One word and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Without its quotes.
    pub(super) text: String,
    /// The line that it begins on, from 1.
    pub(super) line: usize,
    /// The line that it ends on: quoted text may go over several.
    pub(super) end: usize,
    /// Which text it is from.
    pub(super) source: usize,
}

/// Cuts a text into words: at white space, a quoted one at its closing quote, `#` ends the line.
pub(super) fn tokens(text: &str, source: usize) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut start = 1;
    let mut word = String::new();
    let (mut comment, mut quoted, mut escaped) = (false, false, false);
    let mut flush = |word: &mut String, line, end| {
        tokens.push(Token {
            text: core::mem::take(word),
            line,
            end,
            source,
        });
    };
    for letter in text.strip_prefix('\u{feff}').unwrap_or(text).chars() {
        if quoted {
            match letter {
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                '"' if !escaped => {
                    quoted = false;
                    flush(&mut word, start, line);
                    continue;
                }
                '\n' => line += 1,
                _ => {}
            }
            // Only quotes can be escaped.
            if escaped && letter != '"' {
                word.push('\\');
            }
            word.push(letter);
            escaped = false;
            continue;
        }
        if letter.is_whitespace() {
            if letter == '\r' {
                continue;
            }
            if !word.is_empty() {
                flush(&mut word, start, line);
                // The comment began in the word, and caddy's ends with it.
                comment = false;
            }
            if letter == '\n' {
                line += 1;
                comment = false;
            }
            continue;
        }
        comment |= letter == '#';
        if comment {
            continue;
        }
        if word.is_empty() {
            start = line;
            if letter == '"' {
                quoted = true;
                continue;
            }
        }
        word.push(letter);
    }
    if !word.is_empty() {
        flush(&mut word, start, line);
    }
    tokens
}
