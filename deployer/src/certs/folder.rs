//! The folder in which a gate's certificates are.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use time::OffsetDateTime;

use super::{Authority, Request, Revocations, Role};
use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::x509::Certificate;

/// The folder: `server-ca`, `client-ca`, `server`, `clients/NAME` and `verify/NAME`, each `.crt` and `.key`, and `client.crl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

/// The ends of what is in PEM files.
const END: &str = "-----END CERTIFICATE-----";
const END_OF_LIST: &str = "-----END X509 CRL-----";

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Files {
    /// The certificate, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PKCS #8 PEM.
    pub key: PathBuf,
}

impl Folder {
    /// The folder at this path. It need not be there yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Folder { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files of a CA.
    pub fn authority_files(&self, role: Role) -> Files {
        self.files(&format!("{role}-ca"))
    }

    /// The files of the server.
    pub fn server_files(&self) -> Files {
        self.files("server")
    }

    /// The files of a client. Its name must be one that [`super::client_name`] lets through.
    pub fn client_files(&self, name: &str) -> Files {
        self.files(&format!("clients/{name}"))
    }

    /// The list of the client certificates that are revoked.
    pub fn revocations_file(&self) -> PathBuf {
        self.path.join("client.crl")
    }

    pub(super) fn files(&self, stem: &str) -> Files {
        let file = |extension: &str| self.path.join(format!("{stem}.{extension}"));
        Files { certificate: file("crt"), key: file("key") }
    }

    /// Keeps other commands from changing the folder as long as what it gives is held. Makes the folder.
    pub fn lock(&self) -> Result<File, Error> {
        let lock = || -> io::Result<File> {
            fs::create_dir_all(&self.path)?;
            let folder = File::open(&self.path)?;
            folder.lock()?;
            Ok(folder)
        };
        lock().map_err(|e| Error::failed(format_args!("cannot use the folder {}: {e}", self.path.display())))
    }

    /// Makes a CA, and for the clients' one an empty list of what it revoked: Envoy, once it has a list of one CA, refuses
    /// the clients of every other that has none.
    pub fn make_authority(&self, role: Role, days: u32, existing: Existing) -> Result<Authority, Error> {
        let authority = Authority::generate(role, days)?;
        let files = self.authority_files(role);
        let mut staged = vec![
            Staged::new(&files.key, authority.key_pem().as_bytes(), Access::Private)?,
            Staged::new(&files.certificate, authority.pem().as_bytes(), Access::Public)?,
        ];
        if role == Role::Client {
            let list = authority.sign_revocations(&Revocations::none(authority.certificate()))?;
            staged.push(Staged::new(&self.revocations_file(), list.as_bytes(), Access::Public)?);
        }
        staged.into_iter().try_for_each(|it| it.commit(existing))?;
        Ok(authority)
    }

    /// Reads the CA that issues: the first of its file.
    pub fn authority(&self, role: Role) -> Result<Authority, Error> {
        let files = self.authority_files(role);
        if files.certificate.exists() && !files.key.exists() {
            return Err(Error::failed(format_args!("there is no file {}", files.key.display())).hint(
                "the CA is somebody else's: ask there for what is to be issued or revoked; or give its key",
            ));
        }
        let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
        Authority::parse(&certificate, &key).map_err(|e| {
            Error::failed(format_args!("{} and {}: {e}", files.certificate.display(), files.key.display()))
        })
    }

    /// The certificates of all CAs of a role: the one that issues, and what else is trusted.
    pub fn authority_certificates(&self, role: Role) -> Result<Vec<Certificate>, Error> {
        let path = self.authority_files(role).certificate;
        let all = Certificate::parse_all(read(&path)?.as_bytes());
        all.map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))
    }

    /// Reads what the clients' CAs revoked, a list for each.
    pub fn revocations(&self) -> Result<Vec<Revocations>, Error> {
        let lists = self.revocation_list()?;
        if lists.is_empty() {
            return Ok(Vec::new());
        }
        Revocations::parse_all(lists.as_bytes())
            .map_err(|e| Error::failed(format_args!("{}: {e}", self.revocations_file().display())))
    }

    /// The same as it is in the file; empty where there is none.
    pub(super) fn revocation_list(&self) -> Result<String, Error> {
        let path = self.revocations_file();
        if path.exists() { read(&path) } else { Ok(String::new()) }
    }

    /// Revokes a certificate of the clients' CA, be it the one that issues or the one before it. `false`: it was revoked
    /// already.
    ///
    /// # Errors
    /// Neither issued it.
    pub fn revoke(&self, file: &Path, certificate: &Certificate, now: OffsetDateTime) -> Result<bool, Error> {
        let mut authorities = vec![self.authority(Role::Client)?];
        if self.old_key_file().exists() {
            let bundle = self.authority_files(Role::Client).certificate;
            let both = read(&bundle)?;
            let old = both.split_once(END).map(|(_, old)| old).unwrap_or_default();
            let old = Authority::parse(old, &read(&self.old_key_file())?);
            authorities
                .push(old.map_err(|e| Error::failed(format_args!("{}, the old CA: {e}", bundle.display())))?);
        }
        let Some(authority) = authorities.iter().find(|it| certificate.is_signed_by(it.certificate())) else {
            let message = format!("{} is not from the clients' CA of this folder", file.display());
            return Err(Error::failed(message).hint(
                "ask the CA that issued it, or put its sha256 on the `deny` list of the configuration",
            ));
        };
        let mine = |list: &Revocations| list.issuer == authority.certificate().subject;
        let (mut own, mut text) = (Revocations::none(authority.certificate()), String::new());
        for block in self.revocation_list()?.split_inclusive(END_OF_LIST) {
            match Revocations::parse_all(block.as_bytes()).ok().and_then(|mut it| it.pop()) {
                Some(list) if mine(&list) => own = list,
                Some(_) => text.push_str(&format!("{}\n", block.trim())),
                None => {}
            }
        }
        let added = own.add(&certificate.serial, now);
        if added {
            text.insert_str(0, &authority.sign_revocations(&own)?);
            Staged::new(&self.revocations_file(), text.as_bytes(), Access::Public)?
                .commit(Existing::Replace)?;
        }
        Ok(added)
    }

    /// Makes a key and a certificate for it. `approve` sees the certificate before anything is written, and may refuse
    /// it.
    pub fn make(
        &self,
        files: &Files,
        request: &Request,
        existing: Existing,
        approve: impl FnOnce(&Certificate) -> Result<(), Error>,
    ) -> Result<Certificate, Error> {
        if existing == Existing::Keep {
            refuse_existing(files)?;
        }
        let key = Authority::new_key()?;
        let (pem, certificate) = self.issue(request, &key)?;
        approve(&certificate)?;
        let staged = [
            Staged::new(&files.key, key.serialize_pem().as_bytes(), Access::Private)?,
            Staged::new(&files.certificate, pem.as_bytes(), Access::Public)?,
        ];
        staged.into_iter().try_for_each(|it| it.commit(existing))?;
        Ok(certificate)
    }

    /// Makes a new certificate for the key that is there. One file is replaced in one step, so that at any moment the
    /// two fit.
    pub fn renew(&self, files: &Files, request: &Request) -> Result<Certificate, Error> {
        let key = KeyPair::from_pem(&read(&files.key)?)
            .map_err(|e| Error::failed(format_args!("{}: not a private key: {e}", files.key.display())))?;
        let (pem, certificate) = self.issue(request, &key)?;
        Staged::new(&files.certificate, pem.as_bytes(), Access::Public)?.commit(Existing::Replace)?;
        Ok(certificate)
    }

    /// Reads a certificate.
    pub fn certificate(&self, files: &Files) -> Result<Certificate, Error> {
        let path = &files.certificate;
        let pem = read(path)?;
        Certificate::parse(pem.as_bytes()).map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))
    }

    /// The files of all certificates that are there: CAs, server, clients by name. Not those in `verify`, of which some
    /// are meant to be bad.
    pub fn all(&self) -> Result<Vec<Files>, Error> {
        let mut all =
            vec![self.authority_files(Role::Server), self.authority_files(Role::Client), self.server_files()];
        all.retain(|files| files.certificate.exists());
        all.extend(self.clients()?.iter().map(|name| self.client_files(name)));
        Ok(all)
    }

    /// The names of all clients that have a certificate here, sorted.
    pub fn clients(&self) -> Result<Vec<String>, Error> {
        let folder = self.path.join("clients");
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let entries =
            entries.map_err(|e| Error::failed(format_args!("cannot read {}: {e}", folder.display())))?;
        let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".crt").map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn issue(&self, request: &Request, key: &KeyPair) -> Result<(String, Certificate), Error> {
        let pem = self.authority(request.role)?.issue(request, key)?;
        let certificate = Certificate::parse(pem.as_bytes())
            .map_err(|e| Error::failed(format_args!("the new certificate cannot be read: {e}")))?;
        Ok((pem, certificate))
    }
}

fn refuse_existing(files: &Files) -> Result<(), Error> {
    match [&files.key, &files.certificate].into_iter().find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(Error::failed(format_args!("{} is there already", path.display())).hint(
            "`--force` makes a new key and certificate in its place; `otlp-gate certs renew` keeps the key",
        )),
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::failed(format_args!("there is no file {}", path.display()))
            .hint("`otlp-gate certs init` makes the CAs; `--dir DIR` names the folder that they are in"),
        _ => Error::failed(format_args!("cannot read {}: {e}", path.display())),
    })
}
