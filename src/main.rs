//! Parses the command line, runs it, and answers with an exit code.

fn main() {}
