//! Checks of `monitoring`.

use otlp_gate_core::policy::Problem;

use super::infrastructure::label_problems;
use super::problem;
use crate::config::Config;
use crate::verify::GateAddress;

/// The longest name of a CronJob.
const LONGEST_JOB: usize = 52;

pub(super) fn errors(config: &Config) -> Vec<Problem> {
    let Some(monitoring) = &config.monitoring else { return Vec::new() };
    let mut problems = label_problems(&["monitoring", "labels"], &monitoring.labels);
    if monitoring.from.is_empty() {
        // In a NetworkPolicy an empty list is everyone.
        let message = "it is empty, so that no pod could be allowed to read metrics".to_owned();
        let hint = "name who may read metrics, or remove `from`: then it is the namespace `monitoring`";
        problems.push(problem(&["monitoring", "from"], message, hint));
    }
    let Some(job) = &monitoring.verify else { return problems };
    let path = |key| ["monitoring", "verify", key];
    if job.image.trim().is_empty() {
        problems.push(problem(
            &path("image"),
            "it is empty".to_owned(),
            "name an image of the command `otlp-gate`",
        ));
    }
    if job.schedule.split_whitespace().count() != 5 && !job.schedule.starts_with('@') {
        let message = format!("`{}` is not the schedule of a CronJob", job.schedule.escape_debug());
        problems.push(problem(
            &path("schedule"),
            message,
            "write five fields, such as `*/15 * * * *`, or `@hourly`",
        ));
    }
    if let Some(Err(error)) = job.address.as_ref().map(|it| it.parse::<GateAddress>()) {
        let hint = "write a host, or a host and a port, such as otel-gateway-istio.otel-collector.svc";
        problems.push(problem(&path("address"), error.to_string(), hint));
    }
    let longest = LONGEST_JOB - "otlp-gate-verify-".len();
    if config.gateway.name.len() > longest {
        let message = format!("the CronJob's name `otlp-gate-verify-{}` is too long", config.gateway.name);
        let hint = format!("use a `gateway.name` of at most {longest} characters");
        problems.push(problem(&["monitoring", "verify"], message, &hint));
    }
    if config.client_cas.iter().any(|it| it.certificates.is_some()) {
        let message = "the CronJob would need the files of `clientCAs`".to_owned();
        let hint = "run `otlp-gate verify` where these files are";
        problems.push(problem(&["monitoring", "verify"], message, hint));
    }
    problems
}

#[cfg(test)]
mod tests {
    use crate::config::Source;

    /// The errors of a config with these keys under `monitoring`.
    fn errors(monitoring: &str) -> String {
        let text = format!("apiVersion: otlp-gate/v1\nmonitoring: {monitoring}\nclients: []\n");
        match (Source { name: "test".to_owned(), text }).load() {
            Ok(_) => String::new(),
            Err(report) => report.to_string(),
        }
    }

    #[test]
    fn what_kubernetes_takes_is_valid() {
        for monitoring in [
            "{}",
            "{prometheusOperator: off, dashboards: false, labels: {release: a}}",
            "{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}",
            "{verify: {image: r/i, schedule: '@hourly', address: 'otel.otel-collector.svc:4317'}}",
        ] {
            assert_eq!(errors(monitoring), "", "{monitoring}");
        }
    }

    #[test]
    fn what_kubernetes_rejects_is_an_error() {
        for (monitoring, error) in [
            ("{from: []}", "no pod could be allowed"),
            ("{from: [{podSelecter: {}}]}", "Kubernetes has no key `podSelecter`"),
            ("{labels: {a/b/c: x}}", "`a/b/c` is not a valid key"),
            ("{labels: {release: 'a b'}}", "`a b` is not a valid value of a label"),
            ("{labels: {otlp-gate.io/gate: x}}", "is a label that otlp-gate sets"),
            ("{verify: {}}", "image"),
            ("{verify: {image: ''}}", "it is empty"),
            ("{verify: {image: a, schedule: hourly}}", "`hourly` is not the schedule of a CronJob"),
            ("{verify: {image: a, address: 'a:b:c'}}", "monitoring.verify.address"),
        ] {
            let found = errors(monitoring);
            assert!(found.contains(error), "{monitoring}: {found}");
        }
    }
}
