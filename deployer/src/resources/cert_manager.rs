//! Certificates that cert-manager makes: the server's, and one by whose issuer the gateway knows its clients.

use otlp_gate_core::policy::VERIFY_URI;
use serde_json::{Value, json};

use super::{Gate, Names, Object};
use crate::config::{CertManager, IssuerKind, IssuerRef};
use crate::error::Error;

/// The version of cert-manager's API.
pub(super) const API_VERSION: &str = "cert-manager.io/v1";
/// Ten years, which is how long the CAs are valid that otlp-gate makes itself.
const CA_DURATION: &str = "87600h";

/// The certificates' objects, and those of the issuers that the user has not named.
pub(super) fn objects(gate: &Gate<'_>, cert_manager: &CertManager) -> Result<Vec<Object>, Error> {
    let names = &gate.names;
    let mut objects = Vec::new();
    let self_signed = format!("{}-self-signed", names.gateway);
    if cert_manager.server.is_none() || cert_manager.clients.is_none() {
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
    let clients = issuer(&cert_manager.clients, "clients")?;
    let server = issuer(&cert_manager.server, "servers")?;
    // The Secret of a certificate holds its issuer's, and follows it. This one is of the only client that may do nothing.
    let trust = json!({
        "secretName": names.client_trust(),
        "uris": [VERIFY_URI],
        "commonName": "otlp-gate verify client",
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "client auth"],
        "issuerRef": clients,
    });
    objects.push(object(names, "Certificate", &names.client_trust(), trust)?);
    let hostname = &gate.config.gateway.hostname;
    let certificate = json!({
        "secretName": names.server(),
        "dnsNames": [hostname],
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
        "issuerRef": server,
    });
    objects.push(object(names, "Certificate", &names.server(), certificate)?);
    Ok(objects)
}

fn object(names: &Names, kind: &str, name: &str, spec: Value) -> Result<Object, Error> {
    Object::custom(API_VERSION, kind, names.metadata(name), spec)
}

fn reference(issuer: &IssuerRef) -> Value {
    json!({"name": issuer.name, "kind": issuer.kind.name()})
}

/// Who issues the clients' certificates: the user's own, or the one that is made for the gate.
pub(crate) fn clients_issuer(names: &Names, cert_manager: &CertManager) -> IssuerRef {
    let own = || IssuerRef { name: format!("{}-clients", names.gateway), kind: IssuerKind::Issuer };
    cert_manager.clients.clone().unwrap_or_else(own)
}
