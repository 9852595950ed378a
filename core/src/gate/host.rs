//! The proxy, as the gate calls it.

use super::headers::Headers;
use super::metrics::Series;
use crate::identity::Signature;
use crate::quota::Store;
use crate::time::{Nanos, Timestamp};

/// Which headers or trailers of the current stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderMap {
    /// The request's headers.
    Request,
    /// The response's headers.
    Response,
    /// The response's trailers.
    ResponseTrailers,
}

/// Calls into the proxy. All but the log, the metrics and the shared store are about the stream whose callback runs.
/// What the proxy fails to do is not an error unless a method returns whether it worked.
///
/// The proxy's shared data is the [`Store`].
pub trait Host: Store + Clone {
    /// The time; the epoch if the proxy has no clock.
    fn now(&self) -> Timestamp;

    /// Logs a warning.
    fn warn(&self, message: &str);

    /// The configuration of the plugin that is being configured.
    fn plugin_configuration(&self) -> Vec<u8>;

    /// A property of the stream. The parts of `path` are separated by NUL.
    fn property(&self, path: &[u8]) -> Option<Vec<u8>>;

    /// Sets a property, which the proxy keeps in the stream's filter state.
    fn set_property(&self, path: &[u8], value: &[u8]);

    /// Reads all of the request's headers.
    fn request_headers<T>(&self, read: impl FnOnce(&Headers) -> T) -> T;

    /// The value of a header.
    fn header(&self, map: HeaderMap, name: &str) -> Option<Vec<u8>>;

    /// Removes all values of a header.
    fn remove_header(&self, map: HeaderMap, name: &[u8]);

    /// Adds a value to a header.
    fn add_header(&self, map: HeaderMap, name: &str, value: &str);

    /// Sets a header to one value.
    fn set_header(&self, map: HeaderMap, name: &str, value: &str);

    /// Appends the `size` bytes of the request's body that the proxy holds to `body`, which has room for them.
    fn read_request_body(&self, size: usize, body: &mut Vec<u8>);

    /// Replaces the part of the request's body that the proxy holds; returns whether the proxy did.
    fn replace_request_body(&self, bytes: &[u8]) -> bool;

    /// Appends to the part of the request's body that the proxy holds; returns whether the proxy did.
    fn append_to_request_body(&self, bytes: &[u8]) -> bool;

    /// Replaces the part of the response's body that the proxy holds.
    fn replace_response_body(&self, bytes: &[u8]);

    /// Sends a response in the backend's place. For gRPC, `body` is the message of the status.
    fn respond(&self, http_status: u32, headers: &[(&str, &str)], body: &[u8], grpc_status: Option<u32>);

    /// Whether a signature is valid. One of a kind that the proxy does not verify is not.
    fn verify_signature(&self, signature: &Signature<'_>) -> bool;

    /// Makes the proxy call [`Plugin::on_tick`](super::Plugin::on_tick) of the plugin that is being configured, at this
    /// interval.
    fn set_tick(&self, interval: Nanos);

    /// Sends bytes to a cluster of the proxy, on a connection of their own. Returns the number with which
    /// [`Plugin::on_answer`](super::Plugin::on_answer) is called; `None` if the proxy did not send them.
    fn call(&self, cluster: &str, body: &[u8], timeout: Nanos) -> Option<u32>;

    /// The first `size` bytes of what came back, in [`Plugin::on_answer`](super::Plugin::on_answer).
    fn answer(&self, size: usize) -> Vec<u8>;

    /// A variable of the proxy's environment, if the proxy lets its modules read it.
    fn environment(&self, name: &str) -> Option<String>;

    /// The id of a counter.
    fn define_counter(&self, series: &Series<'_>) -> Option<u32>;

    /// The id of a gauge.
    fn define_gauge(&self, series: &Series<'_>) -> Option<u32>;

    /// Adds to a counter.
    fn increment(&self, counter: u32, by: u64);

    /// Sets a gauge.
    fn record(&self, gauge: u32, value: u64);
}

/// Bytes that no client can predict, for the salt of a shared store. A Wasm module has no random numbers, but a
/// clock in nanoseconds, and how long each call to it takes differs. Besides, there are the first connection's number
/// and port and its request's id, which some proxies choose at random.
pub fn entropy<H: Host>(host: &H) -> Vec<u8> {
    const READINGS: usize = 4096;
    let mut bytes = Vec::with_capacity(8 * READINGS + 256);
    for _ in 0..READINGS {
        bytes.extend(host.now().as_nanos().to_le_bytes());
    }
    bytes.extend((bytes.as_ptr() as usize).to_le_bytes());
    for path in [&b"connection\0id"[..], b"source\0address", b"request\0id", b"request\0time"] {
        bytes.extend(host.property(path).unwrap_or_default());
    }
    bytes
}
