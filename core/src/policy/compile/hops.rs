//! Compiles trusted hops: their own certificates, and the headers in which they forward those of their clients.

use std::rc::Rc;

use super::super::header;
use super::super::hop::Hop;
use super::super::problem::{PathRef, Problem};
use super::super::rule::Templates;
use super::captures::CaptureKinds;
use super::matching;
use crate::config::HopConfig;
use crate::identity::xfcc;

/// Compiles `trustedHops`. `owned` are the headers that the filter sets.
pub(super) fn compile(
    hops: &[HopConfig],
    scope: &matching::Scope,
    owned: &Templates,
    problems: &mut Vec<Problem>,
) -> Vec<Hop> {
    let (root, kinds) = (PathRef::of("trustedHops"), CaptureKinds::new());
    let compile = |(index, config): (usize, &HopConfig)| {
        let path = root.index(index);
        let (certificate, _) = scope.compile(&config.certificate(), &kinds, &path, problems);
        let header = config.header.as_deref().map(str::to_ascii_lowercase);
        if let Some(name) = &header {
            check(name, owned, &path.key("header"), problems);
        }
        Hop { certificate, header: header.map(Rc::from) }
    };
    hops.iter().enumerate().map(compile).collect()
}

fn check(name: &str, owned: &Templates, path: &PathRef<'_>, problems: &mut Vec<Problem>) {
    if name == xfcc::HEADER {
        return;
    }
    if let Some(reason) = header::forbidden(name) {
        problems.push(Problem::new(path, format!("this header cannot have a certificate: {reason}")));
    } else if name.contains('_') {
        // nginx drops them (`underscores_in_headers off`), Envoy Gateway rejects them.
        let message = "proxies drop or reject headers with `_` in their names";
        problems.push(Problem::new(path, message).hint("use `-`, also in the proxy's configuration"));
    }
    if owned.iter().any(|(own, _)| header::is_spelling(name.as_bytes(), own.as_bytes())) {
        let message = "the filter sets this header for the backend (`headers`)";
        problems.push(Problem::new(path, message).hint("rename one of them"));
    }
}
