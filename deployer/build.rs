//! Finds the filter's module, which the command contains: `$OTLP_GATE_WASM`, else the one in the package from
//! crates.io, else `<target>/otlp-gate.wasm`.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=OTLP_GATE_WASM");
    let module = match env::var_os("OTLP_GATE_WASM") {
        Some(path) => PathBuf::from(path),
        None => in_package().unwrap_or_else(in_target_dir),
    };
    if !module.is_file() {
        // Cargo prints this error and fails. A non-zero exit code would add output around it.
        println!(
            "cargo::error=the filter's module {} does not exist: run `cargo xtask build-wasm` first",
            module.display()
        );
        return;
    }
    println!("cargo::rerun-if-changed={}", module.display());
    println!("cargo::rustc-env=OTLP_GATE_WASM_PATH={}", module.display());
}

/// The module in the package, if this is one: cargo adds `Cargo.toml.orig` to packages.
fn in_package() -> Option<PathBuf> {
    let root = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)?;
    root.join("Cargo.toml.orig").is_file().then(|| root.join("otlp-gate.wasm"))
}

/// The module in the target directory. Cargo gives only `OUT_DIR`, which is `<target>/PROFILE/build/NAME/out`, or one
/// level deeper with `--target`.
fn in_target_dir() -> PathBuf {
    let out = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    let candidates: Vec<PathBuf> =
        out.ancestors().skip(4).take(2).map(|dir| dir.join("otlp-gate.wasm")).collect();
    let found = candidates.iter().find(|path| path.is_file()).or(candidates.first());
    found.cloned().unwrap_or_else(|| Path::new("otlp-gate.wasm").to_path_buf())
}
