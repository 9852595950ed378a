//! The proxy's calls into this module: proxy-wasm ABI 0.2.1.
//!
//! Declared here and not by the SDK, which knows two answers to a piece of a body, "continue" and "buffer". Having been
//! told to buffer, Envoy gives the filter its own buffer to write to at the end, and answers 413 (for gRPC: status 2, so
//! that the client drops its data) if what is written is larger than a connection or an HTTP/2 window may hold, be it
//! as small as 64 KiB. A module that says "drop" keeps the pieces itself, and at the end writes to the last piece, which
//! has no such bound.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic;

use crate::{Plugin, Stream, host, worker};

/// What the proxy is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Action {
    /// Go on.
    Continue = 0,
    /// Wait (with headers or trailers).
    Pause = 1,
    /// Wait, and forget this piece of the body (`StopIterationNoBuffer`).
    Drop = 3,
}

thread_local! {
    static PLUGINS: RefCell<BTreeMap<u32, Plugin>> = RefCell::default();
    static STREAMS: RefCell<BTreeMap<u32, Stream>> = RefCell::default();
}

/// Lets a stream act; `otherwise` where there is none of this number. While it acts, the proxy calls nothing but
/// `proxy_on_memory_allocate`.
fn stream<T>(id: u32, otherwise: T, act: impl FnOnce(&mut Stream) -> T) -> T {
    STREAMS.with_borrow_mut(|streams| match streams.get_mut(&id) {
        Some(stream) => act(stream),
        None => otherwise,
    })
}

// SAFETY (of every `no_mangle` below): these are the names by which the ABI finds them, and nothing else has them.

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    panic::set_hook(Box::new(|info| host::warn(&format!("otlp-gate: {info}"))));
}

/// Memory for what the proxy returns: a boxed slice of just this length.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    PLUGINS.with_borrow_mut(|plugins| {
        if parent == 0 {
            plugins.insert(id, Plugin::default());
        } else if let Some(plugin) = plugins.get(&parent) {
            STREAMS.with_borrow_mut(|streams| streams.insert(id, plugin.stream(id)));
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, _size: usize) -> bool {
    PLUGINS.with_borrow_mut(|plugins| {
        if let Some(plugin) = plugins.get_mut(&id) {
            plugin.configure(id);
        }
    });
    // Without a policy every request is answered "try again"; a refused configuration would take the proxy's own
    // way to fail, which drops telemetry.
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _count: usize, end_of_stream: bool) -> Action {
    stream(id, Action::Pause, |stream| stream.on_request_headers(end_of_stream))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, size: usize, end_of_stream: bool) -> Action {
    stream(id, Action::Drop, |stream| stream.on_request_body(size, end_of_stream))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _count: usize) -> Action {
    stream(id, Action::Pause, Stream::on_request_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, _count: usize, _end_of_stream: bool) -> Action {
    stream(id, Action::Continue, Stream::on_response_headers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(id: u32, _size: usize, _end_of_stream: bool) -> Action {
    stream(id, (), Stream::on_response_body);
    Action::Continue
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(id: u32, _count: usize) -> Action {
    stream(id, Action::Continue, Stream::on_response_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(id: u32) {
    stream(id, (), |stream| stream.on_log());
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(_id: u32) -> bool {
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    STREAMS.with_borrow_mut(|streams| streams.remove(&id));
    if PLUGINS.with_borrow_mut(|plugins| plugins.remove(&id)).is_some() {
        worker::forget(id);
    }
}
