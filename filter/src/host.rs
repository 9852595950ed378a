//! The proxy's side of the ABI, as far as the filter needs it.
//!
//! The SDK's wrappers panic where the proxy answers with a status that they do not expect, and where a header is
//! not UTF-8. Here every failure is a value. Source: proxy-wasm ABI 0.2.1.

use otlp_gate_core::quota::{Salt, Store, StoreFailed, shared_salt};
use otlp_gate_core::time::Timestamp;

use crate::body_alloc;

/// Which map of headers.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Map {
    RequestHeaders = 0,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
}

const HTTP_REQUEST_BODY: u32 = 0;
const HTTP_RESPONSE_BODY: u32 = 1;
const PLUGIN_CONFIGURATION: u32 = 7;
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;
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
}

/// Logs a warning.
pub(crate) fn warn(message: &str) {
    const WARN: u32 = 3;
    // SAFETY: pointer and length are those of `message`, which the proxy only reads.
    unsafe { proxy_log(WARN, message.as_ptr(), message.len()) };
}

/// The time; the epoch if the proxy does not tell.
pub(crate) fn now() -> Timestamp {
    let mut time = 0;
    // SAFETY: the proxy writes one u64 to a place that is one.
    unsafe { proxy_get_current_time_nanoseconds(&mut time) };
    Timestamp::from_nanos(time)
}

/// A property; the parts of `path` are separated by NUL.
pub(crate) fn property(path: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: pointer and length are those of `path`; the result's places are those that `returned` provides.
    returned(|data, len| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, len) })
}

/// Sets a property, which the proxy keeps in its filter state.
pub(crate) fn set_property(path: &[u8], value: &[u8]) {
    // SAFETY: pointers and lengths are those of slices that the proxy only reads.
    unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
}

/// The configuration that the policy comes in.
pub(crate) fn configuration() -> Vec<u8> {
    // SAFETY: the result's places are those that `returned` provides.
    returned(|data, len| unsafe { proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, usize::MAX, data, len) })
        .unwrap_or_default()
}

/// Appends the part of the request's body that the proxy holds, of `size` bytes, to `body`.
pub(crate) fn read_request_body(size: usize, body: &mut Vec<u8>) {
    body_alloc::read_into(body, || {
        let (mut data, mut len) = (core::ptr::null_mut(), 0);
        // SAFETY: the proxy writes a pointer and a length to places that are such.
        let status = unsafe { proxy_get_buffer_bytes(HTTP_REQUEST_BODY, 0, size, &mut data, &mut len) };
        (status == OK).then_some((data, len))
    });
}

/// Replaces the part of the request's body that the proxy holds; whether the proxy did.
pub(crate) fn replace_request_body(bytes: &[u8]) -> bool {
    // SAFETY: pointer and length are those of `bytes`, which the proxy only reads.
    unsafe { proxy_set_buffer_bytes(HTTP_REQUEST_BODY, 0, usize::MAX, bytes.as_ptr(), bytes.len()) == OK }
}

/// Replaces the part of the answer's body that the proxy holds.
pub(crate) fn replace_response_body(bytes: &[u8]) {
    // SAFETY: pointer and length are those of `bytes`, which the proxy only reads.
    unsafe { proxy_set_buffer_bytes(HTTP_RESPONSE_BODY, 0, usize::MAX, bytes.as_ptr(), bytes.len()) };
}

/// Appends to the part of the request's body that the proxy holds; whether the proxy did.
pub(crate) fn append_to_request_body(bytes: &[u8]) -> bool {
    // SAFETY: pointer and length are those of `bytes`, which the proxy only reads.
    unsafe { proxy_set_buffer_bytes(HTTP_REQUEST_BODY, usize::MAX, 0, bytes.as_ptr(), bytes.len()) == OK }
}

/// All headers or trailers of a map.
pub(crate) struct HeaderMap {
    /// As the ABI lays them out: a count, the lengths of each name and value, then each name and value with a NUL behind.
    serialized: Vec<u8>,
}

impl HeaderMap {
    /// Reads a map; an empty one if there is none.
    pub(crate) fn read(map: Map) -> Self {
        // SAFETY: the result's places are those that `returned` provides.
        let serialized = returned(|data, len| unsafe { proxy_get_header_map_pairs(map as u32, data, len) });
        HeaderMap { serialized: serialized.unwrap_or_default() }
    }

    /// The names and values, in order.
    pub(crate) fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        self.parse().unwrap_or_default()
    }

    fn parse(&self) -> Option<Vec<(&[u8], &[u8])>> {
        let (count, rest) = self.serialized.split_first_chunk()?;
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
}

/// The value of a header or trailer.
pub(crate) fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    // SAFETY: pointer and length are those of `name`; the result's places are those that `returned` provides.
    returned(|data, len| unsafe {
        proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, len)
    })
}

/// Removes all values of a header or trailer.
pub(crate) fn remove_header(map: Map, name: &[u8]) {
    // SAFETY: pointer and length are those of `name`, which the proxy only reads.
    unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) };
}

/// Adds a value to a header or trailer.
pub(crate) fn add_header(map: Map, name: &str, value: &str) {
    // SAFETY: pointers and lengths are those of slices that the proxy only reads.
    unsafe { proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// Sets a header or trailer to one value.
pub(crate) fn set_header(map: Map, name: &str, value: &str) {
    // SAFETY: pointers and lengths are those of slices that the proxy only reads.
    unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
}

/// The number of a counter, for [`increment`].
pub(crate) fn define_counter(name: &str) -> Option<u32> {
    define(COUNTER, name)
}

/// The number of a gauge, for [`record`].
pub(crate) fn define_gauge(name: &str) -> Option<u32> {
    define(GAUGE, name)
}

/// Sets a gauge.
pub(crate) fn record(gauge: u32, value: u64) {
    // SAFETY: only numbers are passed.
    unsafe { proxy_record_metric(gauge, value) };
}

/// Sets a gauge that is set seldom.
pub(crate) fn show(gauge: &str, value: u64) {
    if let Some(id) = define_gauge(gauge) {
        record(id, value);
    }
}

fn define(kind: u32, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: pointer and length are those of `name`; the proxy writes one u32 to a place that is one.
    let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) };
    (status == OK).then_some(id)
}

/// Adds to a counter.
pub(crate) fn increment(counter: u32, by: u64) {
    // SAFETY: only numbers are passed.
    unsafe { proxy_increment_metric(counter, i64::try_from(by).unwrap_or(i64::MAX)) };
}

/// Answers the request in the backend's place.
pub(crate) fn response(status: u32, headers: &[(&str, &str)], body: &[u8], grpc_status: Option<u32>) {
    const DETAILS: &str = "otlp_gate";
    let headers = serialize(headers);
    let grpc_status = grpc_status.and_then(|status| i32::try_from(status).ok()).unwrap_or(-1);
    // SAFETY: pointers and lengths are those of slices that the proxy only reads.
    unsafe {
        proxy_send_local_response(
            status,
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

/// The proxy's shared data: one map for all workers.
#[derive(Debug, Default)]
pub(crate) struct SharedData;

impl Store for SharedData {
    fn salt(&self) -> Salt {
        shared_salt(self, entropy).unwrap_or_default()
    }

    fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        let (mut status, mut version) = (OK, 0);
        let value = returned(|data, len| {
            // SAFETY: pointer and length are those of `key`; the result's places are those that `returned` provides.
            status = unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, len, &mut version) };
            status
        });
        match (value, status) {
            // Version 0 would overwrite whatever is there.
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

/// Bytes that nobody outside can know. A module has no random numbers, but a clock in nanoseconds, and how long each look at it takes
/// differs; besides, the first connection's number, port and request id, which some proxies draw by lot.
fn entropy() -> Vec<u8> {
    const LOOKS: usize = 4096;
    let mut bytes = Vec::with_capacity(8 * LOOKS + 256);
    for _ in 0..LOOKS {
        bytes.extend(now().as_nanos().to_le_bytes());
    }
    bytes.extend((bytes.as_ptr() as usize).to_le_bytes());
    for path in [&b"connection\0id"[..], b"source\0address", b"request\0id", b"request\0time"] {
        bytes.extend(property(path).unwrap_or_default());
    }
    bytes
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
