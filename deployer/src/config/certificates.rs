//! Where certificates come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where certificates come from. By default `otlp-gate certs` creates them on the machine that applies the gate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Certificates {
    /// Let cert-manager issue the certificates in the cluster: `{}`, or with your own issuers. The folder `certs/` is
    /// not read then. cert-manager has no revocation lists: reject a client with `deny`, or issue short-lived
    /// certificates and stop renewing them. With `clientCAs`, cert-manager issues no client certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert_manager: Option<CertManager>,
    /// Who trusts the CA of the server's certificate. `private`: clients are given its certificate (`server-ca.crt`, or
    /// `ca.crt` in cert-manager's Secret). `public`: every system trusts it, as with Let's Encrypt. `client-config` then
    /// names no CA, and `verify` uses the trusted CAs of the machine that it runs on.
    #[serde(rename = "serverCA", skip_serializing_if = "ServerCa::is_private")]
    pub(crate) server_ca: ServerCa,
}

/// Who trusts the CA of the server's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ServerCa {
    /// Clients that are given its certificate.
    #[default]
    Private,
    /// Every system.
    Public,
}

impl ServerCa {
    /// Whether it is the default.
    pub(super) fn is_private(&self) -> bool {
        *self == ServerCa::Private
    }
}

/// The issuers of cert-manager that are used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct CertManager {
    /// The issuer of the server's certificate. Default: an Issuer with its own CA, which otlp-gate creates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<IssuerRef>,
    /// The issuer of client certificates. It must be a CA issuer: the gateway trusts clients by its CA. Default: an
    /// Issuer with its own CA, which otlp-gate creates. Not with `clientCAs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clients: Option<IssuerRef>,
    /// The issuer of the internal certificates, with which the gateway and the Collector authenticate each other. It
    /// must be a CA issuer that issues nothing else: the Collector accepts every client that it issued a certificate to.
    /// Default: an Issuer with its own CA, which otlp-gate creates. The node-local gateway is in another namespace: if
    /// it sends to the Collector, a ClusterIssuer is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) internal: Option<IssuerRef>,
}

/// An issuer of cert-manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IssuerRef {
    /// The name of the Issuer or ClusterIssuer.
    pub(crate) name: String,
    /// Its kind. An Issuer must be in the gateway's namespace.
    #[serde(default)]
    pub(crate) kind: IssuerKind,
}

/// The kinds of issuers of cert-manager.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum IssuerKind {
    /// Of one namespace.
    #[default]
    Issuer,
    /// Of the whole cluster.
    ClusterIssuer,
}

impl IssuerKind {
    /// The kind in Kubernetes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            IssuerKind::Issuer => "Issuer",
            IssuerKind::ClusterIssuer => "ClusterIssuer",
        }
    }
}

impl Certificates {
    /// Whether all keys have their defaults.
    pub(crate) fn is_default(&self) -> bool {
        *self == Certificates::default()
    }
}
