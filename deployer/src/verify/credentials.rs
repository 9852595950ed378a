//! Credentials of the test clients.

use std::path::Path;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use otlp_gate_core::identity::Identity;
use otlp_gate_core::policy::Identification;

use crate::certs::{Authority, Files, Folder, Role, TestClient};
use crate::cluster::{Cluster, api_error};
use crate::config::{Config, Loaded, ServerCa};
use crate::error::Error;
use crate::file;
use crate::model::Names;
use crate::probe::{Credentials, system_roots};
use crate::x509::Certificate;

/// Credentials of each test client, or why there are none.
#[derive(Debug)]
pub(super) struct TestCredentials {
    /// Identity in the valid client's certificate, if there is one.
    pub(super) identity: Option<Identity>,
    /// The reserved client, which every policy has a rule for.
    pub(super) valid: Result<Credentials, String>,
    /// A certificate of the client CA that matches no rule.
    pub(super) unknown: Result<Credentials, String>,
    pub(super) expired: Result<Credentials, String>,
    pub(super) revoked: Result<Credentials, String>,
    /// The valid client's identity, issued by another CA.
    pub(super) untrusted: Result<Credentials, String>,
    pub(super) no_certificate: Result<Credentials, String>,
}

impl TestCredentials {
    /// Reads the certificates that `otlp-gate certs init` created. `no_certificate` are the credentials without them.
    pub(super) fn from_folder(folder: &Folder, no_certificate: Credentials, loaded: &Loaded) -> Self {
        let read = |files: &Files| -> Result<Credentials, String> {
            let pair = (read(&files.certificate)?, read(&files.key)?);
            Ok(Credentials { client_certificate: Some(pair), ..no_certificate.clone() })
        };
        let of = |client| read(&folder.test_client_files(client));
        let certificate = |client| folder.certificate(&folder.test_client_files(client)).ok();
        TestCredentials {
            identity: certificate(TestClient::Valid).map(|it| examined(loaded, &it)),
            valid: of(TestClient::Valid),
            unknown: of(TestClient::Unknown)
                .and_then(|it| matches_no_rule(loaded, certificate(TestClient::Unknown)).map(|()| it)),
            expired: of(TestClient::Expired),
            revoked: of(TestClient::Revoked),
            untrusted: untrusted(&no_certificate),
            no_certificate: Ok(no_certificate),
        }
    }

    /// Reads the Secret with the certificate that cert-manager created for a valid client. There is none for most of
    /// the invalid clients.
    ///
    /// # Errors
    /// The Secret is missing, is incomplete or cannot be read.
    pub(super) async fn from_secret(
        cluster: &Cluster,
        names: &Names,
        no_certificate: Credentials,
        loaded: &Loaded,
    ) -> Result<Self, Error> {
        let [certificate, key] = secret(cluster, names, names.client_trust(), ["tls.crt", "tls.key"]).await?;
        let identity = Certificate::parse(certificate.as_bytes()).ok().map(|it| examined(loaded, &it));
        let none = |kind: &str| Err(format!("cert-manager issues no {kind}"));
        Ok(TestCredentials {
            identity,
            valid: Ok(Credentials { client_certificate: Some((certificate, key)), ..no_certificate.clone() }),
            unknown: none("certificate that matches no rule"),
            expired: none("expired certificate"),
            revoked: none("revoked certificate"),
            untrusted: untrusted(&no_certificate),
            no_certificate: Ok(no_certificate),
        })
    }
}

/// The CA certificates that the server's certificate must chain to: those of `file`, else the ones that the config says
/// clients have.
///
/// # Errors
/// They are missing. Without them the gate cannot be authenticated.
pub(super) async fn server_ca(
    file: Option<&Path>,
    config: &Config,
    folder: &Folder,
    cluster: Option<&Cluster>,
) -> Result<String, Error> {
    let certificates = &config.certificates;
    match (file, cluster) {
        (Some(file), _) => file::read_text(file),
        (None, _) if certificates.server_ca == ServerCa::Public => system_roots(),
        (None, Some(cluster)) if certificates.cert_manager.is_some() => {
            let names = Names::of(&config.gateway);
            let [ca] = secret(cluster, &names, names.server(), ["ca.crt"]).await?;
            Ok(ca)
        }
        (None, None) if certificates.cert_manager.is_some() => {
            Err(Error::failed("the CA of the server's certificate is in the cluster, which is not read")
                .hint("name its file with `--ca FILE`"))
        }
        (None, _) => file::read_text_or(
            &folder.authority_files(Role::Server).certificate,
            "create the server CA with `otlp-gate certs init`, name its folder with `--certs DIR`, or name another CA \
             with `--ca FILE`",
        ),
    }
}

/// The identity as the filter has it.
fn examined(loaded: &Loaded, certificate: &Certificate) -> Identity {
    let mut identity = certificate.identity().clone();
    loaded.examine(&mut identity);
    identity
}

/// The values of some keys of a Secret.
async fn secret<const N: usize>(
    cluster: &Cluster,
    names: &Names,
    name: String,
    keys: [&str; N],
) -> Result<[String; N], Error> {
    let namespace = &names.namespace;
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), namespace);
    let secret = secrets.get_opt(&name).await;
    let secret = secret.map_err(|e| api_error(format_args!("cannot read Secret {name}"), &e))?;
    let secret = secret.ok_or_else(|| {
        Error::failed(format_args!("cert-manager has not created Secret {name} in namespace {namespace}"))
            .hint("`otlp-gate status` shows what cert-manager is waiting for")
    })?;
    let mut values = [const { String::new() }; N];
    for (value, key) in values.iter_mut().zip(keys) {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key)).map(|it| it.0.clone());
        *value = bytes.and_then(|it| String::from_utf8(it).ok()).ok_or_else(|| {
            Error::failed(format_args!("Secret {name} in namespace {namespace} has no `{key}`")).hint(
                "set `certificates: {serverCA: public}` if the issuer's CA is public, as with ACME; else use an issuer \
                 that adds its CA certificate as `ca.crt`, or name the CA's file with `--ca FILE`",
            )
        })?;
    }
    Ok(values)
}

/// The valid client's identity in a certificate of a new CA, which the gate does not trust.
fn untrusted(no_certificate: &Credentials) -> Result<Credentials, String> {
    let issue = || -> Result<(String, String), Error> {
        let key = Authority::new_key()?;
        let certificate = Authority::generate(Role::Client, 1)?.issue(&TestClient::Valid.request(), &key)?;
        Ok((certificate, key.serialize_pem()))
    };
    let pair = issue().map_err(|e| e.to_string())?;
    Ok(Credentials { client_certificate: Some(pair), ..no_certificate.clone() })
}

/// Returns an error if the policy identifies a client even by this certificate, as with a rule that matches everything.
fn matches_no_rule(loaded: &Loaded, certificate: Option<Certificate>) -> Result<(), String> {
    let identity = certificate.map(|it| examined(loaded, &it)).unwrap_or_default();
    match loaded.policy.identify(&identity) {
        Identification::Client(client) => Err(format!(
            "every certificate of the client CA identifies a client of the configuration, here `{}`",
            client.name
        )),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let hint = "create it with `otlp-gate certs verify` where the client CA's key is";
    file::read_text_or(path, hint).map_err(|error| match error.hint_text() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}
