//! The tests in tests/: the command, a real Envoy, and clients and decoders of other projects.

use std::process::Command;

use anyhow::Result;

use super::Outcome;
use crate::{cluster, debian, process, project, setup};

const KUSTOMIZE: &str = "v5.8.1";

pub(super) fn pytest() -> Result<Outcome> {
    let (telemetrygen, pdata) = match (setup::telemetrygen(), setup::pdata()) {
        (Ok(telemetrygen), Ok(pdata)) => (telemetrygen, pdata),
        (Err(error), _) | (_, Err(error)) => match process::go() {
            Err(missing) => return Ok(Outcome::Skipped(missing.to_string())),
            Ok(_) => return Err(error),
        },
    };
    let kustomize = setup::go_tool("kustomize", "sigs.k8s.io/kustomize/kustomize/v5", KUSTOMIZE)?;
    // Its server has TLS. Without it the tests skip the engine that is deployed; in CI that is an error.
    match debian::require(&["redis-tools"]) {
        Err(error) if project::ci() => return Err(error),
        Err(error) => eprintln!("the engine that is deployed is not tested with TLS: {error:#}"),
        Ok(()) => {}
    }
    let python = setup::python()?;
    let command = project::command()?;
    let mut pytest = Command::new(python.interpreter);
    pytest.current_dir(project::root()).args([
        "-m",
        "pytest",
        "--timeout=120",
        "--durations=10",
        // Tests mostly wait, so more of them than cores.
        "--numprocesses=3",
        "--dist=worksteal",
        "tests",
        "--ignore=tests/cluster",
    ]);
    pytest.env("OTLP_GATE", command).env("KUSTOMIZE", kustomize);
    pytest.env("ENVOY", python.envoy).env("TELEMETRYGEN", telemetrygen).env("PDATA", pdata);
    // It has been built for a cluster, or will be.
    pytest.env("OTELCOL", cluster::collector()?);
    // Without it the tests skip alarms and dashboards; in CI that is an error.
    match setup::prometheus() {
        Ok(folder) => _ = pytest.env("PROMETHEUS", folder),
        Err(error) if project::ci() => return Err(error),
        Err(error) => eprintln!("alarms and dashboards are not tested: {error:#}"),
    }
    // Without Node the tests skip these decoders.
    if process::find("node").is_some() {
        pytest.env("PROTOBUFJS", setup::protobufjs()?);
    }
    process::run(&mut pytest)?;
    Ok(Outcome::Passed)
}
