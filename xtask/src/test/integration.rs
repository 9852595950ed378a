//! The tests in tests/: the command, a real Envoy, and clients and decoders of other projects.

use std::process::Command;

use anyhow::{Result, ensure};

use super::Outcome;
use crate::{cluster, debian, native, process, project, pytest, setup};

const KUSTOMIZE: &str = "v5.8.1";

/// The tests of what a host of the filter does: what it hands over, forwards, answers, shares, counts and reloads.
const HOST_TESTS: [&str; 11] = [
    "tests/test_access_log.py",
    "tests/test_forged.py",
    "tests/test_forged_certificates.py",
    "tests/test_hostile.py",
    "tests/test_listener_updates.py",
    "tests/test_live_changes.py",
    "tests/test_metrics.py",
    "tests/test_native.py",
    "tests/test_quota.py",
    "tests/test_rejections.py",
    "tests/test_reload.py",
];

/// All tests, with the Wasm module.
pub(super) fn wasm() -> Result<Outcome> {
    pytest(&["tests"], |_| Ok(()))
}

/// Those that depend on the filter's host, with the native module.
pub(super) fn native() -> Result<Outcome> {
    pytest(&HOST_TESTS, |pytest| {
        pytest.env("NATIVE_MODULE", native::for_tests()?);
        Ok(())
    })
}

fn pytest(tests: &[&str], configure: impl FnOnce(&mut Command) -> Result<()>) -> Result<Outcome> {
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
        "--ignore=tests/cluster",
    ]);
    pytest.args(tests);
    configure(&mut pytest)?;
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
    ensure!(pytest::run(&mut pytest)?, "no test was selected");
    Ok(Outcome::Passed)
}
