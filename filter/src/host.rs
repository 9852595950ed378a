//! The calls into the proxy, as core asks for them.
//!
//! The SDK's wrappers panic where the proxy answers with a status that they do not expect, and where a header is not
//! UTF-8. Here every failure is a value. Source: proxy-wasm ABI 0.2.1.

use otlp_gate_core::gate::{HeaderMap, Headers, Host, Series, entropy};
use otlp_gate_core::identity::Signature;
use otlp_gate_core::quota::{Salt, Store, StoreFailed, shared_salt};
use otlp_gate_core::time::{Nanos, Timestamp};
use otlp_gate_wire::otlp::put_bytes;

use crate::body_alloc;

const HTTP_REQUEST_BODY: u32 = 0;
const HTTP_RESPONSE_BODY: u32 = 1;
const HTTP_CALL_RESPONSE_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;
const WARN: u32 = 3;
const COUNTER: u32 = 0;
const GAUGE: u32 = 1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, len: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_property(path: *const u8, path_len: usize, value: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_len: usize, value: *const u8, len: usize) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(kind: u32, start: usize, size: usize, data: *const u8, len: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_len: usize,
        data: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_len: usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_len: usize,
        value: *const u8,
        len: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_len: usize,
        value: *const u8,
        len: usize,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_len: usize,
        data: *mut *mut u8,
        len: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_len: usize, data: *const u8, len: usize, cas: u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_http_call(
        upstream: *const u8,
        upstream_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        trailers: *const u8,
        trailers_len: usize,
        timeout_milliseconds: u32,
        number: *mut u32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, len: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_len: usize,
        arguments: *const u8,
        arguments_len: usize,
        result: *mut *mut u8,
        result_len: *mut usize,
    ) -> u32;
}

// WASI, of which proxies provide the environment (proxy-wasm ABI 0.2.1, "environ_get").
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn environ_sizes_get(count: *mut usize, size: *mut usize) -> u32;
    fn environ_get(variables: *mut *const u8, buffer: *mut u8) -> u32;
}

/// The proxy that this module runs in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proxy;

impl Host for Proxy {
    fn now(&self) -> Timestamp {
        let mut time = 0;
        // SAFETY: the proxy writes one u64 to a place that is one.
        unsafe { proxy_get_current_time_nanoseconds(&mut time) };
        Timestamp::from_nanos(time)
    }

    fn warn(&self, message: &str) {
        // SAFETY: pointer and length are those of `message`, which the proxy only reads.
        unsafe { proxy_log(WARN, message.as_ptr(), message.len()) };
    }

    fn plugin_configuration(&self) -> Vec<u8> {
        // SAFETY: the result's places are those that `returned` provides.
        returned(|data, len| unsafe {
            proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, usize::MAX, data, len)
        })
        .unwrap_or_default()
    }

    fn property(&self, path: &[u8]) -> Option<Vec<u8>> {
        // SAFETY: pointer and length are those of `path`; the result's places are those that `returned` provides.
        returned(|data, len| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, len) })
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        // SAFETY: pointers and lengths are those of slices that the proxy only reads.
        unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
    }

    fn request_headers<T>(&self, read: impl FnOnce(&Headers) -> T) -> T {
        let map = map(HeaderMap::Request);
        // SAFETY: the result's places are those that `returned` provides.
        let serialized = returned(|data, len| unsafe { proxy_get_header_map_pairs(map, data, len) });
        read(&serialized.as_deref().and_then(pairs).unwrap_or_default())
    }

    fn header(&self, headers: HeaderMap, name: &str) -> Option<Vec<u8>> {
        // SAFETY: pointer and length are those of `name`; the result's places are those that `returned` provides.
        returned(|data, len| unsafe {
            proxy_get_header_map_value(map(headers), name.as_ptr(), name.len(), data, len)
        })
    }

    fn remove_header(&self, headers: HeaderMap, name: &[u8]) {
        // SAFETY: pointer and length are those of `name`, which the proxy only reads.
        unsafe { proxy_remove_header_map_value(map(headers), name.as_ptr(), name.len()) };
    }

    fn add_header(&self, headers: HeaderMap, name: &str, value: &str) {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        // SAFETY: pointers and lengths are those of slices that the proxy only reads.
        unsafe {
            proxy_add_header_map_value(map(headers), name.as_ptr(), name.len(), value.as_ptr(), value.len())
        };
    }

    fn set_header(&self, headers: HeaderMap, name: &str, value: &str) {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        // SAFETY: pointers and lengths are those of slices that the proxy only reads.
        unsafe {
            proxy_replace_header_map_value(
                map(headers),
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        };
    }

    fn read_request_body(&self, size: usize, body: &mut Vec<u8>) {
        body_alloc::read_into(body, || {
            let (mut data, mut len) = (core::ptr::null_mut(), 0);
            // SAFETY: the proxy writes a pointer and a length to places that are such.
            let status = unsafe { proxy_get_buffer_bytes(HTTP_REQUEST_BODY, 0, size, &mut data, &mut len) };
            (status == OK).then_some((data, len))
        });
    }

    fn replace_request_body(&self, bytes: &[u8]) -> bool {
        set_buffer(HTTP_REQUEST_BODY, 0, usize::MAX, bytes)
    }

    fn append_to_request_body(&self, bytes: &[u8]) -> bool {
        set_buffer(HTTP_REQUEST_BODY, usize::MAX, 0, bytes)
    }

    fn replace_response_body(&self, bytes: &[u8]) {
        set_buffer(HTTP_RESPONSE_BODY, 0, usize::MAX, bytes);
    }

    fn respond(&self, http_status: u32, headers: &[(&str, &str)], body: &[u8], grpc_status: Option<u32>) {
        const DETAILS: &str = "otlp_gate";
        let headers = serialize(headers);
        let grpc_status = grpc_status.and_then(|status| i32::try_from(status).ok()).unwrap_or(-1);
        // SAFETY: pointers and lengths are those of slices that the proxy only reads.
        unsafe {
            proxy_send_local_response(
                http_status,
                DETAILS.as_ptr(),
                DETAILS.len(),
                body.as_ptr(),
                body.len(),
                headers.as_ptr(),
                headers.len(),
                grpc_status,
            )
        };
    }

    /// Calls Envoy's own function (source/extensions/common/wasm/foreign.cc and ext/verify_signature.proto there).
    fn verify_signature(&self, signature: &Signature<'_>) -> bool {
        const FUNCTION: &str = "verify_signature";
        let Signature { hash, key, signature, text } = *signature;
        let mut arguments = Vec::with_capacity(key.len() + signature.len() + text.len() + 32);
        for (field, bytes) in [(1, hash.as_bytes()), (2, key), (3, signature), (4, text)] {
            put_bytes(&mut arguments, field, bytes);
        }
        let result = returned(|data, len| {
            let (name, arguments) = (FUNCTION.as_bytes(), arguments.as_slice());
            // SAFETY: pointers and lengths are those of slices that the proxy only reads; the result's places are those
            // that `returned` provides.
            unsafe {
                proxy_call_foreign_function(
                    name.as_ptr(),
                    name.len(),
                    arguments.as_ptr(),
                    arguments.len(),
                    data,
                    len,
                )
            }
        });
        // The field `result`, the first one, is true. Its default, false, is not written.
        result.is_some_and(|result| result.starts_with(&[1 << 3, 1]))
    }

    fn set_tick(&self, interval: Nanos) {
        // SAFETY: only a number is passed.
        unsafe { proxy_set_tick_period_milliseconds(milliseconds(interval)) };
    }

    fn call(&self, cluster: &str, body: &[u8], timeout: Nanos) -> Option<u32> {
        // What the proxy requires of a request. The cluster sends the body alone.
        let headers = serialize(&[(":method", "POST"), (":path", "/"), (":authority", cluster)]);
        let trailers = serialize(&[]);
        let mut number = 0;
        // SAFETY: pointers and lengths are those of slices that the proxy only reads; the proxy writes one u32 to a
        // place that is one.
        let status = unsafe {
            proxy_http_call(
                cluster.as_ptr(),
                cluster.len(),
                headers.as_ptr(),
                headers.len(),
                body.as_ptr(),
                body.len(),
                trailers.as_ptr(),
                trailers.len(),
                milliseconds(timeout),
                &mut number,
            )
        };
        (status == OK).then_some(number)
    }

    fn answer(&self, size: usize) -> Vec<u8> {
        // SAFETY: the result's places are those that `returned` provides.
        returned(|data, len| unsafe { proxy_get_buffer_bytes(HTTP_CALL_RESPONSE_BODY, 0, size, data, len) })
            .unwrap_or_default()
    }

    fn environment(&self, name: &str) -> Option<String> {
        let (mut count, mut size) = (0, 0);
        // SAFETY: the proxy writes two numbers to places that are such.
        if unsafe { environ_sizes_get(&mut count, &mut size) } != 0 {
            return None;
        }
        let (mut variables, mut buffer) = (vec![core::ptr::null(); count], vec![0; size]);
        // SAFETY: the proxy writes `count` pointers and `size` bytes, as it said, to places of that size.
        if unsafe { environ_get(variables.as_mut_ptr(), buffer.as_mut_ptr()) } != 0 {
            return None;
        }
        // Each variable ends with a NUL.
        let variables =
            buffer.split(|byte| *byte == 0).filter_map(|variable| core::str::from_utf8(variable).ok());
        let mut values = variables.filter_map(|variable| variable.strip_prefix(name)?.strip_prefix('='));
        values.next().map(str::to_owned)
    }

    fn define_counter(&self, series: &Series<'_>) -> Option<u32> {
        define(COUNTER, series)
    }

    fn define_gauge(&self, series: &Series<'_>) -> Option<u32> {
        define(GAUGE, series)
    }

    fn increment(&self, counter: u32, by: u64) {
        // SAFETY: only numbers are passed.
        unsafe { proxy_increment_metric(counter, i64::try_from(by).unwrap_or(i64::MAX)) };
    }

    fn record(&self, gauge: u32, value: u64) {
        // SAFETY: only numbers are passed.
        unsafe { proxy_record_metric(gauge, value) };
    }
}

/// The proxy's shared data: one map for all workers.
impl Store for Proxy {
    fn salt(&self) -> Salt {
        shared_salt(self, || entropy(self)).unwrap_or_default()
    }

    fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        let (mut status, mut version) = (OK, 0);
        let value = returned(|data, len| {
            // SAFETY: pointer and length are those of `key`; the result's places are those that `returned` provides.
            status = unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, len, &mut version) };
            status
        });
        match (value, status) {
            // Setting a key with version 0 would overwrite whatever value it has.
            (Some(value), OK) if version != 0 => Ok(Some((value, version))),
            (None, NOT_FOUND) => Ok(None),
            _ => Err(StoreFailed),
        }
    }

    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
        // SAFETY: pointers and lengths are those of slices that the proxy only reads.
        match unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) }
        {
            OK => Ok(true),
            CAS_MISMATCH => Ok(false),
            _ => Err(StoreFailed),
        }
    }
}

/// The ABI's number of a header map.
fn map(headers: HeaderMap) -> u32 {
    match headers {
        HeaderMap::Request => 0,
        HeaderMap::Response => 2,
        HeaderMap::ResponseTrailers => 3,
    }
}

/// The names and values of a serialized header map, in order: a count, the lengths of each name and value, then each
/// name and value followed by a NUL.
fn pairs(serialized: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (count, rest) = serialized.split_first_chunk()?;
    let count = u32::from_le_bytes(*count) as usize;
    let (lengths, mut texts) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut pairs = Vec::with_capacity(count);
    let mut text = |len: &[u8]| {
        let len = u32::from_le_bytes(len.try_into().ok()?) as usize;
        let (text, behind) = texts.split_at_checked(len)?;
        texts = behind.get(1..)?;
        Some(text)
    };
    for lengths in lengths.chunks_exact(8) {
        let (name, value) = lengths.split_at(4);
        pairs.push((text(name)?, text(value)?));
    }
    Some(pairs)
}

fn milliseconds(time: Nanos) -> u32 {
    u32::try_from(time.get() / 1_000_000).unwrap_or(u32::MAX)
}

fn set_buffer(buffer: u32, start: usize, size: usize, bytes: &[u8]) -> bool {
    // SAFETY: pointer and length are those of `bytes`, which the proxy only reads.
    unsafe { proxy_set_buffer_bytes(buffer, start, size, bytes.as_ptr(), bytes.len()) == OK }
}

fn define(kind: u32, series: &Series<'_>) -> Option<u32> {
    let (name, mut id) = (series.to_string(), 0);
    // SAFETY: pointer and length are those of `name`; the proxy writes one u32 to a place that is one.
    let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) };
    (status == OK).then_some(id)
}

/// What the proxy returns in memory that it asked this module for.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let (mut data, mut len) = (core::ptr::null_mut(), 0);
    if call(&mut data, &mut len) != OK {
        return None;
    }
    if data.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: the proxy allocated `len` bytes by `proxy_on_memory_allocate`, as a boxed slice of just
    // that length, wrote all of them, and keeps no pointer to them.
    Some(unsafe { Vec::from_raw_parts(data, len, len) })
}

fn serialize(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut out = (headers.len() as u32).to_le_bytes().to_vec();
    for (name, value) in headers {
        out.extend((name.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        out.extend(text.as_bytes());
        out.push(0);
    }
    out
}
