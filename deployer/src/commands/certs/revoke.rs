//! `certs revoke`: a certificate that is to be no client's any more.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use time::OffsetDateTime;

use super::Place;
use crate::certs::{Folder, client_name};
use crate::error::Error;
use crate::global::Global;
use crate::output;
use crate::x509::Certificate;

/// Arguments of `certs revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs revoke acme-edge
  otlp-gate certs revoke --cert old/acme-edge.crt     a certificate that was replaced")]
#[command(group = ArgGroup::new("which").required(true))]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The client
    #[arg(value_name = "NAME", value_parser = client_name, group = "which")]
    name: Option<String>,
    /// A certificate that the clients' CA issued, instead of a client's present one
    #[arg(long, value_name = "FILE", group = "which")]
    cert: Option<PathBuf>,
}

pub(super) fn run(args: &Args, _: &Global) -> Result<(), Error> {
    let folder = args.place.folder();
    let _lock = folder.lock()?;
    let (path, certificate) = certificate(&folder, args)?;
    if !folder.revoke(&path, &certificate, OffsetDateTime::now_utc())? {
        output::say(format_args!("{} is revoked already", path.display()));
        return Ok(());
    }
    output::say(format_args!(
        "revoked {} in {}; it acts on new connections, `deny: [\"sha256:{}\"]` in the configuration on open ones too",
        path.display(),
        folder.revocations_file().display(),
        certificate.sha256_hex(),
    ));
    Ok(())
}

fn certificate(folder: &Folder, args: &Args) -> Result<(PathBuf, Certificate), Error> {
    if let Some(path) = &args.cert {
        return Ok((path.clone(), read(path)?));
    }
    let (files, certificate) = folder.client(args.name.as_deref().unwrap_or_default())?;
    Ok((files.certificate, certificate))
}

fn read(path: &Path) -> Result<Certificate, Error> {
    let bytes =
        fs::read(path).map_err(|e| Error::failed(format_args!("cannot read {}: {e}", path.display())))?;
    Certificate::parse(&bytes).map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))
}
