//! Envoy's ABI of dynamic modules, as far as it is used: version 0.2.0, of Envoy 1.40
//! (source/extensions/dynamic_modules/abi/abi.h). Envoy 1.41 keeps it compatible.

use core::ffi::{c_char, c_void};
use core::marker::PhantomData;
use core::{ptr, slice};

/// The version that the module reports. Envoy logs a warning if it is not its own.
pub(crate) const VERSION: &core::ffi::CStr = c"v0.2.0";

/// Envoy's object of a configuration.
pub(crate) type EnvoyConfig = *mut c_void;
/// Envoy's object of a stream.
pub(crate) type EnvoyFilter = *mut c_void;

// `envoy_dynamic_module_type_http_header_type`.
pub(crate) const REQUEST_HEADERS: u32 = 0;
pub(crate) const RESPONSE_HEADERS: u32 = 2;
pub(crate) const RESPONSE_TRAILERS: u32 = 3;

// `envoy_dynamic_module_type_http_body_type`: the piece that the current hook is about.
pub(crate) const REQUEST_BODY: u32 = 0;
pub(crate) const RESPONSE_BODY: u32 = 2;

// `envoy_dynamic_module_type_attribute_id`.
pub(crate) const RESPONSE_CODE_DETAILS: u32 = 16;
pub(crate) const CONNECTION_ID: u32 = 28;
pub(crate) const SHA256_PEER_CERTIFICATE_DIGEST: u32 = 38;

// `envoy_dynamic_module_type_log_level`.
pub(crate) const WARN: u32 = 3;

// `envoy_dynamic_module_type_metrics_result`.
pub(crate) const METRIC_OK: u32 = 0;

// `envoy_dynamic_module_type_on_http_filter_request_headers_status`; those of response headers, and of trailers, begin
// with the same two.
pub(crate) const CONTINUE: u32 = 0;
pub(crate) const STOP_ITERATION: u32 = 1;
// `envoy_dynamic_module_type_on_http_filter_request_body_status`: Envoy waits and forgets the piece.
pub(crate) const STOP_ITERATION_NO_BUFFER: u32 = 3;

// `envoy_dynamic_module_type_http_filter_stream_reset_reason`.
pub(crate) const LOCAL_RESET: u32 = 0;

/// Bytes of the module that Envoy reads during a call.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ModuleBuffer<'a> {
    ptr: *const c_char,
    len: usize,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> ModuleBuffer<'a> {
    /// No bytes. As a header's value it removes the header.
    pub(crate) const NULL: Self = ModuleBuffer { ptr: ptr::null(), len: 0, bytes: PhantomData };

    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        ModuleBuffer { ptr: bytes.as_ptr().cast(), len: bytes.len(), bytes: PhantomData }
    }

    /// What Envoy sees of it.
    #[cfg(test)]
    pub(crate) fn parts(self) -> (*const u8, usize) {
        (self.ptr.cast(), self.len)
    }
}

/// Bytes of Envoy, which are valid until the hook returns or something is changed.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EnvoyBuffer {
    ptr: *const c_char,
    len: usize,
}

impl EnvoyBuffer {
    pub(crate) const NULL: Self = EnvoyBuffer { ptr: ptr::null(), len: 0 };

    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        EnvoyBuffer { ptr: bytes.as_ptr().cast(), len: bytes.len() }
    }

    /// # Safety
    /// The bytes are valid for `'a`, and nothing changes them.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.ptr.is_null() {
            return &[];
        }
        // SAFETY: what the caller promises.
        unsafe { slice::from_raw_parts(self.ptr.cast(), self.len) }
    }
}

/// A header of Envoy.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EnvoyHeader {
    pub(crate) name: EnvoyBuffer,
    pub(crate) value: EnvoyBuffer,
}

/// A header of the module.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ModuleHeader<'a> {
    pub(crate) name: ModuleBuffer<'a>,
    pub(crate) value: ModuleBuffer<'a>,
}

impl<'a> ModuleHeader<'a> {
    pub(crate) fn new(name: &'a str, value: &'a str) -> Self {
        ModuleHeader { name: ModuleBuffer::new(name.as_bytes()), value: ModuleBuffer::new(value.as_bytes()) }
    }
}

// SAFETY (of every call): pointers and lengths are those of slices that Envoy only reads, places for results are of the
// type that Envoy writes, and `filter` or `config` is the object of the hook that runs.
unsafe extern "C" {
    pub(crate) fn envoy_dynamic_module_callback_log(level: u32, message: ModuleBuffer<'_>);

    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: EnvoyConfig,
        name: ModuleBuffer<'_>,
        labels: *const ModuleBuffer<'_>,
        labels_len: usize,
        id: *mut usize,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
        config: EnvoyConfig,
        name: ModuleBuffer<'_>,
        labels: *const ModuleBuffer<'_>,
        labels_len: usize,
        id: *mut usize,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_increment_counter(
        config: EnvoyConfig,
        id: usize,
        values: *const ModuleBuffer<'_>,
        values_len: usize,
        by: u64,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_increment_gauge(
        config: EnvoyConfig,
        id: usize,
        values: *const ModuleBuffer<'_>,
        values_len: usize,
        by: u64,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_set_gauge(
        config: EnvoyConfig,
        id: usize,
        values: *const ModuleBuffer<'_>,
        values_len: usize,
        value: u64,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_increment_counter(
        filter: EnvoyFilter,
        id: usize,
        values: *const ModuleBuffer<'_>,
        values_len: usize,
        by: u64,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_set_gauge(
        filter: EnvoyFilter,
        id: usize,
        values: *const ModuleBuffer<'_>,
        values_len: usize,
        value: u64,
    ) -> u32;

    pub(crate) fn envoy_dynamic_module_callback_http_get_headers_size(filter: EnvoyFilter, map: u32)
    -> usize;
    /// Writes as many headers as there are.
    pub(crate) fn envoy_dynamic_module_callback_http_get_headers(
        filter: EnvoyFilter,
        map: u32,
        headers: *mut EnvoyHeader,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_get_header(
        filter: EnvoyFilter,
        map: u32,
        name: ModuleBuffer<'_>,
        value: *mut EnvoyBuffer,
        index: usize,
        count: *mut usize,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_add_header(
        filter: EnvoyFilter,
        map: u32,
        name: ModuleBuffer<'_>,
        value: ModuleBuffer<'_>,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_set_header(
        filter: EnvoyFilter,
        map: u32,
        name: ModuleBuffer<'_>,
        value: ModuleBuffer<'_>,
    ) -> bool;

    pub(crate) fn envoy_dynamic_module_callback_http_get_body_size(filter: EnvoyFilter, body: u32) -> usize;
    pub(crate) fn envoy_dynamic_module_callback_http_get_body_chunks_size(
        filter: EnvoyFilter,
        body: u32,
    ) -> usize;
    /// Writes as many chunks as there are.
    pub(crate) fn envoy_dynamic_module_callback_http_get_body_chunks(
        filter: EnvoyFilter,
        body: u32,
        chunks: *mut EnvoyBuffer,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_append_body(
        filter: EnvoyFilter,
        body: u32,
        bytes: ModuleBuffer<'_>,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_drain_body(
        filter: EnvoyFilter,
        body: u32,
        size: usize,
    ) -> bool;

    pub(crate) fn envoy_dynamic_module_callback_http_send_response(
        filter: EnvoyFilter,
        status: u32,
        headers: *const ModuleHeader<'_>,
        headers_len: usize,
        body: ModuleBuffer<'_>,
        details: ModuleBuffer<'_>,
    );
    pub(crate) fn envoy_dynamic_module_callback_http_filter_reset_stream(
        filter: EnvoyFilter,
        reason: u32,
        details: ModuleBuffer<'_>,
    );

    pub(crate) fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        filter: EnvoyFilter,
        attribute: u32,
        value: *mut EnvoyBuffer,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_get_attribute_int(
        filter: EnvoyFilter,
        attribute: u32,
        value: *mut u64,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
        filter: EnvoyFilter,
        name: ModuleBuffer<'_>,
        value: ModuleBuffer<'_>,
    ) -> bool;
}
