//! Rules in the configuration: what the operator writes, matched as CoreDNS matches it; and whatever
//! else a zone file may hold in their place.

use nss_k8s_zone::{
    Config, Matching, Name, Rule, Ruling,
    proofs::{apply_rules, config_record},
};

/// The name in the first line, a rule in each other: its kind's letter (small: it goes on), what it
/// looks for, and what takes its place. Or "#", and the words of a record.
pub(crate) fn rules(bytes: &[u8]) {
    if let Some(words) = bytes.strip_prefix(b"#") {
        return any_words(words);
    }
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.lines();
    let name = lines.next().unwrap_or_default();
    let is_name = |name: &str| {
        let mut labels = name.split('.');
        name.len() <= 253 && labels.all(|label| (1..=63).contains(&label.len()))
    };
    if !is_name(name) || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return;
    }
    let rules: Vec<Rule> = lines.filter_map(rule).collect();
    let config = Config {
        rules: rules.clone(),
        excepted_suffixes: vec!["excepted.test".to_owned()],
        ..Config::default()
    };
    // What is no name is refused as a whole.
    let Ok(record) = config_record(&config) else {
        return;
    };
    let mut ours = Name::EMPTY;
    assert!(ours.push(name.as_bytes()));
    let ruling = apply_rules(&record, None, &mut ours).expect("the writer's own record");
    match as_coredns(&rules, name) {
        None => assert_eq!(ruling, Ruling::Blocked, "{name} {rules:?}"),
        Some(expected) if expected.len() > 253 => assert_eq!(ruling, Ruling::TooLong),
        Some(expected) => {
            assert_eq!(ours.as_bytes(), expected.as_bytes(), "{name} {rules:?}");
            assert_eq!(ruling == Ruling::Unruled, !matches_any(&rules, name));
        }
    }
}

/// One line, if it is a rule.
fn rule(line: &str) -> Option<Rule> {
    let mut words = line.split(' ');
    let (kind, from) = (words.next()?, words.next()?.to_owned());
    let matching = match kind {
        "E" | "e" => Matching::Exact,
        "P" | "p" => Matching::Prefix,
        "S" | "s" => Matching::Suffix,
        "B" => return Some(Rule::Block { name: from }),
        "G" => {
            let namespaces = from.split('.').map(str::to_owned).collect();
            return Some(Rule::Guard { namespaces });
        }
        _ => return None,
    };
    let to = words.next()?.to_owned();
    let stop = kind.bytes().all(|byte| byte.is_ascii_uppercase());
    Some(Rule::Rewrite {
        matching,
        from,
        to,
        stop,
    })
}

/// CoreDNS's plugin/rewrite on names that end in a dot; nothing: blocked.
fn as_coredns(rules: &[Rule], name: &str) -> Option<String> {
    let mut name = format!("{name}.");
    for rule in rules {
        match rule {
            Rule::Rewrite { stop, .. } => {
                if let Some(new) = rewritten(rule, &name) {
                    name = new;
                    if name.len() > 254 || *stop {
                        break;
                    }
                }
            }
            Rule::Block { name: blocked } => {
                if format!(".{name}").ends_with(&format!(".{}", qualified(blocked))) {
                    return None;
                }
            }
            Rule::Guard { .. } => {}
        }
    }
    name.pop();
    Some(name)
}

/// Whether any rule would have rewritten the name as it came.
fn matches_any(rules: &[Rule], name: &str) -> bool {
    let name = format!("{name}.");
    rules.iter().any(|rule| rewritten(rule, &name).is_some())
}

fn rewritten(rule: &Rule, name: &str) -> Option<String> {
    let Rule::Rewrite {
        matching, from, to, ..
    } = rule
    else {
        return None;
    };
    let (from, to) = (qualified(from), qualified(to));
    match matching {
        Matching::Exact => (name == from).then_some(to),
        Matching::Prefix => Some(to + name.strip_prefix(&from)?),
        Matching::Suffix => Some(name.strip_suffix(&from)?.to_owned() + &to),
    }
}

/// In lower case, with the last dot.
fn qualified(text: &str) -> String {
    format!("{}.", text.strip_suffix('.').unwrap_or(text)).to_ascii_lowercase()
}

/// Whatever the words say, a reader ends and stays inside.
fn any_words(bytes: &[u8]) {
    let chunks = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let mut record: Vec<u64> = chunks.collect();
    // A CONFIG record with rules behind its four words; no address, build or suffix.
    for (word, fixed) in record.iter_mut().zip([1, 64, 0, 0]) {
        *word = fixed;
    }
    let mut name = Name::EMPTY;
    assert!(name.push(b"www.example.com"));
    let _ = apply_rules(&record, Some(b"com"), &mut name);
}
