//! Parses the command line, runs it, and answers with an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    remgate::cli::main()
}
