//! The internal certificates of a folder: those of the Collector and of the engine of shared quotas, and of the gateway
//! and the node-local gateways, which are their only clients.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rcgen::KeyPair;
use time::{Duration, OffsetDateTime};

use super::{Ca, Files, Folder, Host, Request, Validity, pem};
use crate::error::Error;
use crate::file::{self, Existing};
use crate::output::duration;
use crate::x509::{Certificate, Role};

/// The time before the expiry of an internal certificate from which commands warn of it.
const EXPIRES_SOON: Duration = Duration::days(30);

/// A certificate that the internal CA issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InternalCertificate {
    /// The Collector's, as a server.
    Collector,
    /// The gateway's, as a client of the Collector and of the engine of shared quotas.
    Gateway,
    /// The node-local gateways', as clients of the Collector.
    Node,
    /// That of the engine of shared quotas, as a server. A folder has it only for a gate that deploys one.
    Quotas,
}

/// A server with an internal certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InternalServer {
    /// Its certificate.
    pub(crate) certificate: InternalCertificate,
    /// The names of its Service. Clients demand the first one in its certificate.
    pub(crate) hosts: Vec<String>,
}

/// The internal certificates with their keys, read and checked. All PEM.
#[derive(Debug)]
pub(crate) struct InternalTls {
    /// The trusted CAs. While a CA is replaced, there are two.
    pub(crate) ca: String,
    /// The certificates with their keys: those of the servers that were asked for, and of all clients.
    pub(crate) pairs: BTreeMap<InternalCertificate, (String, String)>,
    /// The CAs that issued the servers' certificates, as hex of their keys' SHA-256.
    pub(crate) issuer: String,
}

impl InternalCertificate {
    /// All internal certificates.
    pub(crate) const ALL: [InternalCertificate; 4] = [
        InternalCertificate::Collector,
        InternalCertificate::Gateway,
        InternalCertificate::Node,
        InternalCertificate::Quotas,
    ];

    /// The stem of its files' names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            InternalCertificate::Collector => "collector",
            InternalCertificate::Gateway => "gateway",
            InternalCertificate::Node => "node",
            InternalCertificate::Quotas => "quotas",
        }
    }

    /// What its holder connects to or is, for messages.
    pub(crate) fn server_title(self) -> &'static str {
        match self {
            InternalCertificate::Quotas => "quota engine",
            _ => "Collector",
        }
    }

    /// Those that a gate with these servers needs: the servers', each with the names of its Service, and the clients'.
    fn needed(servers: &[InternalServer]) -> impl Iterator<Item = (InternalCertificate, &[String])> {
        InternalCertificate::ALL.into_iter().filter_map(|it| match it.role() {
            Role::Client => Some((it, &[][..])),
            Role::Server => {
                let server = servers.iter().find(|server| server.certificate == it)?;
                Some((it, &server.hosts[..]))
            }
        })
    }

    /// The side of the connection that presents it.
    pub(crate) fn role(self) -> Role {
        match self {
            InternalCertificate::Collector | InternalCertificate::Quotas => Role::Server,
            InternalCertificate::Gateway | InternalCertificate::Node => Role::Client,
        }
    }

    /// The contents of the certificate. `hosts` are the names of a server's Service.
    fn request(self, hosts: &[String], days: u32) -> Request {
        let hosts = hosts.iter().cloned().map(Host::Dns).collect();
        match self.role() {
            Role::Server => Request::server(hosts, days),
            Role::Client => Request {
                role: Role::Client,
                subject: vec![("CN".to_owned(), format!("otlp-gate {}", self.name()))],
                uris: Vec::new(),
                emails: Vec::new(),
                dns: Vec::new(),
                ips: Vec::new(),
                validity: Validity::Days(days),
            },
        }
    }
}

impl Folder {
    /// The files of an internal certificate.
    pub(crate) fn internal_files(&self, certificate: InternalCertificate) -> Files {
        self.files(certificate.name())
    }

    /// Creates the internal CA, the certificates of these servers, and those of their clients.
    pub(super) fn create_internal(
        &self,
        servers: &[InternalServer],
        (days, ca_days): (u32, u32),
        existing: Existing,
    ) -> Result<(), Error> {
        self.create_authority(Ca::Internal, ca_days, existing)?;
        for (it, hosts) in InternalCertificate::needed(servers) {
            self.issue(&self.internal_files(it), &it.request(hosts, days), existing, |_| Ok(()))?;
        }
        Ok(())
    }

    /// Creates the internal CA and its certificates as far as they are missing, and issues a server's certificate again
    /// if it lacks a name. Gives the files that were written. The folder must be locked.
    pub(crate) fn complete_internal(
        &self,
        servers: &[InternalServer],
        (days, ca_days): (u32, u32),
    ) -> Result<Vec<Files>, Error> {
        let ca = self.authority_files(Ca::Internal);
        let mut written = Vec::new();
        if !ca.certificate.exists() {
            self.create_authority(Ca::Internal, ca_days, Existing::Keep)?;
            written.push(ca);
        }
        for (it, hosts) in InternalCertificate::needed(servers) {
            let files = self.internal_files(it);
            let mut request = it.request(hosts, days);
            if files.certificate.exists() && files.key.exists() {
                let old = self.certificate(&files)?;
                if hosts.iter().all(|host| old.identity().dns.contains(host)) {
                    continue;
                }
                // Other gates may use the folder too.
                let others = old.identity().dns.iter().filter(|name| !hosts.contains(name)).cloned();
                request.dns.extend(others.collect::<Vec<_>>());
            }
            self.issue(&files, &request, Existing::Replace, |_| Ok(()))?;
            written.push(files);
        }
        Ok(written)
    }

    /// Reads the internal certificates for these servers and of their clients; `None` if the folder has no internal CA.
    ///
    /// # Errors
    /// A file is missing or invalid, or a certificate is expired, of another CA, or for another name.
    pub(crate) fn internal(&self, servers: &[InternalServer]) -> Result<Option<InternalTls>, Error> {
        let ca = self.authority_files(Ca::Internal).certificate;
        if !ca.exists() {
            return Ok(None);
        }
        let authorities = self.authority_certificates(Ca::Internal)?;
        let now = OffsetDateTime::now_utc();
        check_time(&ca, authorities.iter(), now)?;
        let read = |it: InternalCertificate| -> Result<(Certificate, (String, String)), Error> {
            let files = self.internal_files(it);
            let (path, certificate) = (&files.certificate, file::read_text_or(&files.certificate, INIT)?);
            let key = file::read_text_or(&files.key, INIT)?;
            let parsed = pem::certificates(path, certificate.clone())?;
            check_time(path, parsed.iter(), now)?;
            let leaf = parsed.into_iter().next().ok_or_else(|| {
                Error::failed(format_args!("{}: no certificate found", path.display())).hint(INIT)
            })?;
            let pair = KeyPair::from_pem(&key).map_err(|e| {
                Error::failed(format_args!("{}: not a private key: {e}", files.key.display()))
            })?;
            if !leaf.has_public_key(pair.public_key_raw()) {
                let message = format!("{} is not the key of {}", files.key.display(), path.display());
                return Err(Error::failed(message).hint(RENEW));
            }
            if !authorities.iter().any(|it| leaf.is_signed_by(it)) {
                let message = format!("{} was not issued by a CA in {}", path.display(), ca.display());
                return Err(Error::failed(message).hint(RENEW));
            }
            Ok((leaf, (certificate, key)))
        };
        let (mut pairs, mut issuers) = (BTreeMap::new(), BTreeSet::new());
        for (it, hosts) in InternalCertificate::needed(servers) {
            let (leaf, pair) = read(it)?;
            if let Some(host) = hosts.first().filter(|host| !leaf.identity().dns.contains(host)) {
                let file = self.internal_files(it).certificate;
                let title = it.server_title();
                let message = format!("{} is not for {host}, the {title} of this gate", file.display());
                return Err(Error::failed(message).hint(INIT));
            }
            if it.role() == Role::Server {
                let issuer = authorities.iter().find(|it| leaf.is_signed_by(it));
                issuers.extend(issuer.map(Certificate::public_key_sha256_hex));
            }
            pairs.insert(it, pair);
        }
        Ok(Some(InternalTls { ca: file::read_text(&ca)?, pairs, issuer: Vec::from_iter(issuers).concat() }))
    }

    /// The internal certificates that expire soon, each as a warning. Those that have expired are an error of
    /// [`Folder::internal`].
    pub(super) fn internal_expiring(&self, now: OffsetDateTime) -> Vec<Error> {
        let expiring = |it: InternalCertificate| {
            let files = self.internal_files(it);
            let certificate = self.certificate(&files).ok()?;
            let left = certificate.not_after - now;
            (Duration::ZERO..EXPIRES_SOON).contains(&left).then(|| {
                let effect = match it {
                    InternalCertificate::Quotas => "each replica then has quotas of its own",
                    _ => "the Collector then receives nothing from the gateway",
                };
                let message =
                    format!("{}: expires in {}; {effect}", files.certificate.display(), duration(left));
                Error::failed(message).hint(RENEW)
            })
        };
        InternalCertificate::ALL.into_iter().filter_map(expiring).collect()
    }
}

const INIT: &str = "`otlp-gate certs init` creates the internal certificates that are missing, and issues those of the \
    Collector and of the quota engine for their Services; it leaves the others as they are";
const RENEW: &str = "`otlp-gate certs renew internal --new-key` issues the internal certificates again; then run \
    `otlp-gate apply`";

fn check_time<'a>(
    file: &Path,
    certificates: impl Iterator<Item = &'a Certificate>,
    now: OffsetDateTime,
) -> Result<(), Error> {
    for it in certificates {
        let when = if it.not_after < now {
            format!("expired at {}", it.not_after)
        } else if it.not_before > now {
            format!("is not valid before {}", it.not_before)
        } else {
            continue;
        };
        let message = format!("{}: {} {when}", file.display(), it.subject.as_deref().unwrap_or_default());
        let hint = match it.ca {
            true => {
                "remove internal-ca.crt and internal-ca.key, then run `otlp-gate certs init` and \
                `otlp-gate certs renew internal --new-key`"
            }
            false => RENEW,
        };
        return Err(Error::failed(message).hint(hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: [&str; 2] = ["gate-collector.telemetry.svc", "gate-collector.telemetry"];

    fn collector(hosts: &[&str]) -> InternalServer {
        let hosts = hosts.iter().map(|it| (*it).to_owned()).collect();
        InternalServer { certificate: InternalCertificate::Collector, hosts }
    }

    fn servers() -> [InternalServer; 1] {
        [collector(&HOSTS)]
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::at(temporary.path());
        folder.create_internal(&servers(), (30, 60), Existing::Keep).unwrap();
        (temporary, folder)
    }

    fn names(files: &[Files]) -> Vec<String> {
        let stem = |it: &Files| it.certificate.file_stem().unwrap().to_string_lossy().into_owned();
        files.iter().map(stem).collect()
    }

    #[test]
    fn each_end_has_a_certificate_for_its_side_only() {
        let (_temporary, folder) = folder();
        let tls = folder.internal(&servers()).unwrap().unwrap();
        let usage = |it: InternalCertificate| {
            let (pem, _) = &tls.pairs[&it];
            let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
            let certificate = block.parse_x509().unwrap();
            let usage = certificate.extended_key_usage().unwrap().unwrap().value;
            (usage.server_auth, usage.client_auth)
        };
        assert_eq!(usage(InternalCertificate::Collector), (true, false));
        assert_eq!(usage(InternalCertificate::Gateway), (false, true));
        assert_eq!(usage(InternalCertificate::Node), (false, true));
        // The gateway trusts clients and the server of other CAs.
        assert_eq!(folder.ca_of(&folder.server_files()), Ca::Server);
        assert_eq!(folder.ca_of(&folder.client_files("gateway")), Ca::Client);
        assert_eq!(folder.ca_of(&folder.internal_files(InternalCertificate::Gateway)), Ca::Internal);
    }

    #[test]
    fn only_what_is_missing_is_created() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::at(temporary.path());
        assert!(folder.internal(&servers()).unwrap().is_none());
        let all = ["internal-ca", "collector", "gateway", "node"];
        assert_eq!(names(&folder.complete_internal(&servers(), (30, 60)).unwrap()), all);
        assert!(folder.complete_internal(&servers(), (30, 60)).unwrap().is_empty());
        let ca = file::read_text(&folder.authority_files(Ca::Internal).certificate).unwrap();
        file::remove(&folder.internal_files(InternalCertificate::Node).key).unwrap();
        assert_eq!(names(&folder.complete_internal(&servers(), (30, 60)).unwrap()), ["node"]);
        // Another gate's Collector is added to the names.
        let other = [collector(&["other-collector.telemetry.svc"])];
        assert!(folder.internal(&other).unwrap_err().to_string().contains("is not for other-collector"));
        assert_eq!(names(&folder.complete_internal(&other, (30, 60)).unwrap()), ["collector"]);
        for servers in [&servers(), &other] {
            assert!(folder.internal(servers).unwrap().is_some(), "{servers:?}");
        }
        assert_eq!(file::read_text(&folder.authority_files(Ca::Internal).certificate).unwrap(), ca);
    }

    #[test]
    fn an_engine_has_a_certificate_if_the_gate_deploys_one() {
        let (_temporary, folder) = folder();
        let quotas = |host: &str| InternalServer {
            certificate: InternalCertificate::Quotas,
            hosts: vec![host.to_owned()],
        };
        let host = "gate-quotas.telemetry.svc";
        let both = [servers()[0].clone(), quotas(host)];
        let pairs = |servers: &[InternalServer]| {
            folder.internal(servers).map(|tls| tls.unwrap().pairs.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(pairs(&servers()).unwrap(), InternalCertificate::ALL[..3]);
        let missing = pairs(&both).unwrap_err();
        assert!(missing.to_string().contains("quotas.crt"), "{missing}");
        assert!(missing.hint_text().unwrap().contains("otlp-gate certs init"));
        assert_eq!(names(&folder.complete_internal(&both, (30, 60)).unwrap()), ["quotas"]);
        assert_eq!(pairs(&both).unwrap(), InternalCertificate::ALL);
        // The certificate of one gate's engine is added to the names of another's.
        let other = [quotas("other-quotas.telemetry.svc")];
        let error = pairs(&other).unwrap_err().to_string();
        assert!(error.contains("is not for other-quotas.telemetry.svc, the quota engine"), "{error}");
        assert_eq!(names(&folder.complete_internal(&other, (30, 60)).unwrap()), ["quotas"]);
        for servers in [&both[..], &other] {
            assert!(pairs(servers).is_ok(), "{servers:?}");
        }
        // One digest stands for the CA of all servers.
        let [one, two] =
            [&both[..], &both[..1]].map(|servers| folder.internal(servers).unwrap().unwrap().issuer);
        assert_eq!(one, two);
    }

    #[test]
    fn files_that_do_not_belong_together_are_rejected() {
        let wrong = |spoil: &dyn Fn(&Folder)| {
            let (_temporary, folder) = folder();
            spoil(&folder);
            folder.internal(&servers()).unwrap_err().to_string()
        };
        let of = InternalCertificate::Gateway;
        let missing = wrong(&|folder| file::remove(&folder.internal_files(of).certificate).unwrap());
        assert!(missing.contains("gateway.crt"), "{missing}");
        let key = wrong(&|folder| {
            let other = folder.internal_files(InternalCertificate::Node).key;
            std::fs::copy(other, folder.internal_files(of).key).unwrap();
        });
        assert!(key.contains("gateway.key is not the key of"), "{key}");
        let ca = wrong(&|folder| {
            folder.create_authority(Ca::Internal, 60, Existing::Replace).unwrap();
        });
        assert!(ca.contains("collector.crt was not issued by a CA in"), "{ca}");
        let expired = wrong(&|folder| {
            let request = Request { validity: Validity::Expired, ..of.request(&[], 1) };
            folder.issue(&folder.internal_files(of), &request, Existing::Replace, |_| Ok(())).unwrap();
        });
        assert!(expired.contains("gateway.crt: CN=otlp-gate gateway expired at"), "{expired}");
    }

    #[test]
    fn certificates_that_expire_soon_are_warned_of() {
        let (_temporary, folder) = folder();
        let now = OffsetDateTime::now_utc();
        assert!(folder.internal_expiring(now - Duration::days(2)).is_empty());
        let warnings = folder.internal_expiring(now + Duration::days(20));
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].to_string().contains("collector.crt: expires in 9 days"), "{}", warnings[0]);
    }

    #[test]
    fn the_internal_ca_is_replaced_in_steps() {
        let (_temporary, folder) = folder();
        let first = folder.internal(&servers()).unwrap().unwrap();
        folder.rotate(Ca::Internal, 60).unwrap();
        // Certificates of the old CA stay valid.
        let both = folder.internal(&servers()).unwrap().unwrap();
        assert_eq!((both.issuer.clone(), both.ca.matches("BEGIN").count()), (first.issuer.clone(), 2));
        let left = folder.finish_rotation(Ca::Internal, false).unwrap_err().to_string();
        assert!(left.contains("collector, gateway, node"), "{left}");
        for (role, files) in folder.renewable().unwrap() {
            let old = folder.certificate(&files).unwrap();
            folder.renew(&files, &Request::renewal(&old, role, 30)).unwrap();
        }
        folder.finish_rotation(Ca::Internal, false).unwrap();
        let last = folder.internal(&servers()).unwrap().unwrap();
        assert_eq!(last.ca.matches("BEGIN").count(), 1);
        assert_ne!(last.issuer, first.issuer);
    }
}
