//! The server's certificate in the cluster: where it comes from, and until when it is valid.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use time::OffsetDateTime;

use super::api_error::{api_error, if_allowed};
use super::client::Cluster;
use crate::error::Error;
use crate::model::Installation;
use crate::x509::Certificate;

/// The server's certificate in the cluster.
#[derive(Debug)]
pub(crate) enum ServerCertificate {
    /// The Secret may not be read.
    Unreadable,
    /// There is no Secret.
    Missing,
    /// The Secret has no certificate, for this reason.
    Invalid(String),
    /// The Secret has this certificate.
    Found(Box<Certificate>),
}

impl ServerCertificate {
    /// Reads the Secret that the Gateway refers to.
    ///
    /// # Errors
    /// The API server does not respond.
    pub(crate) async fn read(cluster: &Cluster, installation: &Installation<'_>) -> Result<Self, Error> {
        let names = &installation.names;
        let name = names.server();
        let api = Api::<Secret>::namespaced(cluster.client.clone(), &names.namespace);
        let found = if_allowed(api.get_opt(&name).await);
        let found = found.map_err(|e| api_error(format_args!("cannot read secret/{name}"), &e))?;
        Ok(match found {
            None => ServerCertificate::Unreadable,
            Some(None) => ServerCertificate::Missing,
            Some(Some(secret)) => Self::of(&secret),
        })
    }

    fn of(secret: &Secret) -> Self {
        match secret.data.as_ref().and_then(|data| data.get("tls.crt")).filter(|it| !it.0.is_empty()) {
            None => ServerCertificate::Invalid("it has no `tls.crt`".to_owned()),
            Some(pem) => match Certificate::parse(&pem.0) {
                Ok(certificate) => ServerCertificate::Found(Box::new(certificate)),
                Err(error) => ServerCertificate::Invalid(format!("`tls.crt`: {error}")),
            },
        }
    }

    /// Where the certificate comes from, by the config.
    pub(crate) fn source(installation: &Installation<'_>) -> String {
        match &installation.config.certificates.cert_manager {
            Some(it) => match &it.server {
                Some(issuer) => format!("cert-manager ({} {})", issuer.kind.name(), issuer.name),
                None => "cert-manager".to_owned(),
            },
            None if installation.certificates.server.is_some() => "the folder of the certificates".to_owned(),
            None => "elsewhere".to_owned(),
        }
    }

    /// Until when a certificate is valid, who issued it, and where it comes from.
    pub(crate) fn describe(certificate: &Certificate, source: &str, now: OffsetDateTime) -> String {
        let issuer = certificate.issuer.as_deref().unwrap_or("a CA without a name");
        let days = (certificate.not_after - now).whole_days();
        format!(
            "valid until {} ({days} days), issued by {issuer}, from {source}",
            certificate.not_after.date()
        )
    }
}
