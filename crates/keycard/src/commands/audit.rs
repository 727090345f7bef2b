//! `keycard audit verify`: is the audit log whole?

use std::path::PathBuf;

use keycard_store::audit_log;

use crate::cli::{Failure, Output, print};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Audit {
    /// Walk the hash chain of a data directory's audit log.
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Write JSON for programs, or a line for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Audit {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Self::Verify(verify) = self;
        let log = verify.data_dir.join("audit");
        if !log.is_dir() {
            return Err(Failure(format!("{} holds no audit log", verify.data_dir.display())));
        }
        let verified = audit_log::verify(&log)?;
        match verify.output {
            Output::Json => print(&serde_json::to_string(&serde_json::json!({
                "records": verified.records,
                "segments": verified.segments,
                "lastHash": verified.last_hash,
            }))?),
            Output::Table => print(&format!(
                "The chain is whole: {} records in {} segments, last hash {}.",
                verified.records, verified.segments, verified.last_hash
            )),
        }
    }
}
