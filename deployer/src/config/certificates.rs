//! Who makes the certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who makes the certificates. By default `otlp-gate certs` does, on the machine of whoever applies the gate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Certificates {
    /// cert-manager does, in the cluster. Then `certs/` is not read. It makes no revocation lists: a client is shut out by
    /// `deny`, or by not renewing a certificate that lives for hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_manager: Option<CertManager>,
}

/// Which of cert-manager's issuers issue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CertManager {
    /// Who issues the server's certificate. By default an Issuer with a CA of its own, which otlp-gate has cert-manager make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<IssuerRef>,
    /// Who issues the clients' certificates: a CA, since it is by that that they are known. By default likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<IssuerRef>,
}

/// One of cert-manager's issuers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerRef {
    /// Its name.
    pub name: String,
    /// Its kind. An Issuer is in the gateway's namespace.
    #[serde(default)]
    pub kind: IssuerKind,
}

/// The kinds of cert-manager's issuers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IssuerKind {
    /// Of one namespace.
    #[default]
    Issuer,
    /// Of the whole cluster.
    ClusterIssuer,
}

impl IssuerKind {
    /// As Kubernetes calls it.
    pub fn name(self) -> &'static str {
        match self {
            IssuerKind::Issuer => "Issuer",
            IssuerKind::ClusterIssuer => "ClusterIssuer",
        }
    }
}

impl Certificates {
    /// Whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Certificates::default()
    }
}
