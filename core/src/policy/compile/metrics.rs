//! Checks what metrics show.

use super::super::problem::{PathRef, Problem};
use crate::config::MetricsConfig;

/// The most clients with names of patterns that may have metrics of their own.
const MAX_BUSIEST: usize = 500;

/// The number of such clients.
pub(super) fn check(metrics: &MetricsConfig, problems: &mut Vec<Problem>) -> usize {
    let most = usize::try_from(metrics.busiest_clients).unwrap_or(usize::MAX);
    if most > MAX_BUSIEST {
        let path = PathRef::of("metrics");
        problems.push(Problem::new(
            path.key("busiestClients"),
            format!("{most} clients are too many: use 0 to {MAX_BUSIEST}"),
        ));
    }
    most
}
