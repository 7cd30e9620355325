//! Builds again when a migration changed: they are embedded into the program.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
