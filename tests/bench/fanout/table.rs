//! The results: what was measured, and what follows from it for as many agents as the other way was measured with.

use crate::{meter::Spent, say};
use anyhow::{Context, Result};
use core::fmt;
use std::time::Duration;

/// How agents are fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By watches of their own.
    Watches,
    /// Through NATS.
    Nats,
}

/// One event, with so many agents.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    event: &'static str,
    way: Way,
    agents: usize,
    spent: Spent,
    /// Until the last agent had the last change; unknown where it is not measured.
    slowest: Option<Duration>,
}

impl Row {
    /// What was seen.
    pub(crate) fn measured(
        event: &'static str,
        way: Way,
        agents: usize,
        spent: Spent,
        slowest: Duration,
    ) -> Self {
        say(&format!(
            "{event}, {agents} agents: {slowest:.1?} until the slowest, {spent:?}"
        ));
        Self {
            event,
            way,
            agents,
            spent,
            slowest: Some(slowest),
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds, for each event, what watches of `agents` agents would cost: by the straight line nearest to
    /// what was measured with fewer (least squares).
    pub(crate) fn extrapolate(&mut self, agents: usize) -> Result<()> {
        let mut added = Vec::new();
        for event in ["start", "10 % rollout", "API server restarts"] {
            let measured = self.rows.iter();
            let measured: Vec<&Row> = measured
                .filter(|row| row.event == event && row.way == Way::Watches)
                .collect();
            if measured.len() < 2 {
                continue;
            }
            let line = |value: fn(&Spent) -> f64| {
                let points = measured.iter();
                let points = points.map(|row| (row.agents as f64, value(&row.spent)));
                at(&points.collect::<Vec<_>>(), agents as f64)
            };
            added.push(Row {
                event,
                way: Way::Watches,
                agents,
                spent: Spent {
                    api_server: line(|spent| spent.api_server).context("no line")?,
                    api_bytes: line(|spent| spent.api_bytes as f64).context("no line")? as u64,
                    api_connections: line(|spent| spent.api_connections as f64)
                        .context("no line")? as usize,
                    ..Spent::default()
                },
                slowest: None,
            });
        }
        self.rows.extend(added);
        Ok(())
    }
}

/// The value at `x` of the line nearest to the points.
fn at(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let count = points.len() as f64;
    let (mean_x, mean_y) = (
        points.iter().map(|point| point.0).sum::<f64>() / count,
        points.iter().map(|point| point.1).sum::<f64>() / count,
    );
    let spread: f64 = points.iter().map(|point| (point.0 - mean_x).powi(2)).sum();
    let slope = points
        .iter()
        .map(|point| (point.0 - mean_x) * (point.1 - mean_y))
        .sum::<f64>()
        / spread;
    (spread > 0.0).then_some(mean_y + slope * (x - mean_x))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "event,agents,fed by,connections to the API server,to NATS,MB from the API server,MB from NATS,\
             CPU s of the API server,CPU s of NATS,CPU s of the publishers,s until the slowest agent"
        )?;
        let mut rows = self.rows.clone();
        let order = |row: &Row| ORDER.iter().position(|event| *event == row.event);
        rows.sort_by_key(|row| (order(row), row.way == Way::Nats, row.agents));
        for row in rows {
            let spent = &row.spent;
            let nats = row.way == Way::Nats;
            let only = |there: bool, text: String| if there { text } else { "-".to_owned() };
            let fed = match (row.way, row.slowest) {
                (Way::Nats, _) => "NATS",
                (Way::Watches, Some(_)) => "watches",
                (Way::Watches, None) => "watches (extrapolated)",
            };
            writeln!(
                f,
                "{},{},{fed},{},{},{:.1},{},{:.1},{},{},{}",
                row.event,
                row.agents,
                spent.api_connections,
                only(nats, spent.nats_connections.to_string()),
                spent.api_bytes as f64 / 1e6,
                only(nats, format!("{:.1}", spent.nats_bytes as f64 / 1e6)),
                spent.api_server,
                only(nats, format!("{:.1}", spent.nats)),
                only(nats, format!("{:.1}", spent.publishers)),
                row.slowest
                    .filter(|_| row.agents > 0)
                    .map_or("-".to_owned(), |slowest| format!(
                        "{:.1}",
                        slowest.as_secs_f64()
                    )),
            )?;
        }
        Ok(())
    }
}

/// Events in the table's order.
const ORDER: [&str; 4] = [
    "start",
    "10 % rollout",
    "API server restarts",
    "NATS restarts",
];
