//! The tests in tests/: the command that a user runs, a real Envoy, and clients that nobody here wrote.

use std::process::Command;

use anyhow::Result;

use super::Outcome;
use crate::{process, project, setup};

pub(super) fn pytest() -> Result<Outcome> {
    let Ok(telemetrygen) = setup::telemetrygen() else {
        return Ok(Outcome::Skipped("telemetrygen is built with Go, and go is not on PATH".into()));
    };
    let python = setup::python()?;
    process::run(project::cargo().args(["build", "--package", "otlp-gate"]))?;
    let mut pytest = Command::new(python.interpreter);
    pytest.current_dir(project::root()).args([
        "-m",
        "pytest",
        "--timeout=120",
        "tests",
        "--ignore=tests/cluster",
    ]);
    pytest.env("OTLP_GATE", project::target_dir()?.join("debug/otlp-gate"));
    pytest.env("ENVOY", python.envoy).env("TELEMETRYGEN", telemetrygen);
    process::run(&mut pytest)?;
    Ok(Outcome::Passed)
}
