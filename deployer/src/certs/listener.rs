//! The TLS files of a gateway's listeners, checked before Envoy gets them: Envoy reports little about bad files, and
//! some mistakes show only as handshakes that fail.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

use crate::error::Error;
use crate::file;
use crate::x509::KeyKind;

/// The certificate and key of a listener, and the CAs and revocation lists to verify clients with. All PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerTls {
    /// The server's certificate with its intermediate CAs.
    pub(crate) server: String,
    /// The server's key.
    pub(crate) key: String,
    /// The clients' CAs.
    pub(crate) client_ca: String,
    /// The revocation lists of the clients' CAs.
    pub(crate) client_crl: Option<String>,
}

/// The paths of the files.
#[derive(Debug)]
struct Files {
    server: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
    client_crl: PathBuf,
}

impl ListenerTls {
    /// Reads `server.crt`, `server.key`, `client-ca.crt` and, if it is there, `client.crl`.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let files = Files::within(folder);
        let server = read(&files.server)?;
        let key = read(&files.key)?;
        ListenerTls::check_server((&files.server, &server), (&files.key, &key))?;
        let (client_ca, client_crl) = ListenerTls::read_clients(folder)?;
        Ok(ListenerTls { server, key, client_ca, client_crl })
    }

    /// Reads only what clients are verified with: their CAs and the revocation lists.
    pub(crate) fn read_clients(folder: &Path) -> Result<(String, Option<String>), Error> {
        let files = Files::within(folder);
        let client_ca = read(&files.client_ca)?;
        let client_crl = if files.client_crl.exists() { Some(read(&files.client_crl)?) } else { None };
        let list = client_crl.as_deref().map(|list| (&*files.client_crl, list));
        ListenerTls::check_clients((&files.client_ca, &client_ca), list)?;
        Ok((client_ca, client_crl))
    }

    /// Checks that a listener can serve with this certificate and key, each with its file name for messages.
    pub(crate) fn check_server(server: (&Path, &str), key: (&Path, &str)) -> Result<(), Error> {
        check_server(server, key, ASN1Time::now())
    }

    /// Checks that Envoy can verify clients with these CAs and revocation lists, each with its file name for messages.
    pub(crate) fn check_clients(authorities: (&Path, &str), crl: Option<(&Path, &str)>) -> Result<(), Error> {
        let (file, now) = (authorities.0, ASN1Time::now());
        let ders = certificates(file, authorities.1)?;
        let parsed = check_authorities(file, &ders, now)?;
        crl.map_or(Ok(()), |list| check_revocations(list, (file, &parsed), now))
    }

    /// The files that [`ListenerTls::read`] reads.
    pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
        let Files { server, key, client_ca, client_crl } = Files::within(folder);
        vec![server, key, client_ca, client_crl]
    }
}

impl Files {
    fn within(folder: &Path) -> Self {
        Files {
            server: folder.join("server.crt"),
            key: folder.join("server.key"),
            client_ca: folder.join("client-ca.crt"),
            client_crl: folder.join("client.crl"),
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
        if !certificate.is_ca() {
            return Err(Error::failed(format!("{}: {} is not a CA", file.display(), certificate.subject()))
                .hint("the file must have the CAs that issue client certificates, not client certificates"));
        }
    }
    Ok(parsed)
}

/// Once Envoy has a revocation list, it requires one of every CA, and rejects all clients of a CA whose list is missing
/// or past its next update.
fn check_revocations(
    (file, pem): (&Path, &str),
    (issuers, authorities): (&Path, &[X509Certificate<'_>]),
    now: ASN1Time,
) -> Result<(), Error> {
    let file = file.display();
    let bad = |why: String| Error::failed(format!("{file}: not a revocation list: {why}"));
    let ders = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let ders = ders.map_err(|error| bad(error.to_string()))?;
    let lists = ders
        .iter()
        .map(|der| Ok(CertificateRevocationList::from_der(der).map_err(|error| bad(error.to_string()))?.1))
        .collect::<Result<Vec<_>, Error>>()?;
    for authority in authorities {
        let name = authority.subject();
        let Some(list) = lists.iter().find(|list| list.verify_signature(authority.public_key()).is_ok())
        else {
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
    }
    Ok(())
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

fn read(file: &Path) -> Result<String, Error> {
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

    fn wrong(files: &[(&str, &str)]) -> String {
        ListenerTls::read(folder(files).path()).unwrap_err().to_string()
    }

    #[test]
    fn matching_files_are_read() {
        let read = ListenerTls::read(folder(&[]).path()).unwrap();
        assert!(read.key.contains("PRIVATE KEY"));
        assert_eq!(read.client_crl, None);
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
        assert_eq!(ListenerTls::read(read.path()).unwrap().client_crl, Some(both));

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
