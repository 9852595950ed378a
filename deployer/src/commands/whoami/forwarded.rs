//! `whoami --xfcc`: what a header in which proxies forward their clients means.

use std::path::Path;

use otlp_gate_core::identity::xfcc::{self, Element};
use otlp_gate_core::identity::{Fingerprint, Identity};
use otlp_gate_core::policy::Hop;
use serde::Serialize;

use super::{Answer, read_bytes};
use crate::args;
use crate::certs::Folder;
use crate::config::Loaded;
use crate::error::Error;
use crate::global::Global;
use crate::output;
use crate::x509::Certificate;

/// The output of `-o json`.
#[derive(Debug, Serialize)]
struct Outcome {
    /// The elements of `x-forwarded-client-cert`, the nearest proxy's last; none of another header.
    elements: Vec<Shown>,
    #[serde(flatten)]
    answer: Answer,
}

/// An element of `x-forwarded-client-cert`.
#[derive(Debug, Serialize)]
struct Shown {
    /// What it means to the gate.
    role: Role,
    hash: Option<String>,
    uris: Vec<String>,
    dns: Vec<String>,
    subject: Option<String>,
    /// Whether it has the certificate, whose names count instead of these.
    certificate: bool,
    /// Why it cannot be read.
    problem: Option<String>,
}

/// What an element means to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    /// It is about the client.
    Client,
    /// It is about a trusted hop.
    Hop,
    /// It comes from the client of the nearest proxy, which may write anything there.
    Ignored,
}

/// Prints what a header means.
pub(super) fn run(header: &str, folder: &Folder, global: &Global) -> Result<(), Error> {
    let header = match header {
        "-" => String::from_utf8(read_bytes(Path::new("-"), global)?.0)
            .map_err(|_| Error::failed("<stdin>: the header is not UTF-8"))?,
        header => header.to_owned(),
    };
    // A log may have the header's name before the value.
    let header = header.trim();
    let value = header.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case(xfcc::HEADER));
    let header = value.map_or(header, |(_, value)| value.trim());
    let loaded = args::explaining(global, folder)?;
    let (elements, identity) = match Identity::from_header(header.as_bytes()) {
        Ok(identity) => (Vec::new(), identity),
        Err(_) => elements(&loaded, header)?,
    };
    let certificate = certificate(header, &identity);
    let outcome = Outcome { elements, answer: Answer::new(&loaded, identity, certificate.as_ref()) };
    output::print(global.output, &outcome, || {
        let rows = outcome.elements.iter().enumerate().flat_map(|(index, element)| element.rows(index + 1));
        output::align(rows.chain(outcome.answer.rows(&loaded.config)))
    })?;
    outcome.answer.end(global)
}

/// The elements of `x-forwarded-client-cert`, and the identity in the one that counts: the last one, or where that is
/// about a trusted hop, the one before it.
fn elements(loaded: &Loaded, header: &str) -> Result<(Vec<Shown>, Identity), Error> {
    let failed = |problem: xfcc::Problem| Error::failed(problem);
    let all = xfcc::elements(header).map_err(failed)?;
    let last = all.last().copied().unwrap_or_default();
    let last = xfcc::identity(last).ok().map(|mut identity| {
        loaded.examine(&mut identity);
        identity
    });
    let hop = last.as_ref().and_then(|it| loaded.policy.hop(it));
    if let Some(name) = hop.and_then(Hop::header) {
        return Err(Error::failed(format_args!(
            "the header is about a trusted hop, whose clients are in `{name}`"
        ))
        .hint(format_args!("pass the value of `{name}`")));
    }
    let behind = usize::from(hop.is_some());
    let counts = all.len().checked_sub(1 + behind).ok_or_else(|| {
        Error::failed("the header has only the element about a trusted hop, and none about its client")
            .hint("configure the hop to set it (Envoy: SANITIZE_SET)")
    })?;
    let identity = xfcc::identity(all.get(counts).copied().unwrap_or_default()).map_err(failed)?;
    let shown = all.iter().enumerate().map(|(index, text)| {
        let role = match index.cmp(&counts) {
            std::cmp::Ordering::Less => Role::Ignored,
            std::cmp::Ordering::Equal => Role::Client,
            std::cmp::Ordering::Greater => Role::Hop,
        };
        Shown::new(role, text)
    });
    Ok((shown.collect(), identity))
}

/// The certificate with this identity, anywhere in the header.
fn certificate(header: &str, identity: &Identity) -> Option<Certificate> {
    let sha256 = identity.sha256?;
    let own = otlp_gate_core::identity::certificate_header::chain(header.as_bytes());
    let found = xfcc::certificate(header.as_bytes(), &sha256).map(|(der, _)| der);
    let der = found.or_else(|| own.ok()?.into_iter().next())?;
    Certificate::parse(&der).ok()
}

impl Shown {
    fn new(role: Role, text: &str) -> Self {
        let element = Element::read(text);
        let problem = element.as_ref().err().copied().or_else(|| xfcc::identity(text).err());
        let element = element.unwrap_or_default();
        let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Shown {
            role,
            hash: element.sha256.map(|digest| Fingerprint(digest).hex()),
            uris: texts(&element.uris),
            dns: texts(&element.dns),
            subject: element.subject.map(str::to_owned),
            certificate: element.cert.is_some(),
            problem: problem.map(|it| it.to_string()),
        }
    }

    fn rows(&self, number: usize) -> Vec<[String; 2]> {
        let role = match self.role {
            Role::Client => "about the client: this one counts",
            Role::Hop => "about a trusted hop",
            Role::Ignored => "ignored: the client of the nearest proxy may have written it",
        };
        let mut lines = vec![role.to_owned()];
        lines.extend(self.problem.iter().map(|it| format!("malformed: {it}")));
        lines.extend(self.uris.iter().map(|it| format!("URI: {it}")));
        lines.extend(self.dns.iter().map(|it| format!("DNS: {it}")));
        lines.extend(self.subject.iter().map(|it| format!("Subject: {it}")));
        lines.extend(self.hash.iter().map(|it| format!("Hash: {it}")));
        if self.certificate {
            lines.push("with the certificate, whose names count".to_owned());
        }
        let labels = std::iter::once(format!("ELEMENT {number}")).chain(std::iter::repeat(String::new()));
        labels.zip(lines).map(|(label, line)| [label, line]).collect()
    }
}
