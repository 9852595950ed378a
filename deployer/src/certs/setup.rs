//! Everything that `certs init` writes into a folder, from new CAs or from the user's own.

use std::path::{Path, PathBuf};

use super::listener::check_clients;
use super::{
    Authority, Ca, Files, Folder, InternalCertificate, InternalServer, ListenerTls, Request, RevocationList,
    TestClient, certificates,
};
use crate::error::Error;
use crate::file::{self, Access, Existing, Staged};
use crate::x509::Role;

/// What a folder is set up with.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The server's certificate.
    pub(crate) server: ServerCertificate,
    /// The CAs of clients; `None` creates one.
    pub(crate) clients: Option<ClientAuthority>,
    /// The servers that get internal certificates.
    pub(crate) internal: Vec<InternalServer>,
    /// The validity of the internal certificates, in days.
    pub(crate) internal_days: u32,
    /// The validity of new CAs, in days.
    pub(crate) ca_days: u32,
}

/// Where the server's certificate comes from.
#[derive(Debug)]
pub(crate) enum ServerCertificate {
    /// A new CA issues it.
    New(Request),
    /// The user has one. All PEM.
    Own {
        /// The certificate with its intermediate CAs.
        certificate: String,
        /// The private key.
        key: String,
        /// The CA that clients verify it with; `None` for a public one, which they have already.
        ca: Option<String>,
    },
    /// cert-manager issues it in the cluster. The folder has none.
    Elsewhere,
}

/// The user's own CAs for clients. All PEM.
#[derive(Debug)]
pub(crate) struct ClientAuthority {
    certificates: String,
    /// The key of the first CA.
    key: Option<String>,
    revocations: Option<String>,
}

impl ServerCertificate {
    /// Reads and checks a certificate, its key, and the CA that issued it, unless it is a public one.
    ///
    /// # Errors
    /// Envoy cannot serve with them, or the CA did not issue the certificate.
    pub(crate) fn read(certificate: &Path, key: &Path, ca: Option<&Path>) -> Result<Self, Error> {
        let (certificate_pem, key_pem) = (file::read_text(certificate)?, file::read_text(key)?);
        ListenerTls::check((certificate, &certificate_pem), (key, &key_pem))?;
        let Some(ca) = ca else {
            return Ok(ServerCertificate::Own { certificate: certificate_pem, key: key_pem, ca: None });
        };
        let ca_pem = file::read_text(ca)?;
        let authorities = certificates(ca, ca_pem.clone())?;
        let chain = certificates(certificate, certificate_pem.clone())?;
        if !chain.iter().any(|it| authorities.iter().any(|ca| it.is_signed_by(ca))) {
            let message = format!("{} was not issued by a CA in {}", certificate.display(), ca.display());
            return Err(Error::failed(message).hint(
                "clients verify the gate with that CA: give the CA that issued the certificate, or the root of its \
                chain",
            ));
        }
        Ok(ServerCertificate::Own { certificate: certificate_pem, key: key_pem, ca: Some(ca_pem) })
    }
}

impl ClientAuthority {
    /// Reads and checks CAs, the key of the first one, and their revocation lists. Without a list, the key signs an
    /// empty one; without a key, there is none.
    ///
    /// # Errors
    /// The key does not match, or Envoy rejects all clients with these lists.
    pub(crate) fn read(ca: &Path, key: Option<&Path>, crl: Option<&Path>) -> Result<Self, Error> {
        let certificates = file::read_text(ca)?;
        let key_pem = key.map(file::read_text).transpose()?;
        let authority = key_pem.as_deref().map(|key| Authority::parse(&certificates, key)).transpose();
        let authority =
            authority.map_err(|e| Error::failed(format_args!("{} and its key: {e}", ca.display())))?;
        let revocations = match (crl, &authority) {
            (Some(list), _) => Some(file::read_text(list)?),
            (None, Some(authority)) => {
                Some(authority.sign_revocations(&RevocationList::empty(authority.certificate()))?)
            }
            (None, None) => None,
        };
        let list = crl.or(key).unwrap_or(ca);
        check_clients((ca, &certificates), revocations.as_deref().map(|text| (list, text)))?;
        Ok(ClientAuthority { certificates, key: key_pem, revocations })
    }

    /// Whether the folder can issue client certificates: it has the CA's key.
    pub(crate) fn issues(&self) -> bool {
        self.key.is_some()
    }

    /// Whether it has a revocation list.
    pub(crate) fn revokes(&self) -> bool {
        self.revocations.is_some()
    }
}

impl Folder {
    /// Writes CAs, the server's certificate, a revocation list, and the certificates of `otlp-gate verify`. The folder
    /// must be locked. With [`Existing::Keep`] either all files are written or none.
    ///
    /// # Errors
    /// With [`Existing::Keep`]: a file exists already.
    pub(crate) fn set_up(&self, setup: &Setup, existing: Existing) -> Result<(), Error> {
        if existing == Existing::Replace {
            return self.write_all(setup, existing);
        }
        self.reject_existing()?;
        let had_record = self.record_file().exists();
        self.write_all(setup, existing).inspect_err(|_| {
            // No file existed before, and a leftover would stop the next attempt.
            let record = (!had_record).then(|| self.record_file());
            for path in self.setup_files().into_iter().chain(record) {
                // It may never have been written.
                let _ = file::remove(&path);
            }
        })
    }

    fn write_all(&self, setup: &Setup, existing: Existing) -> Result<(), Error> {
        let server = self.server_files();
        match &setup.server {
            ServerCertificate::Own { certificate, key, ca } => {
                let server_ca = self.authority_files(Role::Server);
                write(&server.key, key, Access::Private, existing)?;
                write(&server.certificate, certificate, Access::Public, existing)?;
                match ca {
                    Some(ca) => write(&server_ca.certificate, ca, Access::Public, existing)?,
                    None => file::remove(&server_ca.certificate)?,
                }
                file::remove(&server_ca.key)?;
            }
            ServerCertificate::New(request) => {
                self.create_authority(Role::Server, setup.ca_days, existing)?;
                self.issue(&server, request, existing, |_| Ok(()))?;
            }
            ServerCertificate::Elsewhere => {}
        }
        file::remove(&self.old_key_file())?;
        match &setup.clients {
            None => drop(self.create_authority(Role::Client, setup.ca_days, existing)?),
            Some(own) => {
                let client_ca = self.authority_files(Role::Client);
                match &own.key {
                    Some(key) => write(&client_ca.key, key, Access::Private, existing)?,
                    None => file::remove(&client_ca.key)?,
                }
                write(&client_ca.certificate, &own.certificates, Access::Public, existing)?;
                match &own.revocations {
                    Some(list) => write(&self.revocations_file(), list, Access::Public, existing)?,
                    None => file::remove(&self.revocations_file())?,
                }
            }
        }
        // Where cert-manager issues the server's certificate, it issues the internal ones too.
        if !matches!(setup.server, ServerCertificate::Elsewhere) {
            self.create_internal(&setup.internal, (setup.internal_days, setup.ca_days), existing)?;
        }
        if setup.clients.as_ref().is_none_or(ClientAuthority::issues) {
            // The CA may have been this folder's before. The record then has revocations that the given list lacks.
            self.complete_lists()?;
            self.create_test_clients(existing)
        } else {
            self.test_client_paths().iter().try_for_each(|path| file::remove(path))
        }
    }

    /// Whether the folder has the clients' CA and the server's certificate.
    pub(crate) fn is_set_up(&self) -> bool {
        let needed = [self.authority_files(Ca::Client), self.server_files()];
        needed.iter().all(|it| it.certificate.exists())
    }

    fn reject_existing(&self) -> Result<(), Error> {
        match self.setup_files().into_iter().find(|path| path.exists()) {
            None => Ok(()),
            Some(path) => Err(Error::failed(format_args!("{} already exists", path.display())).hint(
                "`--force` creates new CAs, and every certificate must then be issued again; \
                 `otlp-gate certs server --force` replaces only the server's certificate",
            )),
        }
    }

    /// Every file that [`Folder::set_up`] writes, except for the record.
    fn setup_files(&self) -> Vec<PathBuf> {
        let authorities = Ca::ALL.into_iter().map(|it| self.authority_files(it));
        let internal = InternalCertificate::ALL.into_iter().map(|it| self.internal_files(it));
        let pairs = authorities.chain([self.server_files()]).chain(internal);
        let pairs = pairs.flat_map(|Files { certificate, key }| [key, certificate]);
        pairs.chain(self.test_client_paths()).chain([self.revocations_file()]).collect()
    }

    fn test_client_paths(&self) -> Vec<PathBuf> {
        let files = TestClient::ALL.into_iter().map(|it| self.test_client_files(it));
        files.flat_map(|Files { certificate, key }| [key, certificate]).collect()
    }
}

fn write(to: &Path, text: &str, access: Access, existing: Existing) -> Result<(), Error> {
    Staged::new(to, text.as_bytes(), access)?.commit(existing)
}
