//! Mistakes are reported at the token that causes them, in the words of `ui/fail/*.stderr`; what is right compiles.

use crate::alone;

#[test]
fn mistakes_are_reported_where_they_are_and_with_what_to_write_instead() {
    let _alone = alone();
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/fail/*.rs");
    cases.pass("ui/pass/*.rs");
}
