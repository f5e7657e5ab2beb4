//! The demo's page in a browser, and what the demo leaves behind: nothing. What the page has to show is known to
//! tests/demo, whose tests are Python's; this file runs them.

use super::util::python_tests;

#[test]
fn the_page_shows_each_way_and_nobody_else_makes_load() {
    // The demo installs what was built.
    let target = std::env::var("CARGO_TARGET_DIR").map(|target| ("CARGO_TARGET_DIR", target));
    let variables: Vec<_> = target.into_iter().collect();
    python_tests("demo", 6, &variables);
}
