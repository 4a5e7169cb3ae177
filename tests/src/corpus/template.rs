//! Calls with braces: `gai {a,b} 1` stands for two.

use std::fmt::Write;

/// A template in pieces, each with its alternatives: `a {b,c}` is `["a "]`, `["b", "c"]`.
pub(super) fn alternatives(template: &str) -> Vec<Vec<String>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, (inside, behind))) = rest
        .split_once('{')
        .and_then(|(before, behind)| Some((before, behind.split_once('}')?)))
    {
        pieces.push(vec![before.to_owned()]);
        pieces.push(inside.split(',').map(str::to_owned).collect());
        rest = behind;
    }
    pieces.push(vec![rest.to_owned()]);
    pieces
}

/// Every choice of alternatives, the last piece varying fastest.
pub(super) fn expand(pieces: &[Vec<String>]) -> Vec<String> {
    let mut calls = vec![String::new()];
    for piece in pieces {
        let longer = calls
            .iter()
            .flat_map(|call| piece.iter().map(move |choice| format!("{call}{choice}")));
        calls = longer.collect();
    }
    calls
}

/// Appends the fewest lines with braces that hold what `outcome` says of each call; a call of which
/// it says nothing stands alone.
pub(super) fn take_apart(
    text: &mut String,
    template: &str,
    outcome: &dyn Fn(&str) -> Option<String>,
) {
    let mut open = vec![alternatives(template)];
    while let Some(pieces) = open.pop() {
        let calls = expand(&pieces);
        let Some(first) = calls.first() else { continue };
        let said = outcome(first);
        if calls.iter().all(|call| outcome(call) == said) {
            let call: String = pieces
                .iter()
                .map(|piece| match &piece[..] {
                    [only] => only.clone(),
                    many => format!("{{{}}}", many.join(",")),
                })
                .collect();
            let columns = said.map_or_else(String::new, |said| format!("\t{said}"));
            let _ = writeln!(text, "{call}{columns}");
            continue;
        }
        // Apart at the first piece that makes a difference, choices alike staying together.
        for number in 0..pieces.len() {
            let mut groups: Vec<(Vec<Option<String>>, Vec<String>)> = Vec::new();
            for choice in &pieces[number] {
                let mut fixed = pieces.clone();
                fixed[number] = vec![choice.clone()];
                let outcomes: Vec<_> = expand(&fixed).iter().map(|call| outcome(call)).collect();
                match groups.iter_mut().find(|(known, _)| *known == outcomes) {
                    Some((_, choices)) => choices.push(choice.clone()),
                    None => groups.push((outcomes, vec![choice.clone()])),
                }
            }
            if groups.len() > 1 {
                for (_, choices) in groups.into_iter().rev() {
                    let mut part = pieces.clone();
                    part[number] = choices;
                    open.push(part);
                }
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_taken_apart_where_it_must_be() {
        let outcome = |call: &str| Some(if call == "y 2" { "odd" } else { "even" }.to_owned());
        let mut text = String::new();
        take_apart(&mut text, "{x,y,z} {1,2}", &outcome);
        assert_eq!(text, "{x,z} {1,2}\teven\ny 1\teven\ny 2\todd\n");
    }
}
