//! Certificates that cert-manager issues: the server's, the internal ones, and one whose issuer is the client CA, unless
//! the config names other CAs of clients.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use otlp_gate_core::policy::VERIFY_URI;
use serde_json::{Value, json};

use super::internal_tls::InternalSecret;
use crate::certs::InternalCertificate;
use crate::config::{CertManager, IssuerKind, IssuerRef};
use crate::error::Error;
use crate::model::{Installation, Names, Object};

/// Group and version of cert-manager's API.
pub(crate) const API_VERSION: &str = "cert-manager.io/v1";
/// Validity of the CAs: ten years, like the CAs that `otlp-gate certs init` creates.
const CA_DURATION: &str = "87600h";

/// The Certificates, and the Issuers that the config does not name. `internal` are the Secrets of the internal ones.
pub(crate) fn objects(
    installation: &Installation<'_>,
    cert_manager: &CertManager,
    internal: &[InternalSecret],
) -> Result<Vec<Object>, Error> {
    let names = &installation.names;
    let mut objects = Vec::new();
    let self_signed = format!("{}-self-signed", names.gateway);
    let with_clients = installation.config.issues_client_certificates();
    let own_internal = !internal.is_empty() && cert_manager.internal.is_none();
    let own_clients = with_clients && cert_manager.clients.is_none();
    if cert_manager.server.is_none() || own_clients || own_internal {
        objects.push(object(names, "Issuer", &self_signed, json!({"selfSigned": {}}))?);
    }
    let mut issuer = |given: &Option<IssuerRef>, role: &str| -> Result<Value, Error> {
        if let Some(given) = given {
            return Ok(reference(given));
        }
        let (ca, issuer) = (format!("{}-{role}-ca", names.gateway), format!("{}-{role}", names.gateway));
        let spec = json!({
            "isCA": true,
            "commonName": format!("otlp-gate {role} CA"),
            "secretName": ca,
            "duration": CA_DURATION,
            "privateKey": {"algorithm": "ECDSA", "size": 256},
            "usages": ["cert sign", "crl sign"],
            "issuerRef": {"name": self_signed, "kind": "Issuer"},
        });
        objects.push(object(names, "Certificate", &ca, spec)?);
        objects.push(object(names, "Issuer", &issuer, json!({"ca": {"secretName": ca}}))?);
        Ok(json!({"name": issuer, "kind": "Issuer"}))
    };
    let clients = with_clients.then(|| issuer(&cert_manager.clients, "clients")).transpose()?;
    let server = issuer(&cert_manager.server, "servers")?;
    let internal_issuer = match internal.is_empty() {
        true => None,
        false => Some(issuer(&cert_manager.internal, "internal")?),
    };
    // A certificate's Secret also contains the issuer's certificate, and follows its changes. This certificate
    // identifies the client that is reserved for `otlp-gate verify`, which has no rights beyond that.
    if let Some(clients) = clients {
        let trust = json!({
            "secretName": names.client_trust(),
            "uris": [VERIFY_URI],
            "commonName": "otlp-gate verify client",
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["digital signature", "client auth"],
            "issuerRef": clients,
        });
        objects.push(object(names, "Certificate", &names.client_trust(), trust)?);
    }
    let hostname = &installation.config.gateway.hostname;
    let certificate = json!({
        "secretName": names.server(),
        "dnsNames": [hostname],
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
        "issuerRef": server,
    });
    objects.push(object(names, "Certificate", &names.server(), certificate)?);
    for (issuer, secret) in
        internal_issuer.iter().flat_map(|issuer| internal.iter().map(move |it| (issuer, it)))
    {
        let spec = internal_certificate(names, secret, issuer);
        let mut metadata = secret.metadata.clone();
        // A Secret may be in several namespaces under one name, but each object has a file of its own.
        let own = secret.name().strip_prefix(&format!("{}.", names.namespace));
        if let (true, Some(own)) = (secret.namespace() == names.namespace, own) {
            metadata.name = Some(own.to_owned());
        }
        objects.push(of(metadata, "Certificate", spec)?);
    }
    Ok(objects)
}

/// The spec of the certificate that cert-manager writes into this Secret.
fn internal_certificate(names: &Names, secret: &InternalSecret, issuer: &Value) -> Value {
    let mut spec = json!({
        "secretName": secret.name(),
        "commonName": format!("otlp-gate {}", secret.certificate.name()),
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "client auth"],
        "issuerRef": issuer,
    });
    let server = match secret.certificate {
        InternalCertificate::Collector => Some(names.collector_server()),
        InternalCertificate::Quotas => Some(names.quotas_server()),
        InternalCertificate::Gateway | InternalCertificate::Node => None,
    };
    if let (Some(server), Some(spec)) = (server, spec.as_object_mut()) {
        spec.insert("dnsNames".to_owned(), json!(server.hosts));
        spec.insert("usages".to_owned(), json!(["digital signature", "server auth"]));
    }
    spec
}

fn object(names: &Names, kind: &str, name: &str, spec: Value) -> Result<Object, Error> {
    of(names.metadata(name), kind, spec)
}

fn of(metadata: ObjectMeta, kind: &str, spec: Value) -> Result<Object, Error> {
    Object::custom(API_VERSION, kind, metadata, spec)
}

fn reference(issuer: &IssuerRef) -> Value {
    json!({"name": issuer.name, "kind": issuer.kind.name()})
}

/// The issuer of client certificates: the one that the config names, else the gate's own.
pub(crate) fn clients_issuer(names: &Names, cert_manager: &CertManager) -> IssuerRef {
    let own = || IssuerRef { name: format!("{}-clients", names.gateway), kind: IssuerKind::Issuer };
    cert_manager.clients.clone().unwrap_or_else(own)
}
