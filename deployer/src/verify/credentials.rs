//! What is shown to the gate.

use std::path::Path;

use otlp_gate_core::identity::Identity;
use otlp_gate_core::policy;

use crate::certs::{Authority, Files, Folder, Role, TestClient};
use crate::config::Loaded;
use crate::error::Error;
use crate::probe::Credentials;
use crate::x509::Certificate;

/// What cert-manager keeps in the cluster, in PEM.
#[derive(Debug)]
pub struct Kept {
    /// The CA of the server's certificate.
    pub server_ca: String,
    /// The certificate and key of the reserved client.
    pub client: (String, String),
}

/// What is shown to the gate; or why it cannot be.
#[derive(Debug)]
pub struct Shown {
    /// What the reserved client's certificate says, where there is one.
    pub(super) identity: Option<Identity>,
    pub(super) client: Result<Credentials, String>,
    pub(super) stranger: Result<Credentials, String>,
    pub(super) expired: Result<Credentials, String>,
    pub(super) revoked: Result<Credentials, String>,
    pub(super) foreign: Result<Credentials, String>,
    pub(super) nothing: Result<Credentials, String>,
}

impl Shown {
    /// From the folder of the gate's certificates.
    ///
    /// # Errors
    /// The server's CA is not there, so that not even the gate can be told from somebody else.
    pub fn from(folder: &Folder, server_name: &str, loaded: &Loaded) -> Result<Self, Error> {
        let path = folder.authority_files(Role::Server).certificate;
        let ca = std::fs::read_to_string(&path).map_err(|e| {
            Error::failed(format_args!("cannot read {}: {e}", path.display())).hint(
                "it is by the server's CA that the gate is known: `otlp-gate certs init` makes one, `--certs DIR` names its folder",
            )
        })?;
        let nothing =
            Credentials { server_ca: ca, server_name: server_name.to_owned(), client_certificate: None };
        let with = |files: &Files| -> Result<Credentials, String> {
            let own = Some((read(&files.certificate)?, read(&files.key)?));
            Ok(Credentials { client_certificate: own, ..nothing.clone() })
        };
        let of = |client| with(&folder.test_client_files(client));
        let certificate = |client| folder.certificate(&folder.test_client_files(client)).ok();
        Ok(Shown {
            identity: certificate(TestClient::Valid).map(|it: Certificate| it.identity()),
            client: of(TestClient::Valid),
            stranger: of(TestClient::Unknown)
                .and_then(|it| no_client(loaded, certificate(TestClient::Unknown)).map(|()| it)),
            expired: of(TestClient::Expired),
            revoked: of(TestClient::Revoked),
            foreign: foreign_to(&nothing),
            nothing: Ok(nothing),
        })
    }
}

impl Shown {
    /// From what cert-manager keeps: only the good client's is there.
    pub fn kept(kept: Kept, server_name: &str) -> Self {
        let Kept { server_ca: ca, client } = kept;
        let identity = Certificate::parse(client.0.as_bytes()).ok().map(|it| it.identity());
        let nothing =
            Credentials { server_ca: ca, server_name: server_name.to_owned(), client_certificate: None };
        let none = |what: &str| Err(format!("cert-manager makes no certificate that {what}"));
        Shown {
            identity,
            client: Ok(Credentials { client_certificate: Some(client), ..nothing.clone() }),
            stranger: none("is no client's"),
            expired: none("has expired"),
            revoked: none("is revoked"),
            foreign: foreign_to(&nothing),
            nothing: Ok(nothing),
        }
    }
}

fn foreign_to(nothing: &Credentials) -> Result<Credentials, String> {
    let own = foreign().map_err(|e| e.to_string())?;
    Ok(Credentials { client_certificate: Some(own), ..nothing.clone() })
}

/// The reserved client's certificate, were it of a CA that the gate trusts.
fn foreign() -> Result<(String, String), Error> {
    let key = Authority::new_key()?;
    let certificate = Authority::generate(Role::Client, 1)?.issue(&TestClient::Valid.request(), &key)?;
    Ok((certificate, key.serialize_pem()))
}

/// There may be no such thing as a certificate of no client.
fn no_client(loaded: &Loaded, certificate: Option<Certificate>) -> Result<(), String> {
    let identity = certificate.map(|it| it.identity()).unwrap_or_default();
    match loaded.policy.identify(&identity) {
        policy::Identification::Client(client) => Err(format!(
            "there is none: the configuration makes any certificate a client, here `{}`",
            client.name
        )),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => format!(
            "there is no {}: `otlp-gate certs verify` makes it, or whoever has the clients' CA",
            path.display()
        ),
        _ => format!("cannot read {}: {e}", path.display()),
    })
}
