//! Checks the certificates of the connections to the Collector and to the quota engine, as they are in the cluster.

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use time::{Duration, OffsetDateTime};

use super::Check;
use crate::cluster::{Cluster, api_error, if_allowed};
use crate::config::{Backend, TlsMode};
use crate::error::Error;
use crate::model::Installation;
use crate::output::rfc3339;
use crate::render::internal_secrets;
use crate::resources::internal_tls::InternalSecret;
use crate::x509::Certificate;

/// The time before its expiry from which a certificate that nothing renews is a warning.
const SOON: Duration = Duration::days(30);

pub(super) async fn checks(cluster: &Cluster, installation: &Installation<'_>) -> Result<Vec<Check>, Error> {
    let mut checks = Vec::new();
    if let Backend::Collector(collector) = &installation.config.backend
        && collector.tls == TlsMode::Off
    {
        let found = "in plain text: `backend.collector.tls` is `off`";
        checks.push(Check::warn("connection to the Collector", found, "remove the key for mutual TLS"));
    }
    for secret in internal_secrets(installation) {
        let api = Api::<Secret>::namespaced(cluster.client.clone(), secret.namespace());
        let found = if_allowed(api.get_opt(secret.name()).await);
        let title = format!("secret/{} in {}", secret.name(), secret.namespace());
        let found = found.map_err(|e| api_error(format_args!("cannot read {title}"), &e))?;
        let subject =
            format!("connection to the {}: {}", secret.server.server_title(), secret.certificate.name());
        checks.push(match found {
            None => Check::pass(subject, format!("unknown: {title} may not be read")),
            Some(None) => missing(subject, &title, installation, &secret),
            Some(Some(found)) => {
                let renews = installation.config.certificates.cert_manager.is_some();
                examine(subject, &title, &found, renews, OffsetDateTime::now_utc())
            }
        });
    }
    Ok(checks)
}

fn missing(subject: String, title: &str, installation: &Installation<'_>, secret: &InternalSecret) -> Check {
    match installation.expects_internal_certificates() {
        false => Check::pass(subject, format!("{title} is not there yet")),
        true => Check::fail(
            subject,
            format!("there is no {title}, and the folder with the certificates has none either"),
            format!("run `otlp-gate certs init` and `otlp-gate apply`, or `{}`", secret.command("certs")),
        ),
    }
}

/// `renews`: whether something in the cluster renews the certificate.
fn examine(subject: String, title: &str, secret: &Secret, renews: bool, now: OffsetDateTime) -> Check {
    let hint = match renews {
        true => "`otlp-gate status` shows what cert-manager reports",
        false => "run `otlp-gate certs renew internal --new-key` and `otlp-gate apply`",
    };
    let certificate = |key: &str| {
        let bytes = &secret.data.as_ref()?.get(key)?.0;
        Certificate::parse(bytes).ok()
    };
    let (Some(leaf), Some(ca)) = (certificate("tls.crt"), certificate("ca.crt")) else {
        return Check::fail(subject, format!("{title} has no certificates in `tls.crt` and `ca.crt`"), hint);
    };
    let until = rfc3339(leaf.not_after);
    if leaf.not_after < now {
        return Check::fail(subject, format!("{title} expired at {until}"), hint);
    }
    // While a CA is replaced, `ca.crt` has others too, of which only the first is read here.
    if leaf.issuer == ca.subject && !leaf.is_signed_by(&ca) {
        return Check::fail(
            subject,
            format!("{title}: `tls.crt` was not issued by the CA in `ca.crt`"),
            hint,
        );
    }
    match !renews && leaf.not_after - now < SOON {
        true => Check::warn(subject, format!("{title} expires at {until}"), hint),
        false => Check::pass(subject, format!("mutual TLS, {title} is valid until {until}")),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::super::CheckResult;
    use super::*;
    use crate::certs::{Authority, Ca, Request};

    #[test]
    fn a_certificate_is_reported_before_it_expires() {
        let ca = Authority::generate(Ca::Internal, 60).unwrap();
        let other = Authority::generate(Ca::Internal, 60).unwrap();
        let leaf = ca.issue(&Request::server(Vec::new(), 40), &Authority::new_key().unwrap()).unwrap();
        let secret = |ca: &str| Secret {
            data: Some(
                [("tls.crt", leaf.as_str()), ("ca.crt", ca)]
                    .map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
                    .into(),
            ),
            ..Secret::default()
        };
        let now = OffsetDateTime::now_utc();
        for (ca, renews, days, result, found) in [
            (ca.pem(), false, 0, CheckResult::Pass, "is valid until"),
            (ca.pem(), false, 20, CheckResult::Warn, "expires at"),
            (ca.pem(), true, 20, CheckResult::Pass, "is valid until"),
            (ca.pem(), true, 41, CheckResult::Fail, "expired at"),
            (other.pem(), false, 0, CheckResult::Fail, "was not issued by the CA"),
            ("", false, 0, CheckResult::Fail, "has no certificates"),
        ] {
            let check = examine(String::new(), "secret/a", &secret(ca), renews, now + Duration::days(days));
            assert_eq!(check.result, result, "{check:?}");
            assert!(check.found.contains(found), "{check:?}");
        }
    }
}
