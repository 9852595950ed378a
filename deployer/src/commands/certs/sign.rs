//! `certs sign`: issue a certificate for a key that the client keeps.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::client_args::ClientArgs;
use super::{note_early_end, table};
use crate::error::Error;
use crate::file;
use crate::global::Global;
use crate::output;
use crate::x509::{Certificate, LONGEST_REQUEST, RequestError, SigningRequest};

/// Arguments of `certs sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate certs sign acme-edge --csr acme-edge.csr --spiffe spiffe://acme.example/edge/zurich
  otlp-gate certs sign legacy --csr legacy.csr        with the names in the rule of `legacy`

The client creates its key and the request, for example:
  openssl ecparam -name prime256v1 -genkey -noout -out acme-edge.key
  openssl req -new -key acme-edge.key -subj /CN=acme-edge -out acme-edge.csr

The certificate has the names that the options and the client's rule give. The names in the request
are printed. To take one over, give it as an option.")]
pub(crate) struct Args {
    #[command(flatten)]
    client: ClientArgs,
    /// The certificate signing request (PKCS #10, PEM or DER)
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
}

/// The most names of a request that are printed, and the most characters of each.
const MOST_SHOWN: usize = 32;
const LONGEST_SHOWN: usize = 200;

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let client = &args.client;
    let csr = read(&args.csr)?;
    show(&args.csr, &csr);
    let loaded = client.config(global)?;
    let request = client.request(loaded.as_ref())?;
    let folder = client.folder();
    let _lock = folder.lock()?;
    let files = folder.client_files(&client.name);
    let certificate =
        folder.issue_for_key(&files, &request, &csr.public_key, client.existing(), |certificate| {
            client.approve(loaded.as_ref(), certificate)
        })?;
    note_left_out(&csr, &certificate);
    table::print(&folder, &[files], global.output)?;
    note_early_end(&certificate, client.days);
    client.note_earlier(&folder, &certificate)
}

fn read(path: &Path) -> Result<SigningRequest, Error> {
    let mut bytes = Vec::new();
    let longest = u64::try_from(LONGEST_REQUEST + 1).unwrap_or(u64::MAX);
    let read = File::open(path).and_then(|file| file.take(longest).read_to_end(&mut bytes));
    read.map_err(|e| file::cannot_read(path.display(), &e))?;
    SigningRequest::parse(&bytes).map_err(|e| {
        let hint = match e {
            RequestError::Unreadable(_) => {
                "`openssl req -new -key FILE -subj /CN=NAME -out FILE` creates a request; `otlp-gate certs sign --help` \
                has an example"
            }
            RequestError::PrivateKey => "ask the client for the request only, and for a new key if it sent this one",
            RequestError::Key(_) => "ask the client for a request with such a key",
            RequestError::Signature(_) => "ask the client for a new request, signed with SHA-256",
        };
        Error::failed(format_args!("{}: {e}", path.display())).hint(hint)
    })
}

/// Prints what the request asks for.
fn show(path: &Path, csr: &SigningRequest) {
    let mut lines = vec![format!("{} asks for:", path.display()), format!("  key      {}", csr.key)];
    lines.extend(csr.subject.iter().map(|it| format!("  subject  {}", shown(it))));
    lines.extend(csr.sans.iter().take(MOST_SHOWN).map(|it| format!("  name     {}", shown(it))));
    if let Some(more @ 1..) = csr.sans.len().checked_sub(MOST_SHOWN) {
        lines.push(format!("  and {more} more names"));
    }
    output::say(lines.join("\n") + "\n");
}

/// Prints what the request asks for and the certificate does not have.
fn note_left_out(csr: &SigningRequest, certificate: &Certificate) {
    let (sans, attributes) = (certificate.sans(), certificate.subject_attributes());
    let subject = csr.attributes.iter().filter(|it| !attributes.contains(it));
    let subject = subject.map(|(key, value)| format!("{key}={value}"));
    // The filter reads host names in lower case.
    let is_there = |name: &&String| sans.iter().any(|own| own.eq_ignore_ascii_case(name));
    let names = csr.sans.iter().filter(|it| !is_there(it)).cloned();
    let left_out: Vec<String> = subject
        .chain(names)
        .chain(csr.extensions.iter().cloned())
        .take(MOST_SHOWN)
        .map(|it| shown(&it))
        .collect();
    if !left_out.is_empty() {
        output::say(format_args!("left out, because it is not confirmed: {}\n", left_out.join(", ")));
    }
}

/// A text from outside as it is printed: on one line, without control characters, and not too long.
fn shown(text: &str) -> String {
    let visible = |it: char| if it.is_control() { '\u{fffd}' } else { it };
    let mut shown: String = text.chars().take(LONGEST_SHOWN).map(visible).collect();
    if text.chars().nth(LONGEST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
