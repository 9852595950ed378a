//! Does each hot piece of work once, after a first time that is not counted, and prints its name. Under Callgrind, which is
//! told to collect inside of [`otlp_gate_measured`] only, each is a dump of its own.

mod gate;
mod messages;
mod quota;
mod wire;

use std::hint::black_box;

/// Does it, and says what it was.
pub(crate) fn measure<T>(name: &str, mut work: impl FnMut() -> T) {
    let mut once = || drop(black_box(work()));
    once();
    otlp_gate_measured(&mut once);
    println!("{name}");
}

// SAFETY: nothing else has this name, by which Callgrind finds the function.
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
