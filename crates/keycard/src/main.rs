//! The binary: hands the arguments to the command line and returns its exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    keycard::cli::main()
}
