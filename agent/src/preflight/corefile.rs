//! The Corefile: server blocks, their plugins and their options, read as CoreDNS reads them
//! (coredns/caddy `caddyfile/{lexer,parse}.go`). It never fails: what CoreDNS would refuse to start
//! with is read as far as it goes, and said.

// By its path: the fuzz target includes this file by its own.
#[path = "corefile/token.rs"]
mod token;

use std::collections::BTreeMap;
use token::{Token, tokens};

/// Imports in imports, and tokens after them, are given up beyond these.
const MOST_IMPORTS: usize = 200;
/// A ConfigMap holds 1 MiB; repeated imports may multiply that.
const MOST_TOKENS: usize = 400_000;

/// A Corefile with its imports in their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corefile {
    /// In the order of the file.
    pub servers: Vec<Server>,
    /// What could not be read, or not be found, with its line.
    pub complaints: Vec<String>,
}

/// One server block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Its zones: lower case, without transport, port and final dot; the root is empty.
    pub zones: Vec<String>,
    /// Its plugins, in the order of the file. CoreDNS runs them in an order of its own.
    pub plugins: Vec<Plugin>,
}

/// One directive of a server block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugin {
    /// The first word.
    pub name: String,
    /// The other words of its line.
    pub arguments: Vec<String>,
    /// The lines of its block, word by word; nested blocks are flat.
    pub options: Vec<Vec<String>>,
    /// Where it stands; of an import, in the imported text.
    pub line: usize,
}

impl Corefile {
    /// Reads a Corefile. `files` are what it may import, by file name: the keys of a ConfigMap that
    /// is mounted beside it.
    pub fn parse(text: &str, files: &BTreeMap<String, String>) -> Self {
        let mut reader = Reader {
            tokens: tokens(text, 0),
            at: 0,
            files,
            snippets: BTreeMap::new(),
            sources: 1,
            imports: 0,
            complaints: Vec::new(),
        };
        let mut servers = Vec::new();
        while reader.peek().is_some() {
            servers.extend(reader.server());
        }
        Self {
            servers,
            complaints: reader.complaints,
        }
    }

    /// The servers that have a plugin, with it.
    pub fn plugins<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Server, &'a Plugin)> {
        let of = move |server: &'a Server| server.all(name).map(move |plugin| (server, plugin));
        self.servers.iter().flat_map(of)
    }
}

impl Server {
    /// Every directive of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Plugin> {
        self.plugins
            .iter()
            .filter(move |plugin| plugin.name == name)
    }

    /// The first directive of this name.
    pub fn plugin(&self, name: &str) -> Option<&Plugin> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }

    /// Whether queries for a name come to this block, as far as it alone can tell.
    pub fn holds(&self, name: &str) -> bool {
        self.zones.iter().any(|zone| is_below(name, zone))
    }
}

impl Plugin {
    /// The words behind an option; the first line with it counts.
    pub fn option(&self, name: &str) -> Option<&[String]> {
        let mut lines = self.options.iter();
        let line = lines.find(|line| line.first().is_some_and(|word| word == name))?;
        line.get(1..)
    }

    /// The zones among its arguments, or those of its server.
    pub fn zones<'a>(&'a self, server: &'a Server) -> Vec<String> {
        if self.arguments.is_empty() {
            return server.zones.clone();
        }
        self.arguments.iter().map(|word| zone(word)).collect()
    }
}

/// Whether a name is a zone's apex or below it; every name is below the root.
pub fn is_below(name: &str, zone: &str) -> bool {
    zone.is_empty()
        || name == zone
        || name
            .strip_suffix(zone)
            .is_some_and(|rest| rest.ends_with('.'))
}

/// A server block's key as a zone: `dns://Example.org.:53` is `example.org`. A network such as
/// `10.0.0.0/8` is left as it is.
pub fn zone(key: &str) -> String {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    // An IPv6 network holds colons, too; a port follows the last one and is all digits.
    let name = match key.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && !name.contains(':') =>
        {
            name
        }
        _ => key,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

struct Reader<'a> {
    /// What is left to read starts at `at`; imports are spliced in.
    tokens: Vec<Token>,
    at: usize,
    files: &'a BTreeMap<String, String>,
    snippets: BTreeMap<String, Vec<Token>>,
    /// Texts read so far: tokens of another text are on another line.
    sources: usize,
    imports: usize,
    complaints: Vec<String>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned()?;
        self.at += 1;
        Some(token)
    }

    /// Whether the next token is the first of its line.
    fn starts_line(&self) -> bool {
        let before = self
            .at
            .checked_sub(1)
            .and_then(|index| self.tokens.get(index));
        match (before, self.peek()) {
            (Some(before), Some(next)) => before.source != next.source || before.end < next.line,
            _ => true,
        }
    }

    /// One server block; none for a snippet's definition.
    fn server(&mut self) -> Option<Server> {
        let mut keys: Vec<String> = Vec::new();
        let mut goes_on = false;
        while let Some(token) = self.peek() {
            let text = token.text.clone();
            if text == "import" && self.starts_line() {
                self.import();
                continue;
            }
            if text == "{" || (self.starts_line() && !keys.is_empty() && !goes_on) {
                break;
            }
            self.at += 1;
            goes_on = text.ends_with(',');
            let key = text.trim_end_matches(',');
            if !key.is_empty() {
                keys.push(key.to_owned());
            }
        }
        let in_braces = self.peek().is_some_and(|token| token.text == "{");
        if in_braces {
            self.at += 1;
        }
        if let [key] = keys.as_slice()
            && let Some(name) = key.strip_prefix('(').and_then(|key| key.strip_suffix(')'))
        {
            let body = self.braced();
            self.snippets.insert(name.to_owned(), body);
            return None;
        }
        let plugins = self.directives(in_braces);
        (!keys.is_empty()).then(|| Server {
            zones: keys.iter().map(|key| zone(key)).collect(),
            plugins,
        })
    }

    /// The tokens up to the brace that closes the one just read.
    fn braced(&mut self) -> Vec<Token> {
        let mut body = Vec::new();
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            match token.text.as_str() {
                "}" if depth == 0 => return body,
                "}" => depth -= 1,
                "{" => depth += 1,
                _ => {}
            }
            body.push(token);
        }
        self.complaints
            .push("a snippet is not closed by a brace".to_owned());
        body
    }

    /// The directives of a block, its closing brace included.
    fn directives(&mut self, in_braces: bool) -> Vec<Plugin> {
        let mut plugins = Vec::new();
        while let Some(token) = self.peek() {
            match token.text.as_str() {
                "}" => {
                    self.at += 1;
                    return plugins;
                }
                "import" => self.import(),
                _ => plugins.extend(self.directive()),
            }
        }
        if in_braces {
            self.complaints
                .push("a server block is not closed by a brace".to_owned());
        }
        plugins
    }

    /// One directive, to the end of its line or of its block.
    fn directive(&mut self) -> Option<Plugin> {
        let first = self.next()?;
        let mut plugin = Plugin {
            name: first.text,
            line: first.line,
            ..Plugin::default()
        };
        let mut depth = 0_usize;
        let mut new_line = true;
        while let Some(token) = self.peek() {
            let starts_line = self.starts_line();
            match token.text.as_str() {
                "{" => {
                    depth += 1;
                    new_line = true;
                    self.at += 1;
                    continue;
                }
                _ if depth == 0 && starts_line => break,
                // The end of the server block, on the directive's own line.
                "}" if depth == 0 => break,
                "}" => {
                    depth -= 1;
                    new_line = true;
                    self.at += 1;
                    continue;
                }
                "import" if starts_line => {
                    self.import();
                    new_line = true;
                    continue;
                }
                _ => {}
            }
            let text = token.text.clone();
            self.at += 1;
            if depth == 0 {
                plugin.arguments.push(text);
                continue;
            }
            match plugin.options.last_mut() {
                Some(line) if !new_line && !starts_line => line.push(text),
                _ => plugin.options.push(vec![text]),
            }
            new_line = false;
        }
        if depth > 0 {
            self.complaints.push(format!(
                "line {}: {}: its block is not closed by a brace",
                plugin.line, plugin.name
            ));
        }
        Some(plugin)
    }

    /// Puts a snippet's or a file's tokens in the place of an `import` and its argument.
    fn import(&mut self) {
        let line = self.peek().map_or(0, |token| token.line);
        let from = self.at;
        self.at += 1;
        let pattern = match self.peek() {
            Some(token) if !self.starts_line() => token.text.clone(),
            _ => {
                self.complaints
                    .push(format!("line {line}: import of nothing"));
                return;
            }
        };
        self.at += 1;
        self.imports += 1;
        let mut body = Vec::new();
        if self.imports > MOST_IMPORTS || self.tokens.len() > MOST_TOKENS {
            self.complaints.push(format!(
                "line {line}: import {pattern}: imports without end"
            ));
        } else if let Some(snippet) = self.snippets.get(&pattern) {
            let source = self.sources;
            self.sources += 1;
            body.extend(
                snippet
                    .iter()
                    .cloned()
                    .map(|token| Token { source, ..token }),
            );
        } else {
            let name = pattern.rsplit('/').next().unwrap_or_default();
            let files = self.files.iter().filter(|(file, _)| matches(name, file));
            let mut found = false;
            for (_, text) in files {
                found = true;
                body.extend(tokens(text, self.sources));
                self.sources += 1;
            }
            // CoreDNS starts without files for a pattern, and does not without a named one.
            if !found && !name.contains(['*', '?', '[']) {
                self.complaints
                    .push(format!("line {line}: import {pattern}: not found"));
            }
        }
        // What stands before is read already.
        let rest = self.tokens.split_off(self.at.min(self.tokens.len()));
        self.tokens.truncate(from);
        self.tokens.extend(body);
        self.tokens.extend(rest);
        self.at = from;
    }
}

/// Whether a file's name matches a pattern with at most one `*`, which is all that imports may have.
fn matches(pattern: &str, file: &str) -> bool {
    match pattern.split_once('*') {
        Some((head, tail)) => {
            file.len() >= head.len() + tail.len() && file.starts_with(head) && file.ends_with(tail)
        }
        None => pattern == file,
    }
}

#[cfg(test)]
#[path = "corefile/tests.rs"]
mod tests;
