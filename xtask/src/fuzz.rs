//! `cargo xtask fuzz`: libFuzzer on the targets in fuzz/, with a nightly compiler.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::cargo_tool;
use crate::{process, project};

const CARGO_FUZZ: &str = "0.13.1";
/// The name of rustup's toolchain. libFuzzer needs unstable options of the compiler.
const TOOLCHAIN: &str = "nightly";

/// What to fuzz.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fuzz only this target; may be repeated [default: all in fuzz/fuzz_targets]
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// How long to fuzz each target
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u32,
}

/// Fuzzes one target after the other, up to the first finding. New inputs are kept in fuzz/corpus.
pub(crate) fn recipe(args: &Args) -> Result<()> {
    let fuzz = project::root().join("fuzz");
    let all = targets(&fuzz)?;
    if let Some(unknown) = args.target.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown}\n\nhint: the targets are {}", all.join(", "));
    }
    let program = cargo_tool("cargo-fuzz", CARGO_FUZZ, "cargo-fuzz")?;
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", TOOLCHAIN, "--profile", "minimal", "--no-self-update"]);
    if !installed()? {
        process::run(&mut rustup).context("a nightly compiler is required")?;
    }
    let chosen = if args.target.is_empty() { &all } else { &args.target };
    for target in chosen {
        eprintln!("==> {target}");
        let mut run = Command::new(&program);
        // The compiler of this recipe must not be that of the fuzzer.
        run.current_dir(&fuzz).env("RUSTUP_TOOLCHAIN", TOOLCHAIN).env_remove("CARGO").env_remove("RUSTC");
        run.args(["run", target, "--", &format!("-max_total_time={}", args.seconds), "-rss_limit_mb=4096"]);
        process::run(&mut run).with_context(|| {
            format!("target {target} has a finding\n\nhint: its input is in fuzz/artifacts/{target}")
        })?;
    }
    Ok(())
}

fn targets(fuzz: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(fuzz.join("fuzz_targets"))? {
        names.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn installed() -> Result<bool> {
    let list = process::stdout(Command::new("rustup").args(["toolchain", "list"]))?;
    Ok(list.lines().any(|line| line.starts_with(TOOLCHAIN)))
}
