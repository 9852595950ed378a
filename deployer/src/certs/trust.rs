//! What a gateway verifies clients with: the CAs of the folder and those of `clientCAs`, and their revocation lists.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use otlp_gate_core::config::{self as policy, AuthorityKey, PolicyConfig};
use otlp_gate_core::policy::Policy;

use super::listener::{self, CheckedAuthority};
use super::{Folder, Role};
use crate::config::{ClientCa, Config, Loaded};
use crate::error::Error;
use crate::x509::KeyKind;

/// The most serial numbers that the policy holds: about 270 KiB of it.
const MOST_REVOKED: usize = 10_000;

/// The CAs of a gate's clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientTrust {
    /// Their certificates, in PEM, without those in ConfigMaps.
    pub(crate) certificates: String,
    /// Their revocation lists in PEM, if each of them has one. Envoy rejects all clients of a CA without a list once it
    /// has the list of another CA, so it gets none of an incomplete set.
    pub(crate) revocations: Option<String>,
    /// The CAs as the filter is sent them. Those in ConfigMaps have no keys.
    pub(crate) cas: Vec<policy::ClientCa>,
    /// The files and names of CAs without a list.
    unlisted: Vec<(PathBuf, String)>,
    /// The files and names of entries of `clientCAs` with a key whose signatures the filter does not verify.
    unverified: Vec<(PathBuf, String)>,
}

/// One source of CAs: the folder, or an entry of `clientCAs`.
struct Source {
    /// The name in `clientCAs`; empty for a folder that no entry names.
    name: String,
    files: SourceFiles,
    /// Whether it is the folder, whose CA issues the certificate of `otlp-gate verify`.
    is_folder: bool,
}

enum SourceFiles {
    Files {
        certificates: PathBuf,
        list: Option<PathBuf>,
    },
    /// The certificates are in the cluster, and there is no list.
    ConfigMap,
}

impl ClientTrust {
    /// Reads and checks all files.
    ///
    /// # Errors
    /// Envoy cannot verify clients with one of them, a CA occurs twice, or the lists have too many certificates.
    pub(crate) fn read(config: &Config, folder: &Folder) -> Result<Self, Error> {
        Self::of(&sources(config, folder))
    }

    /// Reads and checks the files of the folder only.
    #[cfg(test)]
    pub(crate) fn of_folder(folder: &Folder) -> Result<Self, Error> {
        Self::of(&[Source::of_folder(String::new(), folder)])
    }

    /// The files that [`ClientTrust::read`] reads, whether they exist or not.
    pub(crate) fn files(config: &Config, folder: &Folder) -> Vec<PathBuf> {
        let files = sources(config, folder).into_iter().flat_map(|source| match source.files {
            SourceFiles::Files { certificates, list } => [Some(certificates), list],
            SourceFiles::ConfigMap => [None, None],
        });
        files.flatten().chain([folder.revocations_file()]).collect()
    }

    fn of(sources: &[Source]) -> Result<Self, Error> {
        let mut trust = ClientTrust {
            certificates: String::new(),
            revocations: None,
            cas: Vec::new(),
            unlisted: Vec::new(),
            unverified: Vec::new(),
        };
        let (mut lists, mut foreign, mut seen) =
            (String::new(), Vec::new(), Vec::<(Vec<u8>, usize, &Path)>::new());
        let mut all_listed = true;
        for (number, source) in sources.iter().enumerate() {
            let SourceFiles::Files { certificates: file, list } = &source.files else {
                all_listed = false;
                let name = source.name.clone();
                trust.cas.push(policy::ClientCa { name, ..policy::ClientCa::default() });
                continue;
            };
            let certificates = listener::read(file)?;
            let list =
                list.as_deref().map(|path| listener::read(path).map(|text| (path, text))).transpose()?;
            let list = list.as_ref().map(|(path, text)| (*path, text.as_str()));
            let checked = listener::check_clients((file, &certificates), list)?;
            for authority in &checked.authorities {
                // A CA may have several certificates in one entry's file.
                let other = seen.iter().find(|(key, other, _)| *key == authority.key && *other != number);
                if let Some((_, _, first)) = other {
                    let message =
                        format!("{}: {} is in {} too", file.display(), authority.name, first.display());
                    let hint = "a CA belongs to one entry of `clientCAs` only; `client-ca.crt` in the folder is one \
                                of its own";
                    return Err(Error::failed(message).hint(hint));
                }
                seen.push((authority.key.clone(), number, file));
            }
            append(&mut trust.certificates, &certificates);
            match list {
                Some((path, text)) => {
                    append(&mut lists, text);
                    foreign
                        .extend(checked.foreign_lists.iter().map(|issuer| (path.to_owned(), issuer.clone())));
                }
                None => {
                    all_listed = false;
                    let names = checked.authorities.iter().map(|it| (file.clone(), it.name.clone()));
                    trust.unlisted.extend(names);
                }
            }
            // Where the filter cannot verify who signed a certificate, no certificate would be that of `verify`.
            let is_verified =
                checked.authorities.iter().all(|it| KeyKind::of_der(&it.key).is_verified_by_filter());
            if !is_verified && !source.name.is_empty() {
                trust.unverified.push((file.clone(), source.name.clone()));
            }
            trust.cas.push(policy::ClientCa {
                name: source.name.clone(),
                verify: source.is_folder && is_verified && sources.len() > 1,
                keys: checked.authorities.iter().map(authority_key).collect(),
            });
        }
        trust.check_number()?;
        match (trust.unlisted.first(), foreign.first()) {
            (None, _) => trust.revocations = Some(lists).filter(|_| all_listed),
            (Some((_, unlisted)), Some((file, issuer))) => {
                let message = format!(
                    "{}: the list of {issuer}, a CA that is not in the certificates, has no effect, because {unlisted} \
                     has no list",
                    file.display()
                );
                let hint = "add the certificate of that CA to the file of its root, or remove the list";
                return Err(Error::failed(message).hint(hint));
            }
            (Some(_), None) => {}
        }
        Ok(trust)
    }

    /// The keys of the CAs in a bundle that something else writes. `place` is where it is, for messages.
    ///
    /// # Errors
    /// Envoy cannot verify clients with it.
    pub(crate) fn bundle_keys(place: &str, pem: &str) -> Result<Vec<AuthorityKey>, Error> {
        Ok(listener::check_bundle(Path::new(place), pem)?.iter().map(authority_key).collect())
    }

    /// The policy with these CAs.
    pub(crate) fn policy(&self, config: &Config) -> PolicyConfig {
        PolicyConfig { client_cas: self.cas.clone(), ..config.policy() }
    }

    /// Gives a loaded config the policy that the filter has: with the keys of the client CAs, and what these have
    /// revoked. Changes nothing if the folder has no CA.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn complete(loaded: &mut Loaded, folder: &Folder) -> Result<(), Error> {
        let config = &loaded.config;
        let no_folder = config.trusts_folder() && !folder.authority_files(Role::Client).certificate.exists();
        if !config.takes_client_cas() || no_folder {
            return Ok(());
        }
        let policy = ClientTrust::read(config, folder)?.policy(config);
        // The config was compiled without errors before.
        if let Ok(policy) = Policy::compile(&policy) {
            loaded.policy = policy;
        }
        Ok(())
    }

    /// Warnings about CAs without a revocation list, and about CAs whose clients the filter cannot tell from others.
    pub(crate) fn warnings(&self) -> Vec<Error> {
        let first = |all: &[(PathBuf, String)]| {
            let (file, name) = all.first()?;
            let more = match all.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            Some((file.clone(), format!("{name}{more}")))
        };
        let unlisted = first(&self.unlisted).map(|(file, names)| {
            Error::failed(format!("{}: no revocation list of {names}", file.display())).hint(
                "shut out a client of this CA with `deny`, by its certificate's serial number, its key, or its name, and \
                 `apply`; lists of other CAs are enforced by the filter then, after the handshake",
            )
        });
        let unverified = first(&self.unverified).map(|(file, names)| {
            let message = format!(
                "{}: the filter cannot verify signatures of a CA of {names}: rules with `ca` match none of its clients",
                file.display()
            );
            Error::failed(message).hint("use a CA with an ECDSA or RSA key for rules with `ca`")
        });
        unlisted.into_iter().chain(unverified).collect()
    }

    fn check_number(&self) -> Result<(), Error> {
        let serials = self.cas.iter().flat_map(|ca| &ca.keys).map(|key| key.revoked.len()).sum::<usize>();
        if serials <= MOST_REVOKED {
            return Ok(());
        }
        let message =
            format!("the revocation lists have {serials} certificates, and the policy holds {MOST_REVOKED}");
        Err(Error::failed(message).hint(
            "have the CA leave out certificates that have expired, or remove the list and reject clients with `deny`",
        ))
    }
}

/// The folder first, so that its CA is the first in the bundle, unless an entry of `clientCAs` names it.
fn sources(config: &Config, folder: &Folder) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for entry in &config.client_cas {
        let name = entry.name.clone();
        sources.push(match (&entry.certificates, &entry.config_map) {
            (None, None) => Source::of_folder(name, folder),
            (Some(file), _) => {
                let list = entry.revocation_list.clone();
                let files = SourceFiles::Files { certificates: file.clone(), list };
                Source { name, files, is_folder: false }
            }
            (None, Some(_)) => Source { name, files: SourceFiles::ConfigMap, is_folder: false },
        });
    }
    if config.trusts_folder() && !config.client_cas.iter().any(ClientCa::is_of_folder) {
        sources.push(Source::of_folder(String::new(), folder));
    }
    sources
}

impl Source {
    fn of_folder(name: String, folder: &Folder) -> Self {
        let list = Some(folder.revocations_file()).filter(|file| file.exists());
        let certificates = folder.authority_files(Role::Client).certificate;
        Source { name, files: SourceFiles::Files { certificates, list }, is_folder: true }
    }
}

fn authority_key(authority: &CheckedAuthority) -> AuthorityKey {
    AuthorityKey {
        key: STANDARD.encode(&authority.key),
        id: HEXLOWER.encode(&authority.key_id),
        revoked: authority.revoked.iter().map(ToString::to_string).collect(),
    }
}

/// Appends PEM text, on a line of its own.
fn append(all: &mut String, text: &str) {
    if !all.is_empty() && !all.ends_with('\n') {
        all.push('\n');
    }
    all.push_str(text);
}
