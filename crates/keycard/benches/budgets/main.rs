//! The budgets of the design, each measured beside its reference in the same run.
//!
//! The servers are processes of their own, so that their CPU time and memory can be told from the load generator's.
//! The machine may be shared and noisy: slices of keycard and of its reference alternate, and medians are compared.
//!
//! `./bench NAME…` runs the rows whose name contains a NAME; `--list` names them all. The long ones run only by name.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time, and waits for real servers"
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its table and progress are its output"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::expect_used,
    reason = "a benchmark stops at the first surprise"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "measurements are small and positive"
)]

mod cloud;
mod load;
mod process;
mod report;
mod rows;
mod wire;
mod world;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use tempfile::TempDir;

use crate::report::Row;
use crate::rows::{GROUPS, Group};

/// A result whose error is only told.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How the benchmark was called.
pub(crate) struct Settings {
    /// The release binary under measurement.
    pub(crate) binary: PathBuf,
    /// Where the results and logs go, and temporary directories: on the disk that is measured.
    pub(crate) output: PathBuf,
    wanted: Vec<String>,
}

impl Settings {
    fn from_arguments() -> Outcome<Self> {
        let own = env::current_exe()?;
        // target/release/deps/budgets-… stands below target/release/keycard and target/bench.
        let target = own.ancestors().nth(3).ok_or("the benchmark is not in a target directory")?;
        let mut settings = Self {
            binary: target.join("release/keycard"),
            output: target.join("bench"),
            wanted: Vec::new(),
        };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut path = || arguments.next().map(PathBuf::from).ok_or("a path is missing");
            match argument.as_str() {
                "--binary" => settings.binary = path()?,
                "--output" => settings.output = path()?,
                // Cargo's own.
                "--bench" => {}
                _ => settings.wanted.push(argument.to_lowercase()),
            }
        }
        fs::create_dir_all(&settings.output)?;
        Ok(settings)
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.wanted.is_empty() || self.wanted.iter().any(|part| name.contains(part))
    }

    fn wants_group(&self, group: &Group) -> bool {
        let is_left_out = group.is_long && self.wanted.is_empty();
        !is_left_out && group.rows.iter().any(|name| self.wants(name))
    }

    pub(crate) fn temporary_directory(&self) -> Outcome<TempDir> {
        Ok(tempfile::Builder::new().prefix("run-").tempdir_in(&self.output)?)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Fails if something could not be measured; a budget that is not met is a result.
fn run() -> Outcome<ExitCode> {
    if env::args().any(|argument| argument == "--list") {
        GROUPS.iter().flat_map(|group| group.rows).for_each(|name| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::from_arguments()?;
    let groups: Vec<&Group> = GROUPS.iter().filter(|group| settings.wants_group(group)).collect();
    if groups.is_empty() {
        return Err("no row has such a name; --list names them all".into());
    }
    let mut rows = Vec::new();
    let mut is_whole = true;
    for (number, group) in groups.iter().enumerate() {
        eprintln!("bench: {} of {}: {}", number + 1, groups.len(), group.rows.join("; "));
        let measured = (group.measure)(&settings).unwrap_or_else(|error| {
            is_whole = false;
            let failed = |name: &&'static str| Row::failed(name, format!("not measured: {error}"));
            group.rows.iter().map(failed).collect()
        });
        for row in measured.into_iter().filter(|row| settings.wants(row.name)) {
            row.notes.iter().for_each(|note| eprintln!("bench:   {note}"));
            rows.push(row);
        }
    }
    let path = settings.output.join("results.json");
    report::write_json(&rows, &path)?;
    println!("{}", report::table(&rows));
    println!("As JSON: {}", path.display());
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
