//! The proxy's calls into this module: proxy-wasm ABI 0.2.1.
//!
//! Declared here and not by the SDK, which has two answers to a piece of a body, "continue" and "buffer". After "buffer",
//! the filter writes to Envoy's own buffer at the end. Envoy answers 413 (for gRPC: status 2, so that the client drops
//! its data) if that becomes larger than a connection or an HTTP/2 window may hold, which may be as small as 64 KiB.
//! This module answers "drop" and keeps the pieces itself. At the end it writes to the last piece, which has no such
//! limit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic;

use otlp_gate_core::gate::{Action, Host, Plugin, Stream, Worker};

use crate::host::Proxy;

// The ABI's actions. `StopIterationNoBuffer` makes the proxy wait and forget the piece of the body.
const CONTINUE: u32 = 0;
const STOP_ITERATION: u32 = 1;
const STOP_ITERATION_NO_BUFFER: u32 = 3;

thread_local! {
    /// Lives as long as the VM.
    static WORKER: &'static Worker<Proxy> = Box::leak(Box::new(Worker::new(Proxy)));
    static PLUGINS: RefCell<BTreeMap<u32, Plugin<'static, Proxy>>> = RefCell::default();
    static STREAMS: RefCell<BTreeMap<u32, Stream<'static, Proxy>>> = RefCell::default();
}

/// Calls a stream; gives `otherwise` where there is none with this id. Meanwhile the proxy calls nothing but
/// `proxy_on_memory_allocate`.
fn stream<T>(id: u32, otherwise: T, call: impl FnOnce(&mut Stream<'static, Proxy>) -> T) -> T {
    STREAMS.with_borrow_mut(|streams| match streams.get_mut(&id) {
        Some(stream) => call(stream),
        None => otherwise,
    })
}

fn code(action: Action) -> u32 {
    match action {
        Action::Continue => CONTINUE,
        Action::Pause => STOP_ITERATION,
        Action::Drop => STOP_ITERATION_NO_BUFFER,
    }
}

// SAFETY (of every `no_mangle` below): these are the names by which the ABI finds them, and nothing else has them.

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    panic::set_hook(Box::new(|info| Proxy.warn(&format!("otlp-gate: {info}"))));
}

/// Memory for what the proxy returns: a boxed slice of exactly this length.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    PLUGINS.with_borrow_mut(|plugins| {
        if parent == 0 {
            plugins.insert(id, WORKER.with(|worker| Plugin::new(worker, id)));
        } else if let Some(plugin) = plugins.get(&parent) {
            STREAMS.with_borrow_mut(|streams| streams.insert(id, plugin.stream(id)));
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, _size: usize) -> bool {
    PLUGINS.with_borrow_mut(|plugins| {
        if let Some(plugin) = plugins.get_mut(&id) {
            plugin.configure();
        }
    });
    // Without a policy, requests are answered so that their clients try again. If this failed, the proxy would answer
    // them itself, in a way that makes clients drop their telemetry.
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(id: u32) {
    PLUGINS.with_borrow(|plugins| plugins.get(&id).into_iter().for_each(Plugin::on_tick));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(
    id: u32,
    number: u32,
    _headers: usize,
    size: usize,
    _trailers: usize,
) {
    PLUGINS.with_borrow(|plugins| {
        plugins.get(&id).into_iter().for_each(|plugin| plugin.on_answer(number, size))
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _count: usize, end_of_stream: bool) -> u32 {
    code(stream(id, Action::Pause, |stream| stream.on_request_headers(end_of_stream)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, size: usize, end_of_stream: bool) -> u32 {
    code(stream(id, Action::Drop, |stream| stream.on_request_body(size, end_of_stream)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _count: usize) -> u32 {
    code(stream(id, Action::Pause, Stream::on_request_trailers))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, _count: usize, end_of_stream: bool) -> u32 {
    code(stream(id, Action::Continue, |stream| stream.on_response_headers(end_of_stream)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(id: u32, _size: usize, end_of_stream: bool) -> u32 {
    stream(id, (), |stream| stream.on_response_body(end_of_stream));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(id: u32, _count: usize) -> u32 {
    code(stream(id, Action::Continue, Stream::on_response_trailers))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(id: u32) {
    stream(id, (), |stream| stream.on_log());
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    STREAMS.with_borrow_mut(|streams| streams.remove(&id));
    PLUGINS.with_borrow_mut(|plugins| plugins.remove(&id));
}
