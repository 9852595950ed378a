//! Who plays in the demo: their certificates, in a folder that goes away with it.

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
/// How many days the certificates are valid, for those who keep the demo running.
const DAYS: u32 = 7;

/// The demo's folder.
#[derive(Debug)]
pub(super) struct Cast {
    folder: TempDir,
}

impl Cast {
    /// The server, two clients, one that is no client, and one whose certificate is from a CA of somebody else's.
    pub(super) fn new() -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("otlp-gate-demo-").tempdir();
        let folder =
            folder.map_err(|error| Error::failed(format_args!("cannot make a temporary folder: {error}")))?;
        let cast = Cast { folder };
        fs::write(cast.config(), CONFIG).map_err(|error| {
            Error::failed(format_args!("cannot write {}: {error}", cast.config().display()))
        })?;

        let gates = cast.gates();
        gates.create_authority(Role::Server, DAYS, Existing::Keep)?;
        gates.create_authority(Role::Client, DAYS, Existing::Keep)?;
        let mut server = request(Role::Server, "localhost");
        server.dns.push("localhost".to_owned());
        gates.issue(&gates.server_files(), &server, Existing::Keep, |_| Ok(()))?;

        let mut acme = request(Role::Client, "acme");
        acme.uris.push("spiffe://acme.example/1".to_owned());
        let mut globex = request(Role::Client, "globex");
        globex.dns.push("berlin.globex.example".to_owned());
        let nobody = request(Role::Client, "nobody");
        for (name, request) in [("acme", &acme), ("globex", &globex), ("nobody", &nobody)] {
            gates.issue(&gates.client_files(name), request, Existing::Keep, |_| Ok(()))?;
        }
        // The same words, from another CA.
        let others = cast.others();
        others.create_authority(Role::Client, DAYS, Existing::Keep)?;
        others.issue(&others.client_files("acme"), &acme, Existing::Keep, |_| Ok(()))?;
        Ok(cast)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.path().join("otlp-gate.yaml")
    }

    pub(super) fn certificates(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    /// The certificate of one of ours.
    pub(super) fn certificate(&self, name: &str) -> Result<Certificate, Error> {
        let gates = self.gates();
        gates.certificate(&gates.client_files(name))
    }

    /// What one of ours shows.
    pub(super) fn credentials(&self, name: &str) -> Result<Credentials, Error> {
        self.shown(&self.gates(), name)
    }

    /// What somebody shows who has a certificate like acme's, from a CA that the gate does not trust.
    pub(super) fn foreign_credentials(&self) -> Result<Credentials, Error> {
        self.shown(&self.others(), "acme")
    }

    /// For somebody who shows nothing.
    pub(super) fn no_credentials(&self) -> Result<Credentials, Error> {
        let ca = file::read_text(&self.gates().authority_files(Role::Server).certificate)?;
        Ok(Credentials { ca, server_name: "localhost".to_owned(), own: None })
    }

    fn shown(&self, folder: &Folder, name: &str) -> Result<Credentials, Error> {
        let files = folder.client_files(name);
        let own = Some((file::read_text(&files.certificate)?, file::read_text(&files.key)?));
        Ok(Credentials { own, ..self.no_credentials()? })
    }

    fn gates(&self) -> Folder {
        Folder::at(self.certificates())
    }

    fn others(&self) -> Folder {
        Folder::at(self.folder.path().join("foreign"))
    }
}

fn request(role: Role, name: &str) -> Request {
    let subject = vec![("CN".to_owned(), name.to_owned())];
    Request {
        role,
        subject,
        uris: Vec::new(),
        dns: Vec::new(),
        ips: Vec::new(),
        validity: Validity::Days(DAYS),
    }
}
