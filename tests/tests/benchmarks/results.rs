//! A table as a bench leaves it: lines of cells between commas, the first with the heads.

use anyhow::{Context, Result, ensure};

/// Heads and rows, all of one width. No cell holds a comma.
pub(crate) struct Results {
    /// What the columns hold.
    heads: Vec<String>,
    /// The cells below.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Results {
    /// Reads lines between commas.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut lines = text
            .lines()
            .map(|line| line.split(',').map(|cell| cell.trim().to_owned()).collect());
        let heads: Vec<String> = lines.next().context("no heads")?;
        let rows: Vec<Vec<String>> = lines.collect();
        ensure!(!rows.is_empty(), "no rows");
        for row in &rows {
            ensure!(
                row.len() == heads.len(),
                "not as wide as the heads: {row:?}"
            );
        }
        Ok(Self { heads, rows })
    }

    /// Where a column is.
    pub(crate) fn column(&self, head: &str) -> Result<usize> {
        let mut found = self.heads.iter().enumerate().filter(|(_, it)| *it == head);
        let (at, _) = found
            .next()
            .with_context(|| format!("no column {head:?}"))?;
        ensure!(found.next().is_none(), "two columns {head:?}");
        Ok(at)
    }

    /// The table as documents have it: thousands apart.
    pub(crate) fn markdown(&self) -> String {
        let mut table = line(self.heads.iter().cloned());
        table += &format!("|{}\n", "---|".repeat(self.heads.len()));
        for row in &self.rows {
            table += &line(row.iter().map(|cell| grouped(cell)));
        }
        table
    }
}

/// A whole number with a comma after every three digits from its end; anything else as it is.
pub(crate) fn grouped(cell: &str) -> String {
    if cell.is_empty() || !cell.bytes().all(|byte| byte.is_ascii_digit()) {
        return cell.to_owned();
    }
    let mut grouped = String::new();
    for (at, digit) in cell.chars().enumerate() {
        if at > 0 && (cell.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// One line of a table.
fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("| {} |\n", cells.join(" | "))
}

#[test]
fn digits_are_grouped_from_the_end() {
    for (cell, expected) in [
        ("1", "1"),
        ("999", "999"),
        ("1000", "1,000"),
        ("1596669", "1,596,669"),
        ("12.5", "12.5"),
        ("-", "-"),
        ("", ""),
    ] {
        assert_eq!(grouped(cell), expected);
    }
}
