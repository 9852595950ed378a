//! Runs of pytest.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// pytest's exit codes if tests failed, and if none was selected.
const FAILED: i32 = 1;
const NO_TESTS: i32 = 5;

/// Runs the tests of this command. Those that fail are run once more, one by one: the machine may have been too busy
/// for their times. It is an error if one fails again. Returns whether any test was selected.
pub(crate) fn run(pytest: &mut Command) -> Result<bool> {
    let status = process::status(pytest)?;
    match status.code() {
        Some(0) => return Ok(true),
        Some(NO_TESTS) => return Ok(false),
        Some(FAILED) => {}
        _ => bail!("{}", process::failure(pytest, status)),
    }
    eprintln!("==> the failed tests once more, one by one: one that fails again is an error");
    pytest.args(["--last-failed", "--last-failed-no-failures=none", "--numprocesses=0", "--maxfail=1", "-v"]);
    process::run(pytest)?;
    eprintln!("==> they passed this time: see above which, and why they failed before");
    Ok(true)
}
