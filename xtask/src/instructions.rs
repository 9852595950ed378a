//! `cargo xtask instructions`: counts the instructions of the code that runs for every request.
//!
//! Times differ between runs and machines. Counts hardly do, so a test can compare them with bench/instructions.txt.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{debian, process, project};

/// The Debian package with the program that counts.
pub(crate) const PACKAGES: [&str; 1] = ["valgrind"];
const PACKAGE: &str = "otlp-gate-bench-instructions";
/// The function whose calls are counted, each separately.
const MEASURED: &str = "otlp_gate_measured";
/// An increase by more than this, in percent, is a failure. The C library copies differently on other processors.
const TOLERANCE: u64 = 5;

/// A piece of work and its instructions.
type Count = (String, u64);

/// Counts, and compares with the table, or writes the table.
pub(crate) fn recipe(bless: bool) -> Result<()> {
    debian::require(&PACKAGES)?;
    let counts = count()?;
    let table = project::root().join("bench/instructions.txt");
    if bless {
        let mut text = String::new();
        for (name, count) in &counts {
            writeln!(text, "{count:>9} {name}")?;
        }
        return fs::write(&table, text).with_context(|| format!("writing {}", table.display()));
    }
    compare(&counts, &read(&table)?)
}

fn count() -> Result<Vec<Count>> {
    process::run(project::cargo().args(["build", "--release", "--package", PACKAGE]))?;
    let target = project::target_dir()?;
    let dumps = target.join("instructions");
    if dumps.exists() {
        fs::remove_dir_all(&dumps).with_context(|| format!("removing {}", dumps.display()))?;
    }
    fs::create_dir_all(&dumps).with_context(|| format!("making {}", dumps.display()))?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--collect-atstart=no"]);
    valgrind.args([format!("--toggle-collect={MEASURED}"), format!("--dump-after={MEASURED}")]);
    valgrind.arg(format!("--callgrind-out-file={}", dumps.join("dump").display()));
    let names = process::stdout(valgrind.arg(target.join("release").join(PACKAGE)))?;
    let dump = |(number, name): (usize, &str)| {
        Ok((name.to_owned(), total(&dumps.join(format!("dump.{}", number + 1)))?))
    };
    names.lines().enumerate().map(dump).collect()
}

/// The instructions of a dump (Callgrind's format, 4.2: "summary").
fn total(dump: &Path) -> Result<u64> {
    let text = fs::read_to_string(dump).with_context(|| format!("reading {}", dump.display()))?;
    let summary = text.lines().find_map(|line| line.strip_prefix("summary: "));
    summary.and_then(|count| count.parse().ok()).with_context(|| format!("{}: no summary", dump.display()))
}

fn read(table: &PathBuf) -> Result<Vec<Count>> {
    let text = fs::read_to_string(table).with_context(|| format!("reading {}", table.display()))?;
    let row = |line: &str| {
        let (count, name) = line.trim().split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    text.lines()
        .map(|line| row(line).with_context(|| format!("{}: not a count and a name: {line}", table.display())))
        .collect()
}

fn compare(counts: &[Count], table: &[Count]) -> Result<()> {
    let (mut worse, mut better) = (Vec::new(), 0);
    for (name, count) in counts {
        let Some((_, allowed)) = table.iter().find(|(of, _)| of == name) else {
            worse.push(format!("{name}: not in bench/instructions.txt"));
            continue;
        };
        eprintln!("{count:>9} of {allowed:>9} instructions: {name}");
        if count * 100 > allowed * (100 + TOLERANCE) {
            worse.push(format!("{name}: {count} instructions, over {allowed} by more than {TOLERANCE} %"));
        }
        better += usize::from(count * 100 < allowed * (100 - TOLERANCE));
    }
    worse.extend(
        table
            .iter()
            .filter(|(name, _)| !counts.iter().any(|(of, _)| of == name))
            .map(|(name, _)| format!("{name}: in bench/instructions.txt only")),
    );
    if !worse.is_empty() {
        bail!("{}\n\nhint: `cargo xtask instructions --bless` writes the table", worse.join("\n"));
    }
    if better > 0 {
        eprintln!(
            "{better} counts are lower than in the table: `cargo xtask instructions --bless` writes them"
        );
    }
    Ok(())
}
