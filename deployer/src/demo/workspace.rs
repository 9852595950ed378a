//! The demo's temporary folder: configuration, CAs and certificates.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::certs::{Folder, Request, Role, Validity};
use crate::error::Error;
use crate::file::{self, Existing};
use crate::probe::Credentials;
use crate::x509::Certificate;

/// The gate's configuration.
const CONFIG: &str = include_str!("demo.yaml");
/// Days that the certificates are valid. `--keep` may leave the demo running for a while.
const DAYS: u32 = 7;

/// A temporary folder, removed on drop.
#[derive(Debug)]
pub(super) struct Workspace {
    folder: TempDir,
}

impl Workspace {
    /// Creates the configuration, the gate's two CAs, and certificates: the server's, those of the clients `acme` and
    /// `globex`, `unknown`, which matches no rule, and a copy of acme's that another CA issued.
    pub(super) fn create() -> Result<Self, Error> {
        let workspace = Workspace { folder: file::temporary_folder("otlp-gate-demo-")? };
        fs::write(workspace.config(), CONFIG).map_err(|error| {
            Error::failed(format_args!("cannot write {}: {error}", workspace.config().display()))
        })?;

        let certs = workspace.certs();
        certs.create_authority(Role::Server, DAYS, Existing::Keep)?;
        certs.create_authority(Role::Client, DAYS, Existing::Keep)?;
        let mut server = request(Role::Server, "localhost");
        server.dns.push("localhost".to_owned());
        certs.issue(&certs.server_files(), &server, Existing::Keep, |_| Ok(()))?;

        let mut acme = request(Role::Client, "acme");
        acme.uris.push("spiffe://acme.example/1".to_owned());
        let mut globex = request(Role::Client, "globex");
        globex.dns.push("berlin.globex.example".to_owned());
        let unknown = request(Role::Client, "unknown");
        for (name, request) in [("acme", &acme), ("globex", &globex), ("unknown", &unknown)] {
            certs.issue(&certs.client_files(name), request, Existing::Keep, |_| Ok(()))?;
        }
        let untrusted = workspace.untrusted_certs();
        untrusted.create_authority(Role::Client, DAYS, Existing::Keep)?;
        untrusted.issue(&untrusted.client_files("acme"), &acme, Existing::Keep, |_| Ok(()))?;
        Ok(workspace)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.path().join("otlp-gate.yaml")
    }

    pub(super) fn certs_path(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    /// The certificate of a client, issued by the gate's CA.
    pub(super) fn certificate(&self, name: &str) -> Result<Certificate, Error> {
        let certs = self.certs();
        certs.certificate(&certs.client_files(name))
    }

    /// Credentials of a client, issued by the gate's CA.
    pub(super) fn credentials(&self, name: &str) -> Result<Credentials, Error> {
        self.credentials_from(&self.certs(), name)
    }

    /// Credentials with acme's names, issued by a CA that the gate does not trust.
    pub(super) fn untrusted_credentials(&self) -> Result<Credentials, Error> {
        self.credentials_from(&self.untrusted_certs(), "acme")
    }

    /// Credentials without a client certificate.
    pub(super) fn no_credentials(&self) -> Result<Credentials, Error> {
        let server_ca = file::read_text(&self.certs().authority_files(Role::Server).certificate)?;
        Ok(Credentials { server_ca, server_name: "localhost".to_owned(), client_certificate: None })
    }

    fn credentials_from(&self, folder: &Folder, name: &str) -> Result<Credentials, Error> {
        let files = folder.client_files(name);
        let client_certificate = Some((file::read_text(&files.certificate)?, file::read_text(&files.key)?));
        Ok(Credentials { client_certificate, ..self.no_credentials()? })
    }

    fn certs(&self) -> Folder {
        Folder::at(self.certs_path())
    }

    fn untrusted_certs(&self) -> Folder {
        Folder::at(self.folder.path().join("untrusted"))
    }
}

fn request(role: Role, name: &str) -> Request {
    let subject = vec![("CN".to_owned(), name.to_owned())];
    Request {
        role,
        subject,
        uris: Vec::new(),
        dns: Vec::new(),
        emails: Vec::new(),
        ips: Vec::new(),
        validity: Validity::Days(DAYS),
    }
}
