//! The tables of `docs/compatibility.md`, read: what each row names, what it says of it, and who witnesses that.

use std::path::{Path, PathBuf};

use keycard_wire::route::Row;

use super::operation::{self, Operation};

pub(crate) const PAGE: &str = "docs/compatibility.md";

/// The sections that are about a face: how the heading begins, and what the face is called.
const FACES: &[(&str, &str)] = &[
    ("IMDS", "imds"),
    ("App Service", "app_service"),
    ("Azure Arc", "arc"),
    ("Service Fabric", "service_fabric"),
    ("Cloud Shell", "cloud_shell"),
    ("Azure Machine Learning", "azure_ml"),
    ("Token service", "entra"),
    ("Resource Manager", "arm"),
    ("Microsoft Graph", "graph"),
    ("Key Vault", "key_vault"),
    ("Check endpoint", "authorize"),
    ("Cluster issuer", "cluster_issuer"),
];

/// What the page calls a face.
pub(crate) fn heading(face: &str) -> &'static str {
    FACES.iter().find(|(_, name)| *name == face).map_or("", |(heading, _)| *heading)
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A test, as the table names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    /// `KIND: FILE::NAME`, or `KIND: FILE` where the kind's tests have no names that could be found.
    Test { kind: String, file: String, name: Option<String> },
    /// Unit tests of a source file.
    Units(String),
}

/// A row of a table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) line: usize,
    pub(crate) face: Option<&'static str>,
    pub(crate) subject: String,
    pub(crate) status: String,
    pub(crate) operations: Vec<Operation>,
    pub(crate) witnesses: Vec<Witness>,
    /// The witnesses as they are written.
    pub(crate) witnesses_written: String,
}

impl Entry {
    /// Where the row says that keycard refuses: with which status, if it names one first.
    pub(crate) fn refusal(&self) -> Option<Option<u16>> {
        let said = self.status.strip_prefix("refused")?;
        let number = said.strip_prefix(" with ").map(|rest| {
            rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
        });
        Some(number.flatten())
    }

    /// Whether the row is about this operation of this face.
    pub(crate) fn names(&self, face: &str, row: &Row) -> bool {
        self.precision(face, row).is_some()
    }

    /// How exactly the row names the operation, if it does.
    pub(crate) fn precision(&self, face: &str, row: &Row) -> Option<usize> {
        let of_row = self.operations.iter().filter(|operation| operation.is_of(row));
        of_row.map(Operation::precision).max().filter(|_| self.face == Some(face))
    }

    pub(crate) fn complaint(&self, what: &str) -> String {
        format!("{PAGE}:{}: `{}`: {what}", self.line, self.subject)
    }
}

/// The page, and what cannot be read of it.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    pub(crate) complaints: Vec<String>,
}

impl Page {
    pub(crate) fn read(rows: &[(&'static str, Row)]) -> Self {
        Self::parse(&std::fs::read_to_string(root().join(PAGE)).unwrap(), rows)
    }

    pub(crate) fn parse(text: &str, rows: &[(&'static str, Row)]) -> Self {
        let mut page = Self::default();
        let mut face = None;
        for (index, line) in text.lines().enumerate() {
            if let Some(heading) = line.strip_prefix("## ") {
                let found = FACES.iter().find(|(begin, _)| heading.starts_with(begin));
                face = found.map(|(_, face)| *face);
            }
            let Some(cells) = cells(line) else { continue };
            let [subject, status, _, witnesses] = cells.as_slice() else {
                if face.is_some() {
                    page.complaints.push(format!(
                        "{PAGE}:{}: {} cells and not 4: operation, status, what differs, witness",
                        index + 1,
                        cells.len()
                    ));
                }
                continue;
            };
            if *witnesses == "witness" || witnesses.starts_with("---") {
                continue;
            }
            let mut entry = Entry {
                line: index + 1,
                face,
                subject: (*subject).to_owned(),
                status: (*status).to_owned(),
                operations: Vec::new(),
                witnesses: Vec::new(),
                witnesses_written: (*witnesses).to_owned(),
            };
            let of_face: Vec<Row> = rows
                .iter()
                .filter(|(name, _)| Some(*name) == face)
                .map(|(_, row)| row.clone())
                .collect();
            match operation::read(subject, &of_face, entry.refusal().is_some()) {
                Ok(operations) => entry.operations = operations,
                Err(error) => page.complaints.push(entry.complaint(&error)),
            }
            match self::witnesses(witnesses) {
                Ok(witnesses) => entry.witnesses = witnesses,
                Err(error) => page.complaints.push(entry.complaint(&error)),
            }
            page.entries.push(entry);
        }
        page
    }
}

/// The cells of a line of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn witnesses(cell: &str) -> Result<Vec<Witness>, String> {
    let mut found = Vec::new();
    let mut kind = String::new();
    for name in cell.split('`').skip(1).step_by(2) {
        if name.ends_with(".rs") && name.contains('/') {
            found.push(Witness::Units(name.to_owned()));
            continue;
        }
        let rest = match name.split_once(": ") {
            Some((own, rest)) => {
                own.clone_into(&mut kind);
                rest
            }
            None => name,
        };
        if kind.is_empty() {
            return Err(format!("`{name}`: write of which kind it is, as in `wire: FILE::NAME`"));
        }
        let (file, name) = match rest.split_once("::") {
            Some((file, name)) => (file, Some(name.to_owned())),
            None => (rest, None),
        };
        found.push(Witness::Test { kind: kind.clone(), file: file.to_owned(), name });
    }
    Ok(found)
}

impl Witness {
    /// Why there is no such test, if there is none.
    pub(crate) fn absence(&self) -> Option<String> {
        let (kind, file, name) = match self {
            Self::Units(path) => {
                let has_tests = |text: String| text.contains("#[cfg(test)]");
                let found = std::fs::read_to_string(root().join(path)).is_ok_and(has_tests);
                return (!found).then(|| format!("{path} has no unit tests"));
            }
            Self::Test { kind, file, name } => (kind.as_str(), file.as_str(), name.as_deref()),
        };
        let path = match kind {
            "wire" => format!("crates/keycard/tests/wire/{file}.rs"),
            "node" => format!("conformance/node/{file}.test.js"),
            "rust" => format!("conformance/rust/tests/{file}.rs"),
            _ => format!("conformance/{kind}/test_{file}.py"),
        };
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            return Some(format!("there is no file {path}"));
        };
        let Some(name) = name else {
            let may_be_bare = matches!(kind, "node" | "rust");
            return (!may_be_bare)
                .then(|| format!("`{kind}: {file}` names no test: write `{kind}: {file}::NAME`"));
        };
        let is_there = match kind {
            "wire" | "rust" => is_rust_test(&text, name),
            "node" => text.contains(name),
            _ => text.lines().any(|line| {
                let line = line.trim_start();
                let line = line.strip_prefix("async ").unwrap_or(line);
                line.starts_with(&format!("def test_{name}("))
            }),
        };
        (!is_there).then(|| format!("there is no test `{name}` in {path}"))
    }
}

/// Whether the text has a function of this name that the harness runs.
fn is_rust_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(index, line)| {
        let begins =
            ["fn ", "async fn "].iter().any(|word| line.starts_with(&format!("{word}{name}(")));
        let above = lines[..index].iter().rev();
        begins
            && above
                .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
                .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}
