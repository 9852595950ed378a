//! Runs each hot function twice, the first time uncounted as a warm-up, and prints its name. Callgrind collects only
//! inside [`otlp_gate_measured`] and writes one dump per function.

mod gate;
mod messages;
mod quota;
mod wire;

use std::hint::black_box;

/// Runs the measured function and prints its name.
pub(crate) fn measure<T>(name: &str, mut work: impl FnMut() -> T) {
    let mut once = || drop(black_box(work()));
    once();
    otlp_gate_measured(&mut once);
    println!("{name}");
}

// SAFETY: no other symbol has this name. Callgrind finds the function by it.
#[unsafe(no_mangle)]
#[inline(never)]
fn otlp_gate_measured(work: &mut dyn FnMut()) {
    work();
}

fn main() {
    wire::all();
    quota::all();
    gate::all();
}
