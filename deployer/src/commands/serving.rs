//! Commands that go on until they are told to end.

use std::future::Future;
use std::{io, thread};

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::error::Error;

/// What blocks, such as reading what somebody types, in a thread of its own: while it goes on, we can be told to end, and
/// then it is not waited for.
pub(super) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (give, got) = oneshot::channel();
    thread::Builder::new().spawn(move || give.send(work()))?;
    got.await.map_err(io::Error::other)?
}

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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_blocks_keeps_nobody_from_ending_us() {
        let (answer, asked) = mpsc::channel::<()>();
        let typed = elsewhere(move || asked.recv().map_err(io::Error::other));
        let ended = until_told_to_end(async {
            tokio::select! {
                biased;
                _ = typed => Err(Error::failed("nobody has answered")),
                () = tokio::task::yield_now() => Ok(()),
            }
        });
        assert_eq!(ended.unwrap(), Some(()));
        drop(answer);
    }

    #[test]
    fn what_it_comes_to_is_given() {
        let came = until_told_to_end(async { elsewhere(|| Ok(5)).await.map_err(Error::failed) });
        assert_eq!(came.unwrap(), Some(5));
    }
}
