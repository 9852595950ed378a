//! The calls into Envoy, as core asks for them.
//!
//! Every `unsafe` block is such a call, or reads bytes that a call has just returned: pointers and lengths are those of
//! slices that Envoy only reads, places for results have the type that Envoy writes, `filter` is the object of the hook
//! that runs, and results are copied before the next call. That is what [`abi`] asks for.
#![expect(clippy::undocumented_unsafe_blocks, reason = "all are safe for the reason above")]

use core::ptr;
use std::cell::{Cell, RefCell};
use std::env;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use otlp_gate_core::gate::{HeaderMap, Headers, Host, Series};
use otlp_gate_core::identity::{Signature, is_valid_signature};
use otlp_gate_core::time::{Nanos, Timestamp};

use crate::abi::{self, EnvoyBuffer, EnvoyConfig, EnvoyFilter, EnvoyHeader, ModuleBuffer, ModuleHeader};
use crate::hooks::Config;
use crate::metrics;

/// The proxy that this module runs in. All calls are about the hook that runs on this thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proxy;

/// Envoy's object of the hook that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Context {
    None,
    Config(EnvoyConfig),
    Filter(EnvoyFilter),
}

thread_local! {
    static CONTEXT: Cell<Context> = const { Cell::new(Context::None) };
    /// What the plugin that is being configured is configured with.
    static CONFIGURING: RefCell<Option<Arc<Config>>> = const { RefCell::new(None) };
}

impl Context {
    /// Calls with this context, and sets the one before again, also if the call panics.
    pub(crate) fn enter<T>(self, call: impl FnOnce() -> T) -> T {
        struct Before(Context);
        impl Drop for Before {
            fn drop(&mut self) {
                CONTEXT.set(self.0);
            }
        }
        let _before = Before(CONTEXT.replace(self));
        call()
    }

    fn current() -> Self {
        CONTEXT.get()
    }
}

/// Calls while a plugin is configured with `config`.
pub(crate) fn configuring<T>(config: &Arc<Config>, call: impl FnOnce() -> T) -> T {
    CONFIGURING.set(Some(Arc::clone(config)));
    let result = call();
    CONFIGURING.set(None);
    result
}

/// Envoy's object of the stream whose hook runs.
fn filter() -> Option<EnvoyFilter> {
    match Context::current() {
        Context::Filter(filter) => Some(filter),
        _ => None,
    }
}

impl Host for Proxy {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "a dynamic module has the process' clock")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }

    fn warn(&self, message: &str) {
        unsafe { abi::envoy_dynamic_module_callback_log(abi::WARN, ModuleBuffer::new(message.as_bytes())) };
    }

    fn plugin_configuration(&self) -> Vec<u8> {
        CONFIGURING
            .with_borrow(|config| config.as_ref().map(|config| config.policy.clone()))
            .unwrap_or_default()
    }

    fn property(&self, path: &[u8]) -> Option<Vec<u8>> {
        match path {
            b"plugin_root_id" => {
                CONFIGURING.with_borrow(|config| config.as_ref().map(|config| config.name.clone()))
            }
            b"connection\0id" => {
                let (filter, mut id) = (filter()?, 0);
                let found = unsafe {
                    abi::envoy_dynamic_module_callback_http_filter_get_attribute_int(
                        filter,
                        abi::CONNECTION_ID,
                        &mut id,
                    )
                };
                found.then(|| id.to_le_bytes().to_vec())
            }
            b"connection\0sha256_peer_certificate_digest" => text(abi::SHA256_PEER_CERTIFICATE_DIGEST),
            b"response\0code_details" => text(abi::RESPONSE_CODE_DETAILS),
            _ => None,
        }
    }

    /// Under the name that a proxy-wasm filter's property has, so that access logs need not tell the two apart.
    fn set_property(&self, path: &[u8], value: &[u8]) {
        let Some(filter) = filter() else { return };
        let name = [b"wasm.", path].concat();
        let (name, value) = (ModuleBuffer::new(&name), ModuleBuffer::new(value));
        unsafe { abi::envoy_dynamic_module_callback_http_set_filter_state_bytes(filter, name, value) };
    }

    /// The headers are copied: Envoy's own are not valid any more once one is removed.
    fn request_headers<T>(&self, read: impl FnOnce(&Headers) -> T) -> T {
        let Some(filter) = filter() else { return read(&[]) };
        let none = EnvoyHeader { name: EnvoyBuffer::NULL, value: EnvoyBuffer::NULL };
        let count =
            unsafe { abi::envoy_dynamic_module_callback_http_get_headers_size(filter, abi::REQUEST_HEADERS) };
        let mut headers = vec![none; count];
        let found = unsafe {
            abi::envoy_dynamic_module_callback_http_get_headers(
                filter,
                abi::REQUEST_HEADERS,
                headers.as_mut_ptr(),
            )
        };
        if !found {
            return read(&[]);
        }
        let fields: Vec<[&[u8]; 2]> =
            headers.iter().map(|header| unsafe { [header.name.bytes(), header.value.bytes()] }).collect();
        let texts = fields.as_flattened().concat();
        let mut rest = &*texts;
        let mut copied = |field: &[u8]| {
            let (field, behind) = rest.split_at_checked(field.len()).unwrap_or_default();
            rest = behind;
            field
        };
        let copies: Vec<(&[u8], &[u8])> =
            fields.iter().map(|[name, value]| (copied(name), copied(value))).collect();
        read(&copies)
    }

    fn header(&self, headers: HeaderMap, name: &str) -> Option<Vec<u8>> {
        let (filter, mut value, mut count) = (filter()?, EnvoyBuffer::NULL, 0);
        let found = unsafe {
            abi::envoy_dynamic_module_callback_http_get_header(
                filter,
                map(headers),
                ModuleBuffer::new(name.as_bytes()),
                &mut value,
                0,
                &mut count,
            )
        };
        (found && count > 0).then(|| unsafe { value.bytes() }.to_vec())
    }

    fn remove_header(&self, headers: HeaderMap, name: &[u8]) {
        let Some(filter) = filter() else { return };
        let (name, none) = (ModuleBuffer::new(name), ModuleBuffer::NULL);
        unsafe { abi::envoy_dynamic_module_callback_http_set_header(filter, map(headers), name, none) };
    }

    fn add_header(&self, headers: HeaderMap, name: &str, value: &str) {
        let Some(filter) = filter() else { return };
        let (name, value) = (ModuleBuffer::new(name.as_bytes()), ModuleBuffer::new(value.as_bytes()));
        unsafe { abi::envoy_dynamic_module_callback_http_add_header(filter, map(headers), name, value) };
    }

    fn set_header(&self, headers: HeaderMap, name: &str, value: &str) {
        let Some(filter) = filter() else { return };
        let (name, value) = (ModuleBuffer::new(name.as_bytes()), ModuleBuffer::new(value.as_bytes()));
        unsafe { abi::envoy_dynamic_module_callback_http_set_header(filter, map(headers), name, value) };
    }

    fn read_request_body(&self, size: usize, body: &mut Vec<u8>) {
        let Some(filter) = filter() else { return };
        let count = unsafe {
            abi::envoy_dynamic_module_callback_http_get_body_chunks_size(filter, abi::REQUEST_BODY)
        };
        let mut chunks = vec![EnvoyBuffer::NULL; count];
        let found = unsafe {
            abi::envoy_dynamic_module_callback_http_get_body_chunks(
                filter,
                abi::REQUEST_BODY,
                chunks.as_mut_ptr(),
            )
        };
        if !found {
            return;
        }
        let mut left = size;
        for chunk in chunks {
            let bytes = unsafe { chunk.bytes() };
            let bytes = bytes.get(..left).unwrap_or(bytes);
            body.extend_from_slice(bytes);
            left -= bytes.len();
        }
    }

    fn replace_request_body(&self, bytes: &[u8]) -> bool {
        replace(abi::REQUEST_BODY, bytes)
    }

    fn append_to_request_body(&self, bytes: &[u8]) -> bool {
        let Some(filter) = filter() else { return false };
        let bytes = ModuleBuffer::new(bytes);
        unsafe { abi::envoy_dynamic_module_callback_http_append_body(filter, abi::REQUEST_BODY, bytes) }
    }

    fn replace_response_body(&self, bytes: &[u8]) {
        replace(abi::RESPONSE_BODY, bytes);
    }

    /// Envoy takes no gRPC status from a dynamic module, but a header with it.
    fn respond(&self, http_status: u32, headers: &[(&str, &str)], body: &[u8], grpc_status: Option<u32>) {
        let Some(filter) = filter() else { return };
        let grpc_status = grpc_status.map(|status| status.to_string());
        let grpc_status = grpc_status.as_deref().map(|status| ("grpc-status", status));
        let headers: Vec<ModuleHeader<'_>> = headers
            .iter()
            .copied()
            .chain(grpc_status)
            .map(|(name, value)| ModuleHeader::new(name, value))
            .collect();
        unsafe {
            abi::envoy_dynamic_module_callback_http_send_response(
                filter,
                http_status,
                headers.as_ptr(),
                headers.len(),
                ModuleBuffer::new(body),
                ModuleBuffer::new(b"otlp_gate"),
            );
        }
    }

    fn verify_signature(&self, signature: &Signature<'_>) -> bool {
        is_valid_signature(signature).unwrap_or(false)
    }

    /// Envoy calls no filter of a dynamic module at intervals. The command rejects configs that need it.
    fn set_tick(&self, _interval: Nanos) {}

    fn call(&self, _cluster: &str, _body: &[u8], _timeout: Nanos) -> Option<u32> {
        None
    }

    fn answer(&self, _size: usize) -> Vec<u8> {
        Vec::new()
    }

    fn environment(&self, name: &str) -> Option<String> {
        env::var(name).ok()
    }

    fn define_counter(&self, series: &Series<'_>) -> Option<u32> {
        metrics::place(series, false)
    }

    fn define_gauge(&self, series: &Series<'_>) -> Option<u32> {
        metrics::place(series, true)
    }

    fn increment(&self, counter: u32, by: u64) {
        metrics::increment(Context::current(), counter, by);
    }

    fn record(&self, gauge: u32, value: u64) {
        metrics::set(Context::current(), gauge, value);
    }
}

/// The ABI's number of a header map.
fn map(headers: HeaderMap) -> u32 {
    match headers {
        HeaderMap::Request => abi::REQUEST_HEADERS,
        HeaderMap::Response => abi::RESPONSE_HEADERS,
        HeaderMap::ResponseTrailers => abi::RESPONSE_TRAILERS,
    }
}

/// An attribute that is text.
fn text(attribute: u32) -> Option<Vec<u8>> {
    let (filter, mut value) = (filter()?, EnvoyBuffer::NULL);
    let found = unsafe {
        abi::envoy_dynamic_module_callback_http_filter_get_attribute_string(filter, attribute, &mut value)
    };
    found.then(|| unsafe { value.bytes() }.to_vec())
}

fn replace(body: u32, bytes: &[u8]) -> bool {
    let Some(filter) = filter() else { return false };
    let drained = unsafe { abi::envoy_dynamic_module_callback_http_drain_body(filter, body, usize::MAX) };
    let bytes = ModuleBuffer::new(bytes);
    drained && unsafe { abi::envoy_dynamic_module_callback_http_append_body(filter, body, bytes) }
}

/// The length of the piece of the request's body that the hook is about.
pub(crate) fn request_body_size(filter: EnvoyFilter) -> usize {
    unsafe { abi::envoy_dynamic_module_callback_http_get_body_size(filter, abi::REQUEST_BODY) }
}

/// Ends a stream in whose hook the module has failed. A gRPC client gets the status 14, others 503: both allow a retry.
pub(crate) fn fail(filter: EnvoyFilter, response_begun: bool) {
    const DETAILS: &[u8] = b"otlp_gate_failed";
    Context::Filter(filter).enter(|| {
        if response_begun {
            let details = ModuleBuffer::new(DETAILS);
            unsafe {
                abi::envoy_dynamic_module_callback_http_filter_reset_stream(
                    filter,
                    abi::LOCAL_RESET,
                    details,
                );
            }
            return;
        }
        let content_type = Proxy.header(HeaderMap::Request, "content-type").unwrap_or_default();
        let headers = [ModuleHeader::new("grpc-status", "14")];
        let len = usize::from(content_type.starts_with(b"application/grpc"));
        unsafe {
            abi::envoy_dynamic_module_callback_http_send_response(
                filter,
                503,
                if len == 0 { ptr::null() } else { headers.as_ptr() },
                len,
                ModuleBuffer::new(b"the gateway failed"),
                ModuleBuffer::new(DETAILS),
            );
        }
    });
}
