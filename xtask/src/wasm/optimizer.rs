//! Binaryen's `wasm-opt`, which makes a built module smaller and faster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::cache;
use crate::{process, project};

/// The WebAssembly features that the compiler uses. `wasm-opt` refuses a module with others.
const FEATURES: [&str; 6] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-mutable-globals",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
];

/// The folder with the version that npm installs.
const PACKAGE: &str = "xtask/src/wasm/binaryen";

/// Optimizes the module at `built` for speed, and returns the result's path. The same module gives the same bytes on
/// every machine. Where Node is missing, the module stays as it is, except in CI.
pub(super) fn optimize(built: &Path) -> Result<PathBuf> {
    if process::find("node").is_none() && !project::ci() {
        eprintln!("the module is not optimized with wasm-opt, because Node.js is not installed");
        return Ok(built.to_path_buf());
    }
    let source = project::root().join(PACKAGE);
    let package = cache::npm("binaryen", &source, &["package.json", "package-lock.json"])?;
    // It takes seconds, so an unchanged module is not optimized again.
    let key = cache::key(&[built, &source.join("package-lock.json"), &project::root().join(file!())])?;
    let optimized = built.with_extension("optimized.wasm");
    let key_file = built.with_extension("optimized.key");
    if optimized.is_file() && fs::read_to_string(&key_file).is_ok_and(|of| of == key) {
        return Ok(optimized);
    }
    let mut node = Command::new("node");
    // wasm-opt recurses deeper than Node's default stack.
    node.arg("--stack-size=8000").arg(package.join("node_modules/binaryen/bin/wasm-opt")).args(FEATURES);
    // Functions that differ only in constants become one: 0.5 % less to compile in every proxy.
    node.args(["-O3", "--merge-similar-functions", "--strip-debug", "--strip-producers"])
        .arg(built)
        .arg("-o")
        .arg(&optimized);
    process::run(&mut node).context("optimizing the module")?;
    fs::write(&key_file, key).with_context(|| format!("writing {}", key_file.display()))?;
    Ok(optimized)
}
