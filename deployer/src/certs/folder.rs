//! The folder in which a gate's certificates are.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::iter;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;

use super::record::{self, Event, Issued, hex};
use super::{Authority, Request, Revocations, Role, Trial};
use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::x509::Certificate;

/// How a certificate ends in PEM (RFC 7468, 5.1).
const CERTIFICATE_END: &str = "-----END CERTIFICATE-----";

/// The folder: `server-ca`, `client-ca`, `server`, `clients/NAME` and `verify/NAME`, each `.crt` and `.key`, `client.crl`, and
/// the record of what was issued and revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

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

    /// Which side shows these, or what they issued; `None` for the CA of the server, whose key only the clients look at.
    pub fn shown_by(&self, files: &Files) -> Option<Role> {
        match files {
            files if *files == self.authority_files(Role::Server) => None,
            files if *files == self.server_files() => Some(Role::Server),
            _ => Some(Role::Client),
        }
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
        self.write_down(vec![Event::made(&authority, role)])?;
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
        let certificate = self.authority_blocks(role)?.into_iter().next().unwrap_or_default();
        parse_authority(&files, &certificate)
    }

    /// The CA of clients that another one has taken the place of, for as long as it is trusted.
    fn old_authority(&self) -> Result<Option<Authority>, Error> {
        let key = self.old_key_file();
        match self.authority_blocks(Role::Client)?.get(1) {
            Some(old) if key.exists() => {
                let files = Files { key, ..self.authority_files(Role::Client) };
                parse_authority(&files, old).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The certificates of all CAs of a role: the one that issues, and what else is trusted.
    pub fn authority_certificates(&self, role: Role) -> Result<Vec<Certificate>, Error> {
        let path = self.authority_files(role).certificate;
        certificates(&path, read(&path)?)
    }

    fn authority_blocks(&self, role: Role) -> Result<Vec<String>, Error> {
        Ok(blocks(read(&self.authority_files(role).certificate)?, CERTIFICATE_END))
    }

    /// Reads what the clients' CAs revoked, a list for each.
    pub fn revocations(&self) -> Result<Vec<Revocations>, Error> {
        Ok(self.lists()?.into_iter().map(|(list, _)| list).collect())
    }

    /// The same, each with its PEM.
    pub(super) fn lists(&self) -> Result<Vec<(Revocations, String)>, Error> {
        let path = self.revocations_file();
        if !path.exists() {
            return Ok(Vec::new());
        }
        let blocks = blocks(read(&path)?, "-----END X509 CRL-----").into_iter();
        let lists = blocks.map(|block| Ok((Revocations::parse(block.as_bytes())?, block)));
        let lists = lists.collect::<Result<_, String>>();
        lists.map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))
    }

    /// The clients' CAs whose keys are here: the one that issues, and the one before it.
    pub(super) fn revoking(&self) -> Result<Vec<Authority>, Error> {
        Ok(iter::once(self.authority(Role::Client)?).chain(self.old_authority()?).collect())
    }

    /// Revokes certificates: serial numbers in hex, each after the SHA-256 of its CA's public key. Gives those that were not
    /// revoked before.
    ///
    /// # Errors
    /// The key of one's CA is not here. The others are revoked all the same.
    pub fn revoke(&self, certificates: &BTreeSet<(String, String)>) -> Result<Vec<(String, String)>, Error> {
        let authorities = self.revoking()?;
        let keys: BTreeSet<String> =
            authorities.iter().map(|it| it.certificate().public_key_sha256_hex()).collect();
        let (certificates, others): (BTreeSet<_>, BTreeSet<_>) =
            certificates.iter().cloned().partition(|(ca, _)| keys.contains(ca));
        let lists = self.revocations()?;
        let is_new = |it: &&(String, String)| {
            record::from_hex(&it.1).is_some_and(|serial| !super::is_revoked(&lists, &serial))
        };
        let new: Vec<_> = certificates.iter().filter(is_new).cloned().collect();
        let time = record::now();
        let events =
            new.iter().map(|(ca, serial)| Event::Revoked { time, serial: serial.clone(), ca: ca.clone() });
        self.write_down(events.collect())?;
        self.sign_lists(&authorities, false)?;
        if !others.is_empty() {
            let serials: Vec<String> = others.into_iter().map(|(_, serial)| serial).collect();
            let done = if new.is_empty() { String::new() } else { format!(" ({} others are)", new.len()) };
            let message = format!(
                "not revoked: {}{done}: the key of the CA that issued it is not in {}",
                serials.join(", "),
                self.path.display()
            );
            return Err(Error::failed(message).hint(
                "ask the CA that issued it, or put its sha256 on the `deny` list of the configuration",
            ));
        }
        Ok(new)
    }

    /// Signs the lists of the clients' CAs anew, with all that the record and the lists say is revoked. Gives how many are on
    /// them. The folder must be locked.
    pub fn renew_lists(&self) -> Result<usize, Error> {
        self.complete_record()?;
        self.sign_lists(&self.revoking()?, true)
    }

    /// Puts onto the lists what the record says is revoked and they lack. The folder must be locked.
    pub fn complete_lists(&self) -> Result<usize, Error> {
        self.complete_record()?;
        self.sign_lists(&self.revoking()?, false)
    }

    fn sign_lists(&self, authorities: &[Authority], anyway: bool) -> Result<usize, Error> {
        let record = self.record()?;
        let mut lists = self.lists()?;
        let (mut texts, mut events, mut number) = (Vec::new(), Vec::new(), 0);
        for authority in authorities {
            let ca = authority.certificate().public_key_sha256_hex();
            let known = lists.iter().any(|(list, _)| list.issuer == authority.certificate().subject);
            let mut own = take(&mut lists, authority.certificate());
            let before = own.clone();
            for ((_, serial), time) in record.revoked().into_iter().filter(|((of, _), _)| *of == ca) {
                if let Some(serial) = record::from_hex(serial) {
                    own.add(&serial, time);
                }
            }
            number += own.entries.len();
            if known && !anyway && own == before {
                texts.push(None);
                continue;
            }
            own.count_up(record.last_number(&ca).as_deref());
            events.push(Event::List { time: record::now(), number: hex(&own.number), ca });
            texts.push(Some(authority.sign_revocations(&own)?));
        }
        if events.is_empty() {
            return Ok(number);
        }
        // What is not signed anew stays as it is, byte for byte.
        let written = authorities.iter().zip(texts);
        let mut old = self.lists()?;
        let mut text = String::new();
        for (authority, new) in written {
            let at = old.iter().position(|(list, _)| list.issuer == authority.certificate().subject);
            let was = at.map(|at| old.swap_remove(at).1);
            text.push_str(&new.or(was).unwrap_or_default());
        }
        text.extend(old.into_iter().map(|(_, pem)| pem));
        self.write_down(events)?;
        Staged::new(&self.revocations_file(), text.as_bytes(), Access::Public)?.commit(Existing::Replace)?;
        Ok(number)
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
        self.write_down_issued(files, request.role, &certificate)?;
        staged.into_iter().try_for_each(|it| it.commit(existing))?;
        Ok(certificate)
    }

    /// Makes a new certificate for the key that is there. One file is replaced in one step, so that at any moment the
    /// two fit.
    pub fn renew(&self, files: &Files, request: &Request) -> Result<Certificate, Error> {
        let key = KeyPair::from_pem(&read(&files.key)?)
            .map_err(|e| Error::failed(format_args!("{}: not a private key: {e}", files.key.display())))?;
        let (pem, certificate) = self.issue(request, &key)?;
        let staged = Staged::new(&files.certificate, pem.as_bytes(), Access::Public)?;
        self.write_down_issued(files, request.role, &certificate)?;
        staged.commit(Existing::Replace)?;
        Ok(certificate)
    }

    fn write_down_issued(&self, files: &Files, role: Role, certificate: &Certificate) -> Result<(), Error> {
        let ca = self.authority(role)?;
        let issued =
            Issued::of(certificate, role, self.name_of(files), ca.certificate(), Some(record::now()));
        self.write_down(vec![Event::Issued(issued)])
    }

    /// Reads a certificate.
    pub fn certificate(&self, files: &Files) -> Result<Certificate, Error> {
        let path = &files.certificate;
        let pem = read(path)?;
        Certificate::parse(pem.as_bytes()).map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))
    }

    /// The files and the certificate of a client.
    ///
    /// # Errors
    /// It has none here.
    pub fn client(&self, name: &str) -> Result<(Files, Certificate), Error> {
        let files = self.client_files(name);
        if !files.certificate.exists() {
            let message =
                format!("{name} has no certificate: there is no file {}", files.certificate.display());
            return Err(Error::failed(message).hint(format_args!(
                "`otlp-gate certs list` shows all that there are; `otlp-gate certs client {name}` makes one"
            )));
        }
        let certificate = self.certificate(&files)?;
        Ok((files, certificate))
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

    /// The certificates in `verify`, each with its files.
    pub fn trials(&self) -> Result<Vec<(Files, Certificate)>, Error> {
        let files =
            Trial::ALL.into_iter().map(|it| self.trial_files(it)).filter(|it| it.certificate.exists());
        files.map(|files| Ok((files.clone(), self.certificate(&files)?))).collect()
    }

    /// The files of all certificates that the CAs issued, those in `verify` among them.
    pub(super) fn leaves(&self) -> Result<Vec<Files>, Error> {
        let mut leaves = vec![self.server_files()];
        leaves.extend(self.clients()?.iter().map(|name| self.client_files(name)));
        leaves.extend(Trial::ALL.into_iter().map(|it| self.trial_files(it)));
        leaves.retain(|files| files.certificate.exists());
        Ok(leaves)
    }

    /// The names of all clients that have a certificate here, sorted.
    pub fn clients(&self) -> Result<Vec<String>, Error> {
        let folder = self.path.join("clients");
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let entries = entries.map_err(|e| match e.kind() {
            ErrorKind::NotADirectory if !self.path.is_dir() => {
                Error::failed(format_args!("{} is no folder", self.path.display()))
            }
            _ => Error::failed(format_args!("cannot read {}: {e}", folder.display())),
        })?;
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

/// All certificates in a file's text, in PEM.
pub fn certificates(file: &Path, text: String) -> Result<Vec<Certificate>, Error> {
    let all = blocks(text, CERTIFICATE_END);
    let all = all.iter().map(|block| Certificate::parse(block.as_bytes())).collect::<Result<_, _>>();
    all.map_err(|e| Error::failed(format_args!("{}: {e}", file.display())))
}

/// Takes a CA's list from among these; an empty one where there is none.
pub(super) fn take(lists: &mut Vec<(Revocations, String)>, authority: &Certificate) -> Revocations {
    match lists.iter().position(|(list, _)| list.issuer == authority.subject) {
        Some(at) => lists.swap_remove(at).0,
        None => Revocations::none(authority),
    }
}

fn parse_authority(files: &Files, certificate: &str) -> Result<Authority, Error> {
    Authority::parse(certificate, &read(&files.key)?).map_err(|e| {
        Error::failed(format_args!("{} and {}: {e}", files.certificate.display(), files.key.display()))
    })
}

/// The blocks of a PEM text, by how they end; the whole text where it has none, for its reader to say what it is.
fn blocks(text: String, end: &str) -> Vec<String> {
    let blocks = text.split_inclusive(end).filter(|it| it.contains("-----BEGIN "));
    let blocks: Vec<String> = blocks.map(|it| format!("{}\n", it.trim())).collect();
    if blocks.is_empty() { vec![text] } else { blocks }
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
