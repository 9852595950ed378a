//! The TLS files of a gateway's listeners, checked before Envoy gets them: Envoy reports little about bad files, and
//! some mistakes show only as handshakes that fail.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

use super::{Files, Folder};
use crate::error::Error;
use crate::file;
use crate::x509::{KeyKind, Number};

/// The certificate and key of a listener, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerTls {
    /// The server's certificate with its intermediate CAs.
    pub(crate) server: String,
    /// The server's key.
    pub(crate) key: String,
}

/// CAs of clients that Envoy can verify clients with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CheckedAuthorities {
    pub(super) authorities: Vec<CheckedAuthority>,
    /// The issuers of lists that none of the CAs has signed.
    pub(super) foreign_lists: Vec<String>,
}

/// A CA of clients, and the certificates that it has revoked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CheckedAuthority {
    /// Its subject.
    pub(super) name: String,
    /// Its SubjectPublicKeyInfo in DER.
    pub(super) key: Vec<u8>,
    /// Its subjectKeyIdentifier; empty without one.
    pub(super) key_id: Vec<u8>,
    /// The serial numbers on the lists that it has signed.
    pub(super) revoked: Vec<Number>,
}

impl ListenerTls {
    /// Reads `server.crt` and `server.key`.
    pub(crate) fn read(folder: &Folder) -> Result<Self, Error> {
        let files = folder.server_files();
        let (server, key) = (read(&files.certificate)?, read(&files.key)?);
        ListenerTls::check((&files.certificate, &server), (&files.key, &key))?;
        Ok(ListenerTls { server, key })
    }

    /// Checks that a listener can serve with this certificate and key, each with its file name for messages.
    pub(crate) fn check(server: (&Path, &str), key: (&Path, &str)) -> Result<(), Error> {
        check_server(server, key, ASN1Time::now())
    }

    /// The files that [`ListenerTls::read`] reads.
    pub(crate) fn files(folder: &Folder) -> [PathBuf; 2] {
        let Files { certificate, key } = folder.server_files();
        [certificate, key]
    }
}

/// Checks that Envoy can verify clients with these CAs and revocation lists, each with its file name for messages.
pub(super) fn check_clients(
    (file, pem): (&Path, &str),
    crl: Option<(&Path, &str)>,
) -> Result<CheckedAuthorities, Error> {
    let now = ASN1Time::now();
    let ders = certificates(file, pem)?;
    let parsed = check_authorities(file, &ders, now)?;
    let mut authorities: Vec<CheckedAuthority> = parsed.iter().map(CheckedAuthority::of).collect();
    let foreign_lists = match crl {
        Some(list) => check_revocations(list, file, &parsed, &mut authorities, now)?,
        None => Vec::new(),
    };
    Ok(CheckedAuthorities { authorities, foreign_lists })
}

/// The CAs of a bundle that something else writes. While it rotates, it may have one that has expired, which is left
/// out.
pub(super) fn check_bundle(file: &Path, pem: &str) -> Result<Vec<CheckedAuthority>, Error> {
    let now = ASN1Time::now();
    let ders = certificates(file, pem)?;
    let parsed = ders.iter().map(|der| parse(file, der)).collect::<Result<Vec<_>, Error>>()?;
    let current: Vec<_> = parsed.into_iter().filter(|it| it.validity().not_after >= now).collect();
    if current.is_empty() {
        let message = format!("{}: all certificates have expired", file.display());
        return Err(Error::failed(message).hint("renew the CA, or check what writes the bundle"));
    }
    current.iter().map(|it| check_is_ca(file, it).map(|()| CheckedAuthority::of(it))).collect()
}

impl CheckedAuthority {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let id = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        CheckedAuthority {
            name: certificate.subject().to_string(),
            key: certificate.public_key().raw.to_vec(),
            key_id: id.unwrap_or_default(),
            revoked: Vec::new(),
        }
    }
}

fn check_server(
    (server, chain): (&Path, &str),
    (key_file, key): (&Path, &str),
    now: ASN1Time,
) -> Result<(), Error> {
    let chain = certificates(server, chain)?;
    let parsed = chain.iter().map(|der| parse(server, der)).collect::<Result<Vec<_>, Error>>()?;
    for certificate in &parsed {
        check_time(server, certificate, now, "otlp-gate certs renew server")?;
    }
    if let Some(why) = parsed.first().and_then(|it| KeyKind::of(it.public_key()).rejected_as_servers()) {
        return Err(Error::failed(format!("{}: {why}", server.display()))
            .hint("use ECDSA P-256 or P-384, or RSA of 2048 bits or more"));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| Error::failed(format!("{}: no private key found: {error}", key_file.display())))?;
    let Ok(signer) = ring::sign::any_supported_type(&key) else {
        // A kind of key that Envoy may support and ring does not.
        return Ok(());
    };
    match CertifiedKey::new(chain, Arc::clone(&signer)).keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(Error::failed(format!("{} is not the key of {}", key_file.display(), server.display()))
                .hint("the server's own certificate must be the first one in its file"))
        }
        _ => Ok(()),
    }
}

fn check_authorities<'a>(
    file: &Path,
    ders: &'a [CertificateDer<'_>],
    now: ASN1Time,
) -> Result<Vec<X509Certificate<'a>>, Error> {
    let parsed = ders.iter().map(|der| parse(file, der)).collect::<Result<Vec<_>, Error>>()?;
    for certificate in &parsed {
        check_time(file, certificate, now, "otlp-gate certs init --force")?;
        check_is_ca(file, certificate)?;
    }
    Ok(parsed)
}

fn check_is_ca(file: &Path, certificate: &X509Certificate<'_>) -> Result<(), Error> {
    if certificate.is_ca() {
        return Ok(());
    }
    Err(Error::failed(format!("{}: {} is not a CA", file.display(), certificate.subject()))
        .hint("the file must have the CAs that issue client certificates, not client certificates"))
}

/// Once Envoy has a revocation list, it requires one of every CA, and rejects all clients of a CA whose list is missing
/// or past its next update. Adds the serial numbers on the lists to their CAs, and gives the issuers of other lists.
fn check_revocations(
    (file, pem): (&Path, &str),
    issuers: &Path,
    certificates: &[X509Certificate<'_>],
    authorities: &mut [CheckedAuthority],
    now: ASN1Time,
) -> Result<Vec<String>, Error> {
    let file = file.display();
    let bad = |why: String| Error::failed(format!("{file}: not a revocation list: {why}"));
    let ders = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let ders = ders.map_err(|error| bad(error.to_string()))?;
    let lists = ders
        .iter()
        .map(|der| Ok(CertificateRevocationList::from_der(der).map_err(|error| bad(error.to_string()))?.1))
        .collect::<Result<Vec<_>, Error>>()?;
    let mut foreign: Vec<&CertificateRevocationList<'_>> = lists.iter().collect();
    for (certificate, authority) in certificates.iter().zip(authorities) {
        let name = certificate.subject();
        let signed =
            |list: &&CertificateRevocationList<'_>| list.verify_signature(certificate.public_key()).is_ok();
        let (own, others): (Vec<_>, Vec<_>) = foreign.into_iter().partition(signed);
        foreign = others;
        let Some(list) = own.first() else {
            return Err(Error::failed(format!("{file}: no revocation list of {name}")).hint(format!(
                "Envoy rejects all clients unless every CA in {} has a list",
                issuers.display()
            )));
        };
        if let Some(next) = list.next_update().filter(|next| *next < now) {
            return Err(Error::failed(format!("{file}: the list of {name} expired at {next}"))
                .hint(format!("{RESIGN}; until then Envoy rejects all clients")));
        }
        if list.last_update() > now {
            let from = list.last_update();
            return Err(Error::failed(format!("{file}: the list of {name} is dated in the future: {from}"))
                .hint(format!(
                    "correct this machine's clock if it is behind; otherwise {RESIGN}, dated back; until then Envoy \
                    rejects all clients"
                )));
        }
        let serials = own.iter().flat_map(|list| list.iter_revoked_certificates());
        let serials = serials.map(|revoked| Number::from_bytes(&revoked.serial().to_bytes_be()));
        authority.revoked = serials.collect();
        authority.revoked.sort_unstable();
        authority.revoked.dedup();
    }
    Ok(foreign.into_iter().map(|list| list.issuer().to_string()).collect())
}

/// What to do about a list that Envoy cannot use.
const RESIGN: &str =
    "get a new one from the CA, or sign one with `otlp-gate certs crl` if the folder has the CA's key";

fn check_time(
    file: &Path,
    certificate: &X509Certificate<'_>,
    now: ASN1Time,
    remedy: &str,
) -> Result<(), Error> {
    let validity = certificate.validity();
    let when = if now > validity.not_after {
        format!("expired at {}", validity.not_after)
    } else if now < validity.not_before {
        format!("is not valid before {}", validity.not_before)
    } else {
        return Ok(());
    };
    Err(Error::failed(format!("{}: {} {when}", file.display(), certificate.subject()))
        .hint(format!("`{remedy}` creates a new one, if the clock of this machine is right")))
}

fn certificates(file: &Path, pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bad = |why: String| Error::failed(format!("{}: expected certificates in PEM: {why}", file.display()));
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| bad(error.to_string()))?;
    if all.is_empty() { Err(bad("found none".to_owned())) } else { Ok(all) }
}

fn parse<'a>(file: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let parsed = X509Certificate::from_der(der);
    parsed
        .map(|(_, certificate)| certificate)
        .map_err(|error| Error::failed(format!("{}: not a certificate: {error}", file.display())))
}

pub(super) fn read(file: &Path) -> Result<String, Error> {
    let hint = "`otlp-gate certs init` creates the certificates, by default in the folder `certs`; name the folder \
        with server.crt, server.key and client-ca.crt";
    file::read_text_or(file, hint)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
    };
    use tempfile::TempDir;
    use time::{Duration, OffsetDateTime};

    use super::super::ClientTrust;
    use super::*;

    /// A CA or a self-signed certificate, valid from `from` to `to` days from now.
    fn params(name: &str, ca: bool, from: i64, to: i64) -> CertificateParams {
        let now = OffsetDateTime::now_utc();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = now + Duration::days(from);
        params.not_after = now + Duration::days(to);
        if ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }
        params
    }

    fn pem(params: CertificateParams, key: &KeyPair) -> String {
        params.self_signed(key).unwrap().pem()
    }

    fn revocations(name: &str, key: KeyPair, next_update: i64) -> String {
        let now = OffsetDateTime::now_utc();
        list_from(now - Duration::days(20), name, key, next_update)
    }

    fn list_from(this_update: OffsetDateTime, name: &str, key: KeyPair, next_update: i64) -> String {
        let now = OffsetDateTime::now_utc();
        let list = CertificateRevocationListParams {
            this_update,
            next_update: now + Duration::days(next_update),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&Issuer::new(params(name, true, -1, 1), key)).unwrap().pem().unwrap()
    }

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        fs::write(folder.path().join("server.crt"), pem(params("server", false, -1, 1), &key)).unwrap();
        fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
        let ca = pem(params("clients", true, -1, 1), &KeyPair::generate().unwrap());
        fs::write(folder.path().join("client-ca.crt"), ca).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn read_all(folder: &TempDir) -> Result<(ListenerTls, ClientTrust), Error> {
        let folder = Folder::at(folder.path());
        Ok((ListenerTls::read(&folder)?, ClientTrust::of_folder(&folder)?))
    }

    fn wrong(files: &[(&str, &str)]) -> String {
        read_all(&folder(files)).unwrap_err().to_string()
    }

    #[test]
    fn matching_files_are_read() {
        let (listener, clients) = read_all(&folder(&[])).unwrap();
        assert!(listener.key.contains("PRIVATE KEY"));
        assert_eq!(clients.revocations, None);
    }

    #[test]
    fn mistakes_that_envoy_does_not_report_are_reported() {
        let key = KeyPair::generate().unwrap();
        let expired = pem(params("old", false, -9, -1), &key);
        let early = pem(params("early", false, 1, 2), &key);
        let leaf = pem(params("leaf", false, -1, 1), &key);
        let old_ca = pem(params("old ca", true, -9, -1), &key);
        for (files, message) in [
            (vec![("server.key", key.serialize_pem())], "is not the key of"),
            (vec![("server.key", String::new())], "no private key found"),
            (vec![("server.crt", key.serialize_pem())], "found none"),
            (vec![("server.crt", expired)], "CN=old expired at"),
            (vec![("server.crt", early)], "CN=early is not valid before"),
            (vec![("client-ca.crt", leaf)], "CN=leaf is not a CA"),
            (vec![("client-ca.crt", old_ca)], "CN=old ca expired at"),
            (vec![("client-ca.crt", "nothing".to_owned())], "found none"),
            (vec![("client.crl", "nothing".to_owned())], "no revocation list of CN=clients"),
        ] {
            let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
            let told = wrong(&files);
            assert!(told.contains(message), "{files:?}: {told}");
        }
    }

    #[test]
    fn every_ca_needs_a_current_revocation_list() {
        let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
        let names = ["first", "second"];
        let cas: String =
            names.iter().zip(&keys).map(|(name, key)| pem(params(name, true, -1, 1), key)).collect();
        let list = |index: usize, next_update| {
            let key = KeyPair::from_pem(&keys[index].serialize_pem()).unwrap();
            revocations(names[index], key, next_update)
        };
        let both = list(1, 1) + &list(0, 1);
        let read = folder(&[("client-ca.crt", &cas), ("client.crl", &both)]);
        assert_eq!(read_all(&read).unwrap().1.revocations, Some(both));

        let one = wrong(&[("client-ca.crt", &cas), ("client.crl", &list(0, 1))]);
        assert!(one.contains("no revocation list of CN=second"), "{one}");
        let key = KeyPair::from_pem(&keys[1].serialize_pem()).unwrap();
        let future = list_from(OffsetDateTime::now_utc() + Duration::seconds(20), "second", key, 1);
        let future = wrong(&[("client-ca.crt", &cas), ("client.crl", &(list(0, 1) + &future))]);
        assert!(future.contains("the list of CN=second is dated in the future"), "{future}");
        let old = wrong(&[("client-ca.crt", &cas), ("client.crl", &(list(0, 1) + &list(1, -1)))]);
        assert!(old.contains("the list of CN=second expired at"), "{old}");
    }
}
