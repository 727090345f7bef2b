//! What was measured: rows beside their reference and budget, as a table and as JSON.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::Outcome;

/// What a row must keep to.
#[derive(Clone, Copy)]
pub(crate) enum Budget {
    ValueBelow(f64),
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// Shown for orientation.
    None,
}

/// One measurement.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) reference: Reference,
    pub(crate) budget: Budget,
    /// Where the time goes, spread, or why there is no value.
    pub(crate) notes: Vec<String>,
}

/// What stands beside the value, measured in the same run.
pub(crate) enum Reference {
    /// Nothing to compare with.
    None,
    /// It could not be measured.
    Missing(String),
    Measured {
        what: &'static str,
        value: f64,
    },
}

/// A row in the shape of the contract.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    value: Option<f64>,
    unit: &'a str,
    reference: &'a str,
    reference_value: f64,
    ratio: Option<f64>,
    budget: Option<String>,
    met: Option<bool>,
    notes: &'a [String],
}

impl Row {
    /// A row of which nothing could be measured.
    pub(crate) fn failed(name: &'static str, reason: String) -> Self {
        Self {
            name,
            value: f64::NAN,
            unit: "",
            reference: Reference::None,
            budget: Budget::None,
            notes: vec![reason],
        }
    }

    fn is_measured(&self) -> bool {
        self.value.is_finite()
    }

    /// Value by reference: 1 is as much as the reference.
    fn ratio(&self) -> Option<f64> {
        match self.reference {
            Reference::Measured { value, .. } if value > 0.0 => Some(self.value / value),
            Reference::Measured { .. } | Reference::None | Reference::Missing(_) => None,
        }
    }

    /// Whether the budget is kept; `None` where there is none.
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.budget {
            _ if !self.is_measured() => Some(false),
            Budget::None => None,
            Budget::ValueBelow(limit) => Some(self.value < limit),
            Budget::RatioAtMost(limit) => Some(self.ratio().is_some_and(|ratio| ratio <= limit)),
            Budget::RatioAtLeast(limit) => Some(self.ratio().is_some_and(|ratio| ratio >= limit)),
        }
    }

    fn budget(&self) -> Option<String> {
        match self.budget {
            Budget::None => None,
            Budget::ValueBelow(limit) => Some(format!("value < {limit} {}", self.unit)),
            Budget::RatioAtMost(limit) => Some(format!("ratio <= {limit}")),
            Budget::RatioAtLeast(limit) => Some(format!("ratio >= {limit}")),
        }
    }

    fn entry(&self) -> Entry<'_> {
        let (reference, reference_value) = match &self.reference {
            Reference::None => ("none", 0.0),
            Reference::Missing(why) => (why.as_str(), 0.0),
            Reference::Measured { what, value } => (*what, *value),
        };
        Entry {
            name: self.name,
            value: self.is_measured().then(|| rounded(self.value)),
            unit: self.unit,
            reference,
            reference_value: rounded(reference_value),
            ratio: self.ratio().map(rounded),
            budget: self.budget(),
            met: self.is_met(),
            notes: &self.notes,
        }
    }
}

/// To four digits after the point: more is noise.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// Writes all rows to a file.
pub(crate) fn write_json(rows: &[Row], path: &Path) -> Outcome<()> {
    let entries: Vec<Entry<'_>> = rows.iter().map(Row::entry).collect();
    let mut text = serde_json::to_string_pretty(&entries)?;
    text.push('\n');
    Ok(fs::write(path, text)?)
}

/// All rows with aligned columns, then the notes of those that miss their budget.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = vec![["", "value", "reference", "ratio", "budget", "met"].map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let widths: Vec<usize> = (0..6)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            // Names to the left, numbers to the right.
            let cell = if column == 0 || column > 3 {
                format!("{cell}{padding}")
            } else {
                format!("{padding}{cell}")
            };
            text.push_str(&cell);
            text.push_str("  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for row in rows.iter().filter(|row| row.is_met() == Some(false)) {
        text.push_str(&format!("\nnot met: {}\n", row.name));
        for note in &row.notes {
            text.push_str(&format!("  {note}\n"));
        }
    }
    text
}

fn cells(row: &Row) -> [String; 6] {
    let entry = row.entry();
    let number = |value: f64| match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let reference = match &row.reference {
        Reference::None => "–".to_owned(),
        Reference::Missing(why) => why.clone(),
        Reference::Measured { what, value } => format!("{what}: {}", number(*value)),
    };
    [
        row.name.to_owned(),
        entry
            .value
            .map_or_else(|| "–".to_owned(), |value| format!("{} {}", number(value), row.unit)),
        reference,
        entry.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
        entry.budget.unwrap_or_else(|| "–".to_owned()),
        match entry.met {
            Some(true) => "yes".to_owned(),
            Some(false) => "NO".to_owned(),
            None => "–".to_owned(),
        },
    ]
}
