//! `cargo xtask dist`: everything of a release. The same commit gives the same bytes.

mod archive;
mod check;
mod command;
mod links;
mod sbom;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{process, project, setup, wasm};
use command::Platform;

/// What to release.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask dist --check\n  cargo xtask dist --platform linux/amd64 --out dist"
)]
pub(crate) struct Args {
    /// Build the command only for this platform; may be repeated
    #[arg(long, value_name = "PLATFORM", value_enum)]
    platform: Vec<Platform>,
    /// The folder to write to, which is emptied [default: dist in cargo's target folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run what was built, then build it a second time elsewhere, and compare the bytes
    #[arg(long)]
    check: bool,
    /// Build for this machine only, without optimization, and run what was built
    #[arg(long, conflicts_with_all = ["platform", "check", "tag", "key"])]
    quick: bool,
    /// Fail if this is not the tag of the version, or CHANGELOG.md has no dated section for it
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Sign the checksums with this private key, in cosign's format: a file, or `env://VARIABLE`. Its password is in
    /// COSIGN_PASSWORD
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The files' name without their kind, such as `otlp-gate_0.1.0`.
const STEM: &str = concat!("otlp-gate_", env!("CARGO_PKG_VERSION"));
const SUMS: &str = "SHA256SUMS";
const COSIGN: &str = "v3.1.3";

/// Cargo's profile for releases.
const PACKAGED: &str = "packaged";

/// Builds all files, and prints their folder.
pub(crate) fn recipe(args: &Args) -> Result<()> {
    if let Some(tag) = &args.tag {
        expect_version(tag)?;
    }
    let out = match &args.out {
        Some(out) => std::path::absolute(out)?,
        None => project::target_dir()?.join("dist"),
    };
    let platforms = match args.platform.as_slice() {
        _ if args.quick => &[Platform::NATIVE],
        [] => &Platform::ALL[..],
        chosen => chosen,
    };
    build(&out, platforms, if args.quick { "dev" } else { PACKAGED })?;
    if args.check || args.quick {
        check::files(&out, platforms)?;
    }
    if args.check {
        check::second_build(&out, platforms)?;
    }
    if let Some(key) = &args.key {
        sign(key, &out)?;
    }
    println!("{}", out.display());
    Ok(())
}

fn build(out: &Path, platforms: &[Platform], profile: &str) -> Result<()> {
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| format!("emptying {}", out.display()))?;
    }
    fs::create_dir_all(out)?;
    let put = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    };
    let module = fs::read(wasm::filter()?)?;
    put(&format!("{STEM}.wasm"), &module)?;
    let image = otlp_gate_oci::of_module(&module)?;
    put(&format!("{STEM}_module.oci.tar"), &otlp_gate_oci::archive(&[image], VERSION)?)?;

    let mut binaries = Vec::new();
    for platform in platforms {
        eprintln!("building otlp-gate for {platform}");
        binaries.push((*platform, platform.build(profile)?));
    }
    // Of a binary that runs here.
    let native = binaries.iter().find(|(platform, _)| *platform == Platform::NATIVE);
    let pages = match native {
        Some((_, path)) => command::pages(path)?,
        None => command::pages(&project::command()?)?,
    };
    let mut images = Vec::new();
    for (platform, path) in &binaries {
        let binary = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        images.push(otlp_gate_oci::of_command(&binary, platform.architecture())?);
        let files = command::files(&folder_of(*platform), &binary, &pages)?;
        put(&archive_of(*platform), &archive::tar_gz(&files)?)?;
    }
    put(IMAGE, &otlp_gate_oci::archive(&images, VERSION)?)?;
    put(SBOM, &sbom::cyclonedx()?)?;
    put(SUMS, checksums(out)?.as_bytes())
}

const IMAGE: &str = concat!("otlp-gate_", env!("CARGO_PKG_VERSION"), "_image.oci.tar");
const SBOM: &str = concat!("otlp-gate_", env!("CARGO_PKG_VERSION"), "_sbom.cdx.json");

fn archive_of(platform: Platform) -> String {
    format!("{}.tar.gz", folder_of(platform))
}

/// The only folder in the root of the platform's archive.
fn folder_of(platform: Platform) -> String {
    format!("{STEM}_linux_{}", platform.architecture())
}

fn expect_version(tag: &str) -> Result<()> {
    if tag != format!("v{VERSION}") {
        bail!(
            "the tag is {tag}, and the version v{VERSION}\n\nhint: set the version in Cargo.toml, then tag"
        );
    }
    let changelog = fs::read_to_string(project::root().join("CHANGELOG.md"))?;
    let section = changelog.lines().find_map(|line| line.strip_prefix("## ")?.strip_prefix(VERSION));
    if section.is_none_or(|date| !date.starts_with(" - 2")) {
        bail!(
            "CHANGELOG.md has no section `## {VERSION} - DATE`\n\nhint: replace `unreleased` by the date, then tag"
        );
    }
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
fn sign(key: &str, dir: &Path) -> Result<()> {
    let program = match process::find("cosign") {
        Some(program) => program,
        None => setup::go_tool("cosign", "github.com/sigstore/cosign/v3/cmd/cosign", COSIGN)?,
    };
    let mut cosign = Command::new(program);
    // A signature file instead of a bundle, without the public log: it can be checked offline, with OpenSSL too.
    cosign.args(["sign-blob", "--yes", "--tlog-upload=false", "--use-signing-config=false"]);
    cosign.args(["--new-bundle-format=false", "--key", key]);
    cosign.arg("--output-signature").arg(dir.join(format!("{SUMS}.sig"))).arg(dir.join(SUMS));
    process::run(&mut cosign)
}
