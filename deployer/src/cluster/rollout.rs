//! Waits until a gate is ready.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Cluster;
use super::plan::Plan;
use super::status::{Status, status};
use crate::error::Error;
use crate::model::Installation;

/// How often the status is read.
const INTERVAL: Duration = Duration::from_millis(300);

/// Waits until all components are ready or the time is over, and returns the last status. `report` is called with what
/// is not ready, each time the status is read.
///
/// # Errors
/// The status cannot be read.
pub(crate) async fn wait(
    cluster: &Cluster,
    installation: &Installation<'_>,
    plan: &Plan,
    time: Duration,
    mut report: impl FnMut(String),
) -> Result<Status, Error> {
    let start = Instant::now();
    loop {
        let now = status(cluster, &plan.discovery, installation, plan.desired()).await?;
        if now.ready() || start.elapsed() >= time {
            return Ok(now);
        }
        report(waiting_for(&now));
        sleep(INTERVAL).await;
    }
}

/// The first component that is not ready, and how many more there are.
fn waiting_for(status: &Status) -> String {
    let mut waiting = status.not_ready();
    let first = waiting.next().map(|it| format!("{}: {}", it.name, it.detail)).unwrap_or_default();
    match waiting.count() {
        0 => format!("waiting for {first}"),
        more => format!("waiting for {first} (and {more} more)"),
    }
}
