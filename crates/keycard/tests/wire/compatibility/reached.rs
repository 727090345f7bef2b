//! Which routes the present test has asked for, so that a witness which never asks for its operation is found out.
//!
//! Faces run on the test's own thread, and say of each request which row it reached; so what is noted is the thread's.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;

use keycard_wire::route::Row;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

use super::table::{PAGE, Page, Witness, root};

thread_local! {
    static REACHED: RefCell<BTreeSet<Reached>> = const { RefCell::new(BTreeSet::new()) };
    static LISTENING: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Reached {
    method: String,
    path: String,
}

impl Visit for Reached {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "method" => self.method = format!("{value:?}"),
            "row" => self.path = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Hears what the router says and nothing else.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "keycard_wire::route"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut reached = Reached::default();
        event.record(&mut reached);
        REACHED.with_borrow_mut(|all| all.insert(reached));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Held by a server of a test: at its end, the test has asked for what it is named as a witness of.
#[derive(Debug)]
pub(crate) struct Witnessing(Vec<(&'static str, Row)>);

impl Witnessing {
    /// Begins to note what the thread's tests ask for.
    pub(crate) fn begin(rows: Vec<(&'static str, Row)>) -> Self {
        let is_listening = LISTENING.with_borrow(Option::is_some);
        if !is_listening {
            LISTENING.set(Some(tracing::subscriber::set_default(Listener)));
        }
        Self(rows)
    }
}

impl Drop for Witnessing {
    fn drop(&mut self) {
        let thread = std::thread::current();
        let Some((file, test)) = thread.name().and_then(|name| name.split_once("::")) else {
            return;
        };
        if std::thread::panicking() {
            return;
        }
        let has_reached = |row: &Row| {
            let sought = Reached { method: row.method.to_string(), path: row.path.to_owned() };
            REACHED.with_borrow(|all| all.contains(&sought))
        };
        let own = Witness::Test {
            kind: "wire".to_owned(),
            file: file.to_owned(),
            name: Some(test.to_owned()),
        };
        // Few lines name the test, and reading all of them would take longer than many tests do.
        let name = format!("{file}::{test}`");
        let text = std::fs::read_to_string(root().join(PAGE)).unwrap();
        let is_read = |line: &&str| line.starts_with("## ") || line.contains(&name);
        let lines = text.lines().map(|line| Some(line).filter(is_read).unwrap_or_default());
        let lines: Vec<&str> = lines.collect();
        for entry in Page::parse(&lines.join("\n"), &self.0).entries {
            let is_silent = entry.operations.is_empty() || entry.refusal().is_some();
            if is_silent || !entry.witnesses.contains(&own) {
                continue;
            }
            let asks = self.0.iter().any(|(face, row)| entry.names(face, row) && has_reached(row));
            assert!(
                asks,
                "{}",
                entry.complaint("names this test as a witness, which asked for none of it")
            );
        }
    }
}
