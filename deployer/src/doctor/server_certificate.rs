//! Checks the server's certificate in the cluster: where it comes from, until when it is valid, and its names.

use time::{Duration, OffsetDateTime};

use super::Check;
use crate::client_config::covers;
use crate::cluster::{Cluster, ServerCertificate};
use crate::error::Error;
use crate::model::Installation;
use crate::x509::Certificate;

/// How long before the end of its validity a certificate should have been renewed. cert-manager renews after two thirds
/// of the validity period.
const RENEWED_BEFORE: Duration = Duration::days(7);

pub(super) async fn check(cluster: &Cluster, installation: &Installation<'_>) -> Result<Check, Error> {
    let found = ServerCertificate::read(cluster, installation).await?;
    Ok(judge(&found, installation, OffsetDateTime::now_utc()))
}

fn judge(found: &ServerCertificate, installation: &Installation<'_>, now: OffsetDateTime) -> Check {
    let subject = "server certificate";
    let (source, renew) = (ServerCertificate::source(installation), how_to_renew(installation));
    match found {
        ServerCertificate::Unreadable => Check::pass(subject, "unknown: its Secret may not be read"),
        ServerCertificate::Missing if installation.expects_server_certificate() => {
            Check::fail(subject, format!("there is no {}", secret(installation)), renew)
        }
        ServerCertificate::Missing => {
            Check::pass(subject, format!("from {source}; there is no {} yet", secret(installation)))
        }
        ServerCertificate::Invalid(why) => {
            Check::fail(subject, format!("{}: {why}", secret(installation)), renew)
        }
        ServerCertificate::Found(it) => of_certificate(it, &source, renew, installation, now),
    }
}

fn of_certificate(
    certificate: &Certificate,
    source: &str,
    renew: String,
    installation: &Installation<'_>,
    now: OffsetDateTime,
) -> Check {
    let subject = "server certificate";
    let found = ServerCertificate::describe(certificate, source, now);
    let hostname = &installation.config.gateway.hostname;
    if certificate.not_after < now {
        Check::fail(subject, format!("it has expired: {found}"), renew)
    } else if !certificate.identity().dns.iter().any(|name| covers(name, hostname)) {
        Check::warn(
            subject,
            format!("it does not have the name {hostname}: {found}"),
            format!("clients that connect to {hostname} reject it: {renew}"),
        )
    } else if certificate.not_after - now < RENEWED_BEFORE {
        Check::warn(subject, found, renew)
    } else {
        Check::pass(subject, found)
    }
}

fn secret(installation: &Installation<'_>) -> String {
    format!("secret/{} in {}", installation.names.server(), installation.names.namespace)
}

fn how_to_renew(installation: &Installation<'_>) -> String {
    let (name, namespace) = (installation.names.server(), &installation.names.namespace);
    if installation.config.certificates.cert_manager.is_some() {
        format!("`kubectl describe certificate {name} -n {namespace}` shows what cert-manager is waiting for")
    } else if installation.certificates.server.is_some() {
        "`otlp-gate certs renew server` or `certs server --force` issues one; then run `otlp-gate apply`"
            .to_owned()
    } else {
        format!("replace {} with one that has a valid certificate", secret(installation))
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckResult;
    use super::*;
    use crate::certs::{Authority, Request, Validity};
    use crate::config::{Config, Source};
    use crate::model::{Certificates, Mesh};
    use crate::module::Location;
    use crate::x509::Role;

    fn config(text: &str) -> Config {
        let text =
            format!("{{apiVersion: otlp-gate/v1, gateway: {{hostname: otel.example}}, clients: []{text}}}");
        Source { name: "test".to_owned(), text }.load().unwrap().config
    }

    fn check(found: &ServerCertificate, text: &str, days_later: i64) -> Check {
        let config = config(text);
        let module = Location::config_map(b"").unwrap();
        let mesh = Mesh::from_config(&config);
        let installation = Installation::new(&config, module, mesh, Certificates::default());
        judge(found, &installation, OffsetDateTime::now_utc() + Duration::days(days_later))
    }

    fn issued(name: &str) -> ServerCertificate {
        let request = Request {
            role: Role::Server,
            subject: Vec::new(),
            uris: Vec::new(),
            dns: vec![name.to_owned()],
            emails: Vec::new(),
            ips: Vec::new(),
            validity: Validity::Days(30),
        };
        let authority = Authority::generate(Role::Server, 90).unwrap();
        let pem = authority.issue(&request, &Authority::new_key().unwrap()).unwrap();
        ServerCertificate::Found(Box::new(Certificate::parse(pem.as_bytes()).unwrap()))
    }

    const ISSUER: &str = ", certificates: {certManager: {server: {name: acme, kind: ClusterIssuer}}}";

    #[test]
    fn the_certificate_in_the_cluster_is_judged() {
        let (good, other) = (issued("otel.example"), issued("other.example"));
        for (found, text, later, result, words) in [
            (&good, ISSUER, 0, CheckResult::Pass, "from cert-manager (ClusterIssuer acme)"),
            (&good, "", 0, CheckResult::Pass, "CN=otlp-gate server CA, from elsewhere"),
            (&good, ISSUER, 24, CheckResult::Warn, "(5 days)"),
            (&good, ISSUER, 31, CheckResult::Fail, "it has expired"),
            (&other, ISSUER, 0, CheckResult::Warn, "it does not have the name otel.example"),
            (
                &ServerCertificate::Missing,
                ISSUER,
                0,
                CheckResult::Pass,
                "there is no secret/otel-gateway-server",
            ),
            (&ServerCertificate::Missing, "", 0, CheckResult::Fail, "there is no secret/otel-gateway-server"),
            (&ServerCertificate::Unreadable, "", 0, CheckResult::Pass, "unknown"),
        ] {
            let check = check(found, text, later);
            assert_eq!(check.result, result, "{check:?}");
            assert!(check.found.contains(words), "{check:?}");
            assert_eq!(check.hint.is_some(), result != CheckResult::Pass, "{check:?}");
        }
    }
}
