//! Commands that go on until they are told to end.

use std::future::Future;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::Error;

/// Runs `work` to its end, or until someone asks us to end: then `None`.
pub(super) fn until_told_to_end<T>(work: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Error> {
    let cannot = |error| Error::failed(format_args!("cannot start: {error}"));
    // One thread: the kernel ends Envoy when the thread that started it does.
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    runtime.block_on(async {
        // Ctrl-C, a supervisor, or the terminal that goes away.
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(cannot)?;
        tokio::select! {
            biased;
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
            _ = hangup.recv() => Ok(None),
            done = work => done.map(Some),
        }
    })
}
