//! `cargo xtask test`: every check of the project. Steps that fail fast come first.

mod clusters;
mod integration;
mod lints;
mod release;
mod units;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{project, wasm};

/// Which checks to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only this step
    #[arg(long, value_name = "NAME", value_parser = STEPS.map(|step| step.name))]
    only: Option<String>,
    /// Run the steps that take less than two minutes together: format, lints, docs and unit tests
    #[arg(long, conflicts_with = "only")]
    fast: bool,
}

/// One check.
#[derive(Clone, Copy)]
struct Step {
    /// The value of `--only`.
    name: &'static str,
    /// Whether `--fast` includes it.
    fast: bool,
    run: fn() -> Result<Outcome>,
}

/// The end of a step that did not fail.
enum Outcome {
    Passed,
    /// The machine lacks something that the step needs: what, and how to get it.
    Skipped(String),
}

const STEPS: [Step; 17] = [
    Step { name: "format", fast: true, run: lints::format },
    Step { name: "ruff", fast: true, run: lints::ruff },
    // Before the steps that compile the command, which embeds the module.
    Step { name: "build-wasm", fast: true, run: || wasm::filter().map(|_| Outcome::Passed) },
    Step { name: "clippy", fast: true, run: lints::clippy },
    Step { name: "clippy-filter", fast: true, run: lints::clippy_filter },
    Step { name: "docs", fast: true, run: lints::docs },
    Step { name: "deny", fast: false, run: lints::deny },
    Step { name: "workflows", fast: false, run: lints::workflows },
    Step { name: "unit", fast: true, run: units::host },
    Step { name: "fuzz", fast: false, run: units::fuzz },
    Step { name: "instructions", fast: false, run: units::instructions },
    Step { name: "core-wasm32", fast: false, run: units::core_wasm32 },
    Step { name: "packages", fast: false, run: release::packages },
    Step { name: "integration", fast: false, run: integration::wasm },
    Step { name: "native", fast: false, run: integration::native },
    Step { name: "istio", fast: false, run: clusters::istio },
    Step { name: "envoy-gateway", fast: false, run: clusters::envoy_gateway },
];

/// Runs the steps up to the first that fails. A step that cannot run on this machine is reported at the end; in CI it
/// is an error.
pub(crate) fn recipe(args: &Args) -> Result<()> {
    let wanted = |step: &&Step| match &args.only {
        Some(name) => step.name == name,
        None => step.fast || !args.fast,
    };
    let start = Instant::now();
    let mut passed: Vec<(&str, Duration)> = Vec::new();
    let mut skipped: Vec<(&str, String)> = Vec::new();
    for step in STEPS.iter().filter(wanted) {
        eprintln!("==> {}", step.name);
        let begun = Instant::now();
        match (step.run)().with_context(|| format!("step {} failed", step.name))? {
            Outcome::Passed => {
                eprintln!("==> {} passed in {:.1} s", step.name, begun.elapsed().as_secs_f32());
                passed.push((step.name, begun.elapsed()));
            }
            Outcome::Skipped(why) if project::ci() => bail!("step {} cannot run: {why}", step.name),
            Outcome::Skipped(why) => skipped.push((step.name, why)),
        }
    }
    for (name, time) in &passed {
        println!("{name:<14} {:>6.1} s", time.as_secs_f32());
    }
    for (name, why) in &skipped {
        println!("{name:<14} skipped: {why}");
    }
    let seconds = start.elapsed().as_secs();
    match skipped.len() {
        0 => println!("all {} steps passed in {seconds} s", passed.len()),
        skipped => println!("{} steps passed, {skipped} skipped in {seconds} s", passed.len()),
    }
    Ok(())
}
