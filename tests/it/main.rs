//! What remgate does, seen from outside.

fn main() {}
