//! What every gate's Envoy bounds and switches off, whoever configures it: `local` in its bootstrap, Istio and Envoy Gateway by what
//! [`crate::providers`] makes. docs/reference/gateway-bounds.md has the table, and a test in tests/cluster compares it with what the proxies run.

/// How long a client may take for its TLS handshake.
pub(crate) const HANDSHAKE: &str = "10s";
/// A request that does not arrive whole in this time does not hold memory any longer.
pub(crate) const REQUEST: &str = "60s";
/// How long a request may be without a byte in either direction, such as one that the backend does not answer.
pub(crate) const STREAM_IDLE: &str = "300s";
/// How long a connection may be without a request.
pub(crate) const IDLE: &str = "3600s";
/// Requests at a time on one connection.
pub(crate) const STREAMS: u32 = 1000;
/// How much a connection may buffer before its peer is asked to wait, in bytes. The filter drains what arrives, so
/// this bounds what a slow backend costs, not what a client may send.
pub(crate) const BUFFER: u32 = 1 << 20;
/// HTTP/2's window of a connection, in bytes; that of a stream is `BUFFER`.
pub(crate) const CONNECTION_WINDOW: u32 = 16 * BUFFER;
/// Connections of clients at a time, of one proxy.
pub(crate) const CONNECTIONS: u32 = 50_000;
/// A request's headers, in KiB. The filter refuses what is above `limits.headers` with a message; this is for what never gets to it.
pub(crate) const HEADERS_KIB: u32 = 32;
/// What the circuit breaker lets to the backend at a time, of requests and connections, waiting ones and retries alike. It counts all
/// clients and workers together, so that one client could take what another needs. It may never come before the filter's own bound,
/// which is by client: each request that waits for the backend takes 16 KiB at least of what a worker may hold, so that a worker has
/// 8192 of them by default, and this is 128 such workers.
pub(crate) const BREAKER: u32 = 1 << 20;
