//! The certificate that a client's rule asks for.

use std::net::IpAddr;

use otlp_gate_core::config::{ClientRule, Match, Patterns};

use super::{Request, Validity};
use crate::config::Config;
use crate::error::Error;
use crate::x509::Role;

/// Names that the user gives for a client's certificate. They take precedence over what the client's rule states.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientNames {
    /// The URI SAN.
    pub(crate) spiffe: Option<String>,
    /// The DNS SAN.
    pub(crate) dns: Option<String>,
    /// The e-mail SAN.
    pub(crate) email: Option<String>,
    /// The IP address SAN.
    pub(crate) ip: Option<IpAddr>,
    /// The subject's common name.
    pub(crate) cn: Option<String>,
    /// The subject's organization.
    pub(crate) org: Option<String>,
}

impl ClientNames {
    /// The certificate of the client `name`, from the given names and from what the client's rule in `config` states
    /// literally. `unchecked`: the configuration need not have the client.
    ///
    /// # Errors
    /// No rule has the client's name and no name is given, or the rule has patterns for which no name is given.
    pub(crate) fn request(
        &self,
        name: &str,
        days: u32,
        config: Option<&Config>,
        unchecked: bool,
    ) -> Result<Request, Error> {
        let given = [&self.spiffe, &self.dns, &self.email, &self.cn, &self.org];
        let given = self.ip.is_some() || given.into_iter().any(Option::is_some);
        let rule = config.and_then(|config| config.clients.iter().find(|rule| rule.name == name));
        match (rule, config) {
            (Some(rule), _) => Ok(self.request_for(name, days, self.satisfiable_match(name, rule)?)),
            (None, Some(config)) if !given && !unchecked => {
                Err(Error::failed(format_args!("no client is named `{name}`")).hint(known(config)))
            }
            (None, _) => Ok(self.request_for(name, days, &Match::default())),
        }
    }

    /// The first of the rule's matches that needs no other names than the given ones.
    fn satisfiable_match<'a>(&self, name: &str, rule: &'a ClientRule) -> Result<&'a Match, Error> {
        let alternatives = rule.matches.as_slice();
        if let Some(found) = alternatives.iter().find(|it| self.missing(it).is_empty()) {
            return Ok(found);
        }
        let missing = alternatives.first().map(|it| self.missing(it)).unwrap_or_default();
        let error = Error::failed(format_args!(
            "the rule of `{name}` has patterns, and the certificate needs exact names"
        ));
        Err(error.hint(missing.join("; ")))
    }

    /// The options that must be given for this match.
    fn missing(&self, one: &Match) -> Vec<String> {
        let need = |flag: &str, given: &Option<String>, pattern: Option<&String>| {
            let pattern = pattern.filter(|pattern| given.is_none() && !is_literal(pattern))?;
            Some(format!("give {flag} a value that matches {pattern}"))
        };
        let network = one.ip.as_ref().filter(|ip| self.ip.is_none() && ip.parse::<IpAddr>().is_err());
        let names = [
            need("--spiffe", &self.spiffe, one.spiffe.as_ref()),
            need("--dns", &self.dns, one.dns.as_ref()),
            need("--email", &self.email, one.email.as_ref()),
            network.map(|network| format!("give --ip an address in {network}")),
        ];
        let mut missing: Vec<String> = names.into_iter().flatten().collect();
        for (key, patterns) in &one.subject {
            for pattern in patterns.as_slice() {
                match key.to_ascii_uppercase().as_str() {
                    "CN" => missing.extend(need("--cn", &self.cn, Some(pattern))),
                    "O" => missing.extend(need("--org", &self.org, Some(pattern))),
                    _ => {}
                }
            }
        }
        missing
    }

    /// The given names, and those that the match states literally.
    fn request_for(&self, name: &str, days: u32, one: &Match) -> Request {
        let literal = |pattern: Option<&String>| pattern.filter(|it| is_literal(it)).cloned();
        let values = one.subject.iter().flat_map(|(key, patterns)| {
            patterns.as_slice().iter().filter(|it| is_literal(it)).map(move |value| (key, value))
        });
        let (common_names, others): (Vec<_>, Vec<_>) =
            values.partition(|(key, _)| key.eq_ignore_ascii_case("CN"));
        // A given name is added to a list of required values, and replaces a single one.
        let is_list = |key: &str| {
            let mut of_key = one.subject.iter().filter(|(own, _)| own.eq_ignore_ascii_case(key));
            of_key.any(|(_, patterns)| matches!(patterns, Patterns::All(_)))
        };
        let owned = |(key, value): (&String, &String)| (key.clone(), value.clone());
        let mut subject: Vec<(String, String)> = others.into_iter().map(owned).collect();
        if let Some(org) = &self.org {
            if !is_list("O") {
                subject.retain(|(key, _)| !key.eq_ignore_ascii_case("O"));
            }
            subject.push(("O".to_owned(), org.clone()));
        }
        if is_list("CN") || self.cn.is_none() {
            subject.extend(common_names.iter().copied().map(owned));
        }
        let common_name = match (&self.cn, common_names.as_slice()) {
            (Some(given), _) => Some(given.clone()),
            // X.520 limits a common name to 64 characters.
            (None, []) => Some(name.to_owned()).filter(|it| it.len() <= 64),
            (None, _) => None,
        };
        subject.extend(common_name.map(|name| ("CN".to_owned(), name)));
        Request {
            role: Role::Client,
            subject,
            uris: self.spiffe.clone().or_else(|| literal(one.spiffe.as_ref())).into_iter().collect(),
            dns: self.dns.clone().or_else(|| literal(one.dns.as_ref())).into_iter().collect(),
            emails: self.email.clone().or_else(|| literal(one.email.as_ref())).into_iter().collect(),
            ips: self.ip.or_else(|| one.ip.as_ref()?.parse().ok()).into_iter().collect(),
            validity: Validity::Days(days),
        }
    }
}

/// Whether a pattern matches only its own text.
fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '{'])
}

fn known(config: &Config) -> String {
    let names: Vec<String> = config.clients.iter().take(8).map(|rule| format!("`{}`", rule.name)).collect();
    let more = if config.clients.len() > names.len() { " and more" } else { "" };
    format!(
        "the configuration has {}{more}; for a rule with captures, give the client's names with --spiffe, --dns, \
        --email, --ip, --cn or --org",
        names.join(", ")
    )
}
