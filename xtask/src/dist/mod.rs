//! `cargo xtask dist`: everything of a release. The same commit gives the same bytes.

mod archive;
mod command;
mod sbom;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{process, project, wasm};
use command::Platform;

/// What to release.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build the command only for this platform; may be repeated
    #[arg(long, value_name = "PLATFORM", value_enum)]
    platform: Vec<Platform>,
    /// The folder to write to, which is emptied [default: dist in cargo's target folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Sign the checksums with this private key, in cosign's format; needs `cosign`
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// The files' name without their kind, such as `otlp-gate_0.1.0`.
const STEM: &str = concat!("otlp-gate_", env!("CARGO_PKG_VERSION"));
const SUMS: &str = "SHA256SUMS";

/// Builds all files, and prints their folder.
pub(crate) fn recipe(args: &Args) -> Result<()> {
    let out = match &args.out {
        Some(out) => std::path::absolute(out)?,
        None => project::target_dir()?.join("dist"),
    };
    let platforms = if args.platform.is_empty() { &Platform::ALL[..] } else { &args.platform };
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("emptying {}", out.display()))?;
    }
    fs::create_dir_all(&out)?;
    let put = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    };

    let module = fs::read(wasm::filter()?)?;
    put(&format!("{STEM}.wasm"), &module)?;
    let image = otlp_gate_oci::of_module(&module)?;
    put(&format!("{STEM}_module.oci.tar"), &otlp_gate_oci::archive(&[image], env!("CARGO_PKG_VERSION"))?)?;

    let pages = command::pages()?;
    let mut images = Vec::new();
    for platform in platforms {
        eprintln!("building otlp-gate for {platform}");
        let binary = platform.build()?;
        images.push(otlp_gate_oci::of_command(&binary, platform.architecture())?);
        let archive = archive::tar_gz(&command::files(&binary, &pages)?)?;
        put(&format!("{STEM}_linux_{}.tar.gz", platform.architecture()), &archive)?;
    }
    put(&format!("{STEM}_image.oci.tar"), &otlp_gate_oci::archive(&images, env!("CARGO_PKG_VERSION"))?)?;
    put(&format!("{STEM}_sbom.cdx.json"), &sbom::cyclonedx()?)?;
    put(SUMS, checksums(&out)?.as_bytes())?;
    if let Some(key) = &args.key {
        sign(key, &out)?;
    }
    println!("{}", out.display());
    Ok(())
}

/// The checksums of all files, as `sha256sum --check` reads them.
fn checksums(dir: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| entry.map(|it| it.path())).collect::<Result<_, _>>()?;
    files.sort();
    let mut sums = String::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for byte in Sha256::digest(fs::read(&file)?) {
            let _ = write!(sums, "{byte:02x}");
        }
        let _ = writeln!(sums, "  {name}");
    }
    Ok(sums)
}

/// Writes `SHA256SUMS.sig`, which `cosign verify-blob` checks. Nothing is uploaded.
fn sign(key: &Path, dir: &Path) -> Result<()> {
    if process::find("cosign").is_none() {
        bail!("cosign is not on PATH\n\nhint: install cosign, or leave out `--key`");
    }
    let sums = dir.join(SUMS);
    let mut cosign = Command::new("cosign");
    cosign.args(["sign-blob", "--yes", "--tlog-upload=false", "--key"]).arg(key);
    cosign.arg("--output-signature").arg(dir.join(format!("{SUMS}.sig"))).arg(sums);
    process::run(&mut cosign)
}
