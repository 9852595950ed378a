//! The signal whose export stands in for a health check.

use core::cell::Cell;

use otlp_gate_wire::otlp::Signal;

/// The signal that health checks are forwarded as: the last one that the backend accepted. A backend that has accepted
/// none is tried with one signal after the other.
#[derive(Debug)]
pub(super) struct ProbeSignal(Cell<Signal>);

impl Default for ProbeSignal {
    fn default() -> Self {
        ProbeSignal(Cell::new(Signal::Traces))
    }
}

impl ProbeSignal {
    pub(super) fn get(&self) -> Signal {
        self.0.get()
    }

    /// The backend accepted an export of this signal.
    pub(super) fn accepted(&self, signal: Signal) {
        self.0.set(signal);
    }

    /// The backend does not implement this signal: the next check is forwarded as another one.
    pub(super) fn unimplemented(&self, signal: Signal) {
        let next = Signal::ALL.into_iter().cycle().skip_while(|it| *it != signal).nth(1);
        self.0.set(next.unwrap_or(Signal::Traces));
    }
}
