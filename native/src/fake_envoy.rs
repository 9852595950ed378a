//! An Envoy for the tests: the calls that the module makes, answered from what a test sets on its thread.

use core::slice;
use std::cell::RefCell;
use std::collections::BTreeMap;

use otlp_gate_core::gate::{Definition, definitions};

use crate::abi::{self, EnvoyBuffer, EnvoyConfig, EnvoyFilter, EnvoyHeader, ModuleBuffer, ModuleHeader};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A local response.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u32,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// The stream and the metrics of a thread.
#[derive(Default)]
pub(crate) struct Envoy {
    pub(crate) request_headers: Fields,
    pub(crate) response_headers: Fields,
    /// The current piece of the request's body, in chunks.
    pub(crate) body: Vec<Vec<u8>>,
    pub(crate) connection: u64,
    pub(crate) fingerprint: String,
    pub(crate) response: Option<Response>,
    pub(crate) is_reset: bool,
    pub(crate) filter_state: BTreeMap<String, String>,
    pub(crate) log: Vec<String>,
    /// By name and values of the labels.
    pub(crate) metrics: BTreeMap<(String, Vec<String>), u64>,
}

thread_local! {
    static ENVOY: RefCell<Envoy> = RefCell::default();
}

/// The Envoy of this thread.
pub(crate) fn envoy<T>(call: impl FnOnce(&mut Envoy) -> T) -> T {
    ENVOY.with_borrow_mut(call)
}

impl Envoy {
    /// The value of a metric, if it is there.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<u64> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.metrics.get(&(name.to_owned(), labels)).copied()
    }

    fn fields(&mut self, map: u32) -> &mut Fields {
        match map {
            abi::REQUEST_HEADERS => &mut self.request_headers,
            abi::RESPONSE_HEADERS => &mut self.response_headers,
            _ => panic!("header map {map}"),
        }
    }

    /// The value of a metric; Envoy finds none if the number of labels is another.
    fn value(&mut self, id: usize, values: Vec<String>, gauge: bool) -> &mut u64 {
        let definition = definitions().nth(id).unwrap();
        assert_eq!((definition.tags.len(), definition.gauge), (values.len(), gauge), "{definition:?}");
        self.metrics.entry((definition.name.to_owned(), values)).or_default()
    }
}

impl ModuleBuffer<'_> {
    fn bytes(self) -> Vec<u8> {
        let (ptr, len): (*const u8, usize) = self.parts();
        // SAFETY: they are those of a slice of the module.
        if ptr.is_null() { Vec::new() } else { unsafe { slice::from_raw_parts(ptr, len) }.to_vec() }
    }

    fn text(self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

fn texts(values: *const ModuleBuffer<'_>, len: usize) -> Vec<String> {
    // SAFETY: the module passes a slice of this length.
    let values = if len == 0 { &[] } else { unsafe { slice::from_raw_parts(values, len) } };
    values.iter().map(|value| value.text()).collect()
}

/// Writes a result.
fn put<T>(place: *mut T, value: T) {
    // SAFETY: the module passes a place of this type.
    unsafe { place.write(value) };
}

// SAFETY (of every `no_mangle` below): in the tests nothing else has these names.

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_log(_level: u32, message: ModuleBuffer<'_>) {
    envoy(|envoy| envoy.log.push(message.text()));
}

macro_rules! defines {
    ($name:ident, $gauge:literal) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name(
            _config: EnvoyConfig,
            name: ModuleBuffer<'_>,
            labels: *const ModuleBuffer<'_>,
            labels_len: usize,
            id: *mut usize,
        ) -> u32 {
            let (name, labels) = (name.text(), texts(labels, labels_len));
            let same = |it: &Definition| it.name == name && it.tags == labels && it.gauge == $gauge;
            put(id, definitions().position(|it| same(&it)).unwrap());
            abi::METRIC_OK
        }
    };
}

defines!(envoy_dynamic_module_callback_http_filter_config_define_counter, false);
defines!(envoy_dynamic_module_callback_http_filter_config_define_gauge, true);

macro_rules! changes {
    ($name:ident, $gauge:literal, $change:expr) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name(
            _object: EnvoyConfig,
            id: usize,
            values: *const ModuleBuffer<'_>,
            values_len: usize,
            by: u64,
        ) -> u32 {
            let change: fn(&mut u64, u64) = $change;
            envoy(|envoy| change(envoy.value(id, texts(values, values_len), $gauge), by));
            abi::METRIC_OK
        }
    };
}

changes!(envoy_dynamic_module_callback_http_filter_config_increment_counter, false, |value, by| *value += by);
changes!(envoy_dynamic_module_callback_http_filter_config_increment_gauge, true, |value, by| *value += by);
changes!(envoy_dynamic_module_callback_http_filter_config_set_gauge, true, |value, new| *value = new);
changes!(envoy_dynamic_module_callback_http_filter_increment_counter, false, |value, by| *value += by);
changes!(envoy_dynamic_module_callback_http_filter_set_gauge, true, |value, new| *value = new);

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers_size(_filter: EnvoyFilter, map: u32) -> usize {
    envoy(|envoy| envoy.fields(map).len())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers(
    _filter: EnvoyFilter,
    map: u32,
    headers: *mut EnvoyHeader,
) -> bool {
    envoy(|envoy| {
        for (place, (name, value)) in envoy.fields(map).iter().enumerate() {
            let header = EnvoyHeader { name: EnvoyBuffer::of(name), value: EnvoyBuffer::of(value) };
            // SAFETY: the module passes room for as many headers as there are.
            unsafe { headers.add(place).write(header) };
        }
    });
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_header(
    _filter: EnvoyFilter,
    map: u32,
    name: ModuleBuffer<'_>,
    value: *mut EnvoyBuffer,
    index: usize,
    count: *mut usize,
) -> bool {
    envoy(|envoy| {
        let name = name.bytes();
        let found: Vec<&Vec<u8>> =
            envoy.fields(map).iter().filter(|(of, _)| *of == name).map(|(_, value)| value).collect();
        put(count, found.len());
        put(value, found.get(index).map_or(EnvoyBuffer::NULL, |value| EnvoyBuffer::of(value)));
        found.len() > index
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_add_header(
    _filter: EnvoyFilter,
    map: u32,
    name: ModuleBuffer<'_>,
    value: ModuleBuffer<'_>,
) -> bool {
    envoy(|envoy| envoy.fields(map).push((name.bytes(), value.bytes())));
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_header(
    _filter: EnvoyFilter,
    map: u32,
    name: ModuleBuffer<'_>,
    value: ModuleBuffer<'_>,
) -> bool {
    envoy(|envoy| {
        // The module's name may be one of the bytes that this frees.
        let name = name.bytes();
        let fields = envoy.fields(map);
        fields.retain(|(of, _)| *of != name);
        if !value.parts().0.is_null() {
            fields.push((name, value.bytes()));
        }
    });
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_size(_filter: EnvoyFilter, _body: u32) -> usize {
    envoy(|envoy| envoy.body.iter().map(Vec::len).sum())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_chunks_size(
    _filter: EnvoyFilter,
    _body: u32,
) -> usize {
    envoy(|envoy| envoy.body.len())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_chunks(
    _filter: EnvoyFilter,
    _body: u32,
    chunks: *mut EnvoyBuffer,
) -> bool {
    envoy(|envoy| {
        for (place, chunk) in envoy.body.iter().enumerate() {
            // SAFETY: the module passes room for as many chunks as there are.
            unsafe { chunks.add(place).write(EnvoyBuffer::of(chunk)) };
        }
    });
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_append_body(
    _filter: EnvoyFilter,
    _body: u32,
    bytes: ModuleBuffer<'_>,
) -> bool {
    envoy(|envoy| envoy.body.push(bytes.bytes()));
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_drain_body(
    _filter: EnvoyFilter,
    _body: u32,
    size: usize,
) -> bool {
    assert_eq!(size, usize::MAX, "all of it");
    envoy(|envoy| envoy.body.clear());
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_send_response(
    _filter: EnvoyFilter,
    status: u32,
    headers: *const ModuleHeader<'_>,
    headers_len: usize,
    body: ModuleBuffer<'_>,
    _details: ModuleBuffer<'_>,
) {
    // SAFETY: the module passes a slice of this length.
    let headers = if headers_len == 0 { &[] } else { unsafe { slice::from_raw_parts(headers, headers_len) } };
    let headers = headers.iter().map(|header| (header.name.text(), header.value.text())).collect();
    let response = Response { status, headers, body: body.bytes() };
    let before = envoy(|envoy| envoy.response.replace(response));
    assert_eq!(before, None, "a stream has one response");
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_reset_stream(
    _filter: EnvoyFilter,
    _reason: u32,
    _details: ModuleBuffer<'_>,
) {
    envoy(|envoy| envoy.is_reset = true);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
    _filter: EnvoyFilter,
    attribute: u32,
    value: *mut EnvoyBuffer,
) -> bool {
    envoy(|envoy| {
        let found = match attribute {
            abi::SHA256_PEER_CERTIFICATE_DIGEST => EnvoyBuffer::of(envoy.fingerprint.as_bytes()),
            abi::RESPONSE_CODE_DETAILS => EnvoyBuffer::of(b"via_upstream"),
            _ => return false,
        };
        put(value, found);
        true
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_get_attribute_int(
    _filter: EnvoyFilter,
    attribute: u32,
    value: *mut u64,
) -> bool {
    assert_eq!(attribute, abi::CONNECTION_ID);
    put(value, envoy(|envoy| envoy.connection));
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
    _filter: EnvoyFilter,
    name: ModuleBuffer<'_>,
    value: ModuleBuffer<'_>,
) -> bool {
    envoy(|envoy| envoy.filter_state.insert(name.text(), value.text()));
    true
}
