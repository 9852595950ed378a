//! Limits of every gate's Envoy, the same for `local` (in its bootstrap) and for both providers (in the objects that
//! [`crate::providers`] makes). docs/reference/gateway-bounds.md has the table, and a test in tests/cluster compares it
//! with what the proxies run.

/// Timeout of a TLS handshake.
pub(crate) const HANDSHAKE: &str = "10s";
/// How long a request may take to arrive completely. It frees the memory of slow requests.
pub(crate) const REQUEST: &str = "60s";
/// How long a stream may be without a byte in either direction, for example while the backend does not respond.
pub(crate) const STREAM_IDLE: &str = "300s";
/// How long a connection may have no request.
pub(crate) const IDLE: &str = "3600s";
/// Concurrent requests of one connection.
pub(crate) const STREAMS: u32 = 1000;
/// Bytes that a connection may buffer before flow control stops its peer. The filter drains request bodies as they
/// arrive, so this limits the memory that a slow backend costs, not the size of a request.
pub(crate) const BUFFER: u32 = 1 << 20;
/// HTTP/2 flow-control window of a connection, in bytes. The window of a stream is `BUFFER`.
pub(crate) const CONNECTION_WINDOW: u32 = 16 * BUFFER;
/// Concurrent client connections of one proxy.
pub(crate) const CONNECTIONS: u32 = 50_000;
/// Size of a request's headers, in KiB. The filter rejects headers above `limits.headers` with a message; this is for
/// requests that never reach the filter.
pub(crate) const HEADERS_KIB: u32 = 32;
/// Circuit breaker towards the backend: concurrent requests, connections, pending requests and retries, each. It counts
/// all clients and workers together, so one client could use up what another needs. Therefore it must never trip before
/// the filter's own limit, which is per client: each request that waits for the backend takes at least 16 KiB of a
/// worker's memory limit, so a worker has at most 8192 of them by default, and this value is enough for 128 such
/// workers.
pub(crate) const BREAKER: u32 = 1 << 20;
