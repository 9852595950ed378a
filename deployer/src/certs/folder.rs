//! The folder of a gate's certificates: where its files are, and reading them.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::pem::{self, CERTIFICATE_END, CRL_END};
use super::{Authority, Ca, InternalCertificate, RevocationList, TestClient};
use crate::error::Error;
use crate::file;
use crate::x509::{Certificate, Role};

/// The hint for a file that is missing in the folder.
const MISSING: &str = "`otlp-gate certs init` creates the CAs; `--dir DIR` names the folder that they are in";

/// A folder with `server-ca`, `client-ca`, `internal-ca`, `server`, `collector`, `gateway`, `node`, `clients/NAME` and
/// `verify/NAME`, each `.crt` and `.key`, the revocation list `client.crl`, and the record `issued.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// The paths of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Files {
    /// The certificate, in PEM.
    pub(crate) certificate: PathBuf,
    /// Its private key, in PKCS #8 PEM.
    pub(crate) key: PathBuf,
}

impl Folder {
    /// The folder at this path, which need not exist yet.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Folder { path: path.into() }
    }

    /// The path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The files of a CA.
    pub(crate) fn authority_files(&self, ca: impl Into<Ca>) -> Files {
        self.files(&format!("{}-ca", ca.into()))
    }

    /// The files of the server.
    pub(crate) fn server_files(&self) -> Files {
        self.files("server")
    }

    /// The files of a client. [`super::client_name`] must accept the name.
    pub(crate) fn client_files(&self, name: &str) -> Files {
        self.files(&format!("clients/{name}"))
    }

    /// The revocation lists of the clients' CAs.
    pub(crate) fn revocations_file(&self) -> PathBuf {
        self.path.join("client.crl")
    }

    pub(super) fn files(&self, stem: &str) -> Files {
        let file = |extension: &str| self.path.join(format!("{stem}.{extension}"));
        Files { certificate: file("crt"), key: file("key") }
    }

    /// The side that presents these certificates or what they issued to a client of the gateway or to the gateway;
    /// `None` for the server's CA, which the gateway never reads, and for the internal certificates.
    pub(crate) fn presented_by(&self, files: &Files) -> Option<Role> {
        match files {
            files if *files == self.authority_files(Ca::Server) => None,
            files if *files == self.server_files() => Some(Role::Server),
            files if *files == self.authority_files(Ca::Internal) => None,
            files if self.ca_of(files) == Ca::Internal => None,
            _ => Some(Role::Client),
        }
    }

    /// The CA that issues the certificate in these files.
    pub(super) fn ca_of(&self, files: &Files) -> Ca {
        if *files == self.server_files() {
            Ca::Server
        } else if InternalCertificate::ALL.into_iter().any(|it| self.internal_files(it) == *files) {
            Ca::Internal
        } else {
            Ca::Client
        }
    }

    /// Locks the folder against other commands for as long as the returned file is open. Creates the folder.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let lock = || -> io::Result<File> {
            fs::create_dir_all(&self.path)?;
            let folder = File::open(&self.path)?;
            folder.lock()?;
            Ok(folder)
        };
        lock().map_err(|e| Error::failed(format_args!("cannot lock the folder {}: {e}", self.path.display())))
    }

    /// The CA that issues: the first certificate of its file, with its key.
    pub(crate) fn authority(&self, ca: impl Into<Ca>) -> Result<Authority, Error> {
        let ca = ca.into();
        let files = self.authority_files(ca);
        if files.certificate.exists() && !files.key.exists() {
            return Err(Error::failed(format_args!("there is no file {}", files.key.display())).hint(
                "without the CA's key the folder cannot issue or revoke: ask the owner of the CA, or add its key",
            ));
        }
        let certificate = self.authority_blocks(ca)?.into_iter().next().unwrap_or_default();
        parse_authority(&files, &certificate)
    }

    /// The clients' previous CA, while a rotation is in progress.
    pub(super) fn old_authority(&self) -> Result<Option<Authority>, Error> {
        let key = self.old_key_file();
        match self.authority_blocks(Ca::Client)?.get(1) {
            Some(old) if key.exists() => {
                let files = Files { key, ..self.authority_files(Ca::Client) };
                parse_authority(&files, old).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The certificates of all trusted CAs of one kind. The first one issues.
    pub(crate) fn authority_certificates(&self, ca: impl Into<Ca>) -> Result<Vec<Certificate>, Error> {
        let path = self.authority_files(ca).certificate;
        pem::certificates(&path, file::read_text_or(&path, MISSING)?)
    }

    fn authority_blocks(&self, ca: Ca) -> Result<Vec<String>, Error> {
        let text = file::read_text_or(&self.authority_files(ca).certificate, MISSING)?;
        Ok(pem::blocks(text, CERTIFICATE_END))
    }

    /// The revocation lists of the clients' CAs.
    pub(crate) fn revocations(&self) -> Result<Vec<RevocationList>, Error> {
        Ok(self.revocation_blocks()?.into_iter().map(|(list, _)| list).collect())
    }

    /// The revocation lists of the clients' CAs, each with its PEM.
    pub(super) fn revocation_blocks(&self) -> Result<Vec<(RevocationList, String)>, Error> {
        let path = self.revocations_file();
        if !path.exists() {
            return Ok(Vec::new());
        }
        let blocks = pem::blocks(file::read_text(&path)?, CRL_END).into_iter();
        let lists = blocks.map(|block| Ok((RevocationList::parse(block.as_bytes())?, block)));
        let lists = lists.collect::<Result<_, String>>();
        lists.map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))
    }

    /// Reads a certificate.
    pub(crate) fn certificate(&self, files: &Files) -> Result<Certificate, Error> {
        let path = &files.certificate;
        let pem = file::read_text_or(path, MISSING)?;
        Certificate::parse(pem.as_bytes()).map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))
    }

    /// The files and the certificate of a client.
    ///
    /// # Errors
    /// The client has no certificate in this folder.
    pub(crate) fn client(&self, name: &str) -> Result<(Files, Certificate), Error> {
        let files = self.client_files(name);
        if !files.certificate.exists() {
            let message =
                format!("{name} has no certificate: there is no file {}", files.certificate.display());
            return Err(Error::failed(message).hint(format_args!(
                "`otlp-gate certs list` shows all certificates; `otlp-gate certs client {name}` issues one"
            )));
        }
        let certificate = self.certificate(&files)?;
        Ok((files, certificate))
    }

    /// The certificates that `certs list` shows: CAs, server, internal ones, clients by name. Those in `verify` are left out, since
    /// some of them are invalid on purpose.
    pub(crate) fn all(&self) -> Result<Vec<Files>, Error> {
        let mut all: Vec<Files> = Ca::ALL.into_iter().map(|it| self.authority_files(it)).collect();
        all.push(self.server_files());
        all.extend(InternalCertificate::ALL.into_iter().map(|it| self.internal_files(it)));
        all.retain(|files| files.certificate.exists());
        all.extend(self.clients()?.iter().map(|name| self.client_files(name)));
        Ok(all)
    }

    /// The certificates in `verify`.
    pub(super) fn test_clients(&self) -> Result<Vec<(Files, Certificate)>, Error> {
        let files = TestClient::ALL.into_iter().map(|it| self.test_client_files(it));
        let files = files.filter(|it| it.certificate.exists());
        files.map(|files| Ok((files.clone(), self.certificate(&files)?))).collect()
    }

    /// All certificates that the CAs issued and that are in the folder, including those in `verify`.
    pub(super) fn issued_files(&self) -> Result<Vec<Files>, Error> {
        let mut files = vec![self.server_files()];
        files.extend(InternalCertificate::ALL.into_iter().map(|it| self.internal_files(it)));
        files.extend(self.clients()?.iter().map(|name| self.client_files(name)));
        files.extend(TestClient::ALL.into_iter().map(|it| self.test_client_files(it)));
        files.retain(|files| files.certificate.exists());
        Ok(files)
    }

    /// The names of the clients that have a certificate in the folder, sorted.
    pub(crate) fn clients(&self) -> Result<Vec<String>, Error> {
        let folder = self.path.join("clients");
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let entries = entries.map_err(|e| match e.kind() {
            ErrorKind::NotADirectory if !self.path.is_dir() => {
                Error::failed(format_args!("{} is not a folder", self.path.display()))
            }
            _ => file::cannot_read(folder.display(), &e),
        })?;
        let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".crt").map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

fn parse_authority(files: &Files, certificate: &str) -> Result<Authority, Error> {
    Authority::parse(certificate, &file::read_text_or(&files.key, MISSING)?).map_err(|e| {
        Error::failed(format_args!("{} and {}: {e}", files.certificate.display(), files.key.display()))
    })
}
