//! What must build and what must not, and what rustc says then.
//!
//! The `pass` cases make trybuild *build* rather than check, which is what finds a handler that captures. After a new
//! compiler has changed its words, `TRYBUILD=overwrite cargo test -p dreamsocket --test compile` records them anew; read
//! the difference.

#[test]
fn handlers_that_fit_build_and_others_say_what_to_do() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile/pass/*.rs");
    cases.compile_fail("tests/compile/fail/*.rs");
}
