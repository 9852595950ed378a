//! `cargo xtask test`: every check of the project, in the order in which they fail fastest.

mod clusters;
mod integration;
mod lints;
mod units;

use std::env;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::wasm;

/// One check.
struct Step {
    /// What `--only` calls it.
    name: &'static str,
    run: fn() -> Result<Outcome>,
}

/// How a step ended that did not fail.
enum Outcome {
    Passed,
    /// The machine lacks something that the step needs: which, and how to get it.
    Skipped(String),
}

const STEPS: [Step; 12] = [
    Step { name: "format", run: lints::format },
    // Before all that looks at the command, which carries the module.
    Step { name: "build-wasm", run: || wasm::filter().map(|_| Outcome::Passed) },
    Step { name: "clippy", run: lints::clippy },
    Step { name: "clippy-filter", run: lints::clippy_filter },
    Step { name: "deny", run: lints::deny },
    Step { name: "unit", run: units::host },
    Step { name: "fuzz", run: units::fuzz },
    Step { name: "instructions", run: units::instructions },
    Step { name: "core-wasm32", run: units::core_wasm32 },
    Step { name: "integration", run: integration::pytest },
    Step { name: "istio", run: clusters::istio },
    Step { name: "envoy-gateway", run: clusters::envoy_gateway },
];

/// Runs all steps, or only the one of that name, up to the first that fails. What a machine lacks is an error where
/// `CI` is set, and reported at the end elsewhere.
pub(crate) fn recipe(only: Option<&str>) -> Result<()> {
    let steps: Vec<&Step> = STEPS.iter().filter(|step| only.is_none_or(|name| name == step.name)).collect();
    if steps.is_empty() {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        bail!("no step is called {:?}\n\nhint: one of {}", only.unwrap_or_default(), names.join(", "));
    }
    let start = Instant::now();
    let mut skipped = Vec::new();
    for step in &steps {
        eprintln!("==> {}", step.name);
        let begun = Instant::now();
        let outcome = (step.run)().with_context(|| format!("step {} failed", step.name))?;
        let seconds = begun.elapsed().as_secs_f32();
        match outcome {
            Outcome::Passed => eprintln!("==> {} passed in {seconds:.1} s", step.name),
            Outcome::Skipped(why) if ci() => bail!("step {} cannot run: {why}", step.name),
            Outcome::Skipped(why) => skipped.push((step.name, why)),
        }
    }
    for (name, why) in &skipped {
        println!("skipped {name}: {why}");
    }
    let (passed, seconds) = (steps.len() - skipped.len(), start.elapsed().as_secs());
    match skipped.len() {
        0 => println!("all {passed} steps passed in {seconds} s"),
        skipped => println!("{passed} steps passed, {skipped} skipped in {seconds} s"),
    }
    Ok(())
}

/// True in CI, where nothing may be skipped.
fn ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}
