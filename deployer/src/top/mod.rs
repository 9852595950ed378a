//! `otlp-gate top`: what each client sends now, over all replicas of a gate, from the filter's metrics.

mod keys;
mod prometheus;
mod reading;
mod sample;
mod screen;
mod source;
mod view;

pub(crate) use screen::show;
pub(crate) use source::{Reader, Source};
pub(crate) use view::{Column, View};
