//! Finds libvosk for the linker.

fn main() {}
