//! Runs asynchronous commands until they end or a signal arrives.

use std::future::Future;
use std::{io, thread};

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::error::Error;

/// Runs blocking work, such as reading a line from a terminal, in a thread of its own. The thread is not joined when a
/// signal ends the command.
pub(crate) async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (send, receive) = oneshot::channel();
    thread::Builder::new().spawn(move || send.send(work()))?;
    receive.await.map_err(io::Error::other)?
}

/// Runs `work` to its end, or until SIGINT, SIGTERM or SIGHUP: then `None`.
pub(crate) fn until_signal<T>(work: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Error> {
    let cannot = |error| Error::failed(format_args!("cannot start: {error}"));
    // One thread: the kernel ends Envoy when the thread that started it ends (PR_SET_PDEATHSIG).
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    runtime.block_on(async {
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
    fn blocking_work_does_not_delay_the_end() {
        let (answer, asked) = mpsc::channel::<()>();
        let typed = in_thread(move || asked.recv().map_err(io::Error::other));
        let ended = until_signal(async {
            tokio::select! {
                biased;
                _ = typed => Err(Error::failed("the thread has ended")),
                () = tokio::task::yield_now() => Ok(()),
            }
        });
        assert_eq!(ended.unwrap(), Some(()));
        drop(answer);
    }

    #[test]
    fn the_result_of_blocking_work_is_returned() {
        let result = until_signal(async { in_thread(|| Ok(5)).await.map_err(Error::failed) });
        assert_eq!(result.unwrap(), Some(5));
    }
}
