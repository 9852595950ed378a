//! Checks over which replicas quotas hold.

use super::super::pattern::is_capture_byte;
use super::super::problem::{PathRef, Problem};
use crate::config::{Away, Quotas, Scope};

/// What gates have in common whose quotas are one; `None` if each replica has its own.
pub(super) fn group(gate: &str, quotas: &Quotas) -> Option<Vec<String>> {
    let name = quotas.engine.as_ref()?.name.clone();
    match quotas.effective_scope() {
        Scope::Replica => None,
        Scope::Gateway => Some(vec!["gateway".to_owned(), gate.to_owned(), name]),
        Scope::Shared => Some(vec!["shared".to_owned(), name]),
    }
}

pub(super) fn check(quotas: &Quotas, problems: &mut Vec<Problem>) {
    let place = PathRef::of("quotas");
    let Some(engine) = &quotas.engine else {
        if quotas.effective_scope() != Scope::Replica {
            let message = "quotas over several replicas need an engine";
            let hint = "name a Valkey or Redis with `quotas.engine`";
            problems.push(Problem::new(place.key("scope"), message).hint(hint));
        }
        if quotas.away == Away::Divide {
            let message = "`away` is for quotas over several replicas, which need an engine";
            problems
                .push(Problem::new(place.key("away"), message).hint("set `quotas.engine`, or remove `away`"));
        }
        return;
    };
    let place = place.key("engine");
    if !engine.name.bytes().all(is_capture_byte) {
        let message = "the name of an engine can only contain A-Z a-z 0-9 . _ -";
        problems.push(Problem::new(place.key("name"), message));
    }
    if quotas.scope == Some(Scope::Shared) && engine.name.is_empty() {
        let message = "`scope: shared` needs a name that all gates have in common";
        problems.push(Problem::new(place, message).hint("set `quotas.engine.name`"));
    }
}
