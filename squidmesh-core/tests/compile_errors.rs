//! The mistakes of a first day that the compiler finds: what it says, at which line, and what to do.
//!
//! The expected texts stand beside the programs. After a new compiler, `TRYBUILD=overwrite` writes them again: read the
//! difference before it is committed.

#[test]
fn the_compiler_says_what_is_missing_at_the_line_of_the_mistake() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
