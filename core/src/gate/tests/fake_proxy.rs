//! A proxy for the tests: it keeps what the gate asks of it, and answers as Envoy does.

use super::*;
use crate::identity::Signature;
use crate::identity::test_authorities::verified;

/// A local response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalResponse {
    pub(super) http_status: u32,
    pub(super) grpc_status: Option<u32>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What all workers and streams share, and the stream whose callback runs.
#[derive(Default)]
pub(super) struct State {
    pub(super) now: Cell<Timestamp>,
    pub(super) configuration: RefCell<Vec<u8>>,
    pub(super) properties: RefCell<BTreeMap<&'static str, Vec<u8>>>,
    /// How often properties were read.
    pub(super) reads: RefCell<BTreeMap<String, usize>>,
    pub(super) request_headers: RefCell<Fields>,
    pub(super) response_headers: RefCell<Fields>,
    pub(super) response_trailers: RefCell<Fields>,
    /// The part of the request's body that the proxy holds.
    pub(super) request_body: RefCell<Vec<u8>>,
    pub(super) response_body: RefCell<Vec<u8>>,
    /// The lengths of the pieces that the gate wrote to the request's body.
    pub(super) written: RefCell<Vec<usize>>,
    pub(super) rejects_body: Cell<bool>,
    /// How many signatures were verified.
    pub(super) verified: Cell<usize>,
    pub(super) local_response: RefCell<Option<LocalResponse>>,
    pub(super) logged: RefCell<Vec<String>>,
    /// Names and values by id.
    metrics: RefCell<Vec<(String, u64)>>,
    shared: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    pub(super) shared_fails: Cell<bool>,
    pub(super) tick: Cell<Nanos>,
    /// The clusters and bodies of calls; their numbers are their places.
    pub(super) calls: RefCell<Vec<(String, Vec<u8>)>>,
    pub(super) calls_fail: Cell<bool>,
    /// What came back.
    pub(super) answer: RefCell<Vec<u8>>,
    pub(super) environment: RefCell<BTreeMap<&'static str, String>>,
}

#[derive(Clone, Default)]
pub(super) struct FakeProxy(Rc<State>);

impl core::ops::Deref for FakeProxy {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl FakeProxy {
    pub(super) fn set(&self, property: &'static str, value: &[u8]) {
        self.properties.borrow_mut().insert(property, value.to_vec());
    }

    pub(super) fn take_response(&self) -> Option<LocalResponse> {
        self.local_response.borrow_mut().take()
    }

    /// The value of a counter or gauge; 0 if it was not defined.
    pub(super) fn metric(&self, name: &str) -> u64 {
        self.metrics.borrow().iter().find(|(of, _)| of == name).map_or(0, |(_, value)| *value)
    }

    /// The counters with requests by result, and their values.
    pub(super) fn results(&self) -> BTreeMap<String, u64> {
        let result = |name: &str| Some(name.split_once("result=.=")?.1.split_once(";.;")?.0.to_owned());
        let metrics = self.metrics.borrow();
        metrics.iter().filter_map(|(name, value)| Some((result(name)?, *value))).collect()
    }

    fn fields(&self, map: HeaderMap) -> &RefCell<Fields> {
        match map {
            HeaderMap::Request => &self.request_headers,
            HeaderMap::Response => &self.response_headers,
            HeaderMap::ResponseTrailers => &self.response_trailers,
        }
    }

    fn define(&self, series: &Series<'_>, gauge: bool) -> Option<u32> {
        let tags: Vec<&str> = series.tags().map(|(tag, _)| tag).collect();
        let fits = |it: &Definition| it.name == series.name && it.gauge == gauge && it.tags == tags;
        let is_engines = series.name.starts_with("otlp_gate_quota_engine_")
            || ["otlp_gate_quota_reports_total", "otlp_gate_quota_over_burst_total"].contains(&series.name);
        assert!(is_engines || definitions().any(|it| fits(&it)), "{series} is not among the definitions");
        let name = series.to_string();
        let mut metrics = self.metrics.borrow_mut();
        let id = metrics.iter().position(|(of, _)| *of == name).unwrap_or_else(|| {
            metrics.push((name.clone(), 0));
            metrics.len() - 1
        });
        Some(id as u32)
    }
}

impl Host for FakeProxy {
    fn now(&self) -> Timestamp {
        self.now.get()
    }

    fn warn(&self, message: &str) {
        self.logged.borrow_mut().push(message.to_owned());
    }

    fn plugin_configuration(&self) -> Vec<u8> {
        self.configuration.borrow().clone()
    }

    fn property(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = String::from_utf8(path.to_vec()).unwrap().replace('\0', ".");
        let value = self.properties.borrow().get(path.as_str()).cloned();
        *self.reads.borrow_mut().entry(path).or_default() += 1;
        value
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        let names = ["otlp_gate.client", "otlp_gate.result", "otlp_gate.reason"];
        let name = names.into_iter().find(|name| name.as_bytes() == path);
        self.set(name.unwrap(), value);
    }

    fn request_headers<T>(&self, read: impl FnOnce(&Headers) -> T) -> T {
        let fields = self.request_headers.borrow().clone();
        read(&fields.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>())
    }

    fn header(&self, map: HeaderMap, name: &str) -> Option<Vec<u8>> {
        let fields = self.fields(map).borrow();
        fields.iter().find(|(of, _)| of == name.as_bytes()).map(|(_, value)| value.clone())
    }

    fn remove_header(&self, map: HeaderMap, name: &[u8]) {
        self.fields(map).borrow_mut().retain(|(of, _)| of != name);
    }

    fn add_header(&self, map: HeaderMap, name: &str, value: &str) {
        self.fields(map).borrow_mut().push((name.into(), value.into()));
    }

    fn set_header(&self, map: HeaderMap, name: &str, value: &str) {
        self.remove_header(map, name.as_bytes());
        self.add_header(map, name, value);
    }

    fn read_request_body(&self, size: usize, body: &mut Vec<u8>) {
        let (held, room) = (self.request_body.borrow(), body.capacity() - body.len());
        assert!(size == held.len() && room >= size, "{size} bytes of {}, room for {room}", held.len());
        body.extend_from_slice(&held);
    }

    fn replace_request_body(&self, bytes: &[u8]) -> bool {
        if self.rejects_body.get() {
            return false;
        }
        self.request_body.borrow_mut().clear();
        self.append_to_request_body(bytes)
    }

    fn append_to_request_body(&self, bytes: &[u8]) -> bool {
        self.request_body.borrow_mut().extend_from_slice(bytes);
        self.written.borrow_mut().push(bytes.len());
        true
    }

    fn replace_response_body(&self, bytes: &[u8]) {
        *self.response_body.borrow_mut() = bytes.to_vec();
    }

    fn respond(&self, http_status: u32, headers: &[(&str, &str)], body: &[u8], grpc_status: Option<u32>) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let response = LocalResponse { http_status, grpc_status, headers, body: body.to_vec() };
        let before = self.local_response.borrow_mut().replace(response);
        assert_eq!(before, None, "a stream has one response");
    }

    fn verify_signature(&self, signature: &Signature<'_>) -> bool {
        self.verified.set(self.verified.get() + 1);
        verified(signature)
    }

    fn set_tick(&self, interval: Nanos) {
        self.tick.set(interval);
    }

    fn call(&self, cluster: &str, body: &[u8], _timeout: Nanos) -> Option<u32> {
        let mut calls = self.calls.borrow_mut();
        calls.push((cluster.to_owned(), body.to_vec()));
        (!self.calls_fail.get()).then_some(calls.len() as u32 - 1)
    }

    fn answer(&self, size: usize) -> Vec<u8> {
        let answer = self.answer.borrow();
        answer[..size.min(answer.len())].to_vec()
    }

    fn environment(&self, name: &str) -> Option<String> {
        self.environment.borrow().get(name).cloned()
    }

    fn define_counter(&self, series: &Series<'_>) -> Option<u32> {
        self.define(series, false)
    }

    fn define_gauge(&self, series: &Series<'_>) -> Option<u32> {
        self.define(series, true)
    }

    fn increment(&self, counter: u32, by: u64) {
        self.metrics.borrow_mut()[counter as usize].1 += by;
    }

    fn record(&self, gauge: u32, value: u64) {
        self.metrics.borrow_mut()[gauge as usize].1 = value;
    }
}

impl Store for FakeProxy {
    fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        if self.shared_fails.get() {
            return Err(StoreFailed);
        }
        Ok(self.shared.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
        let mut shared = self.shared.borrow_mut();
        if shared.get(key).is_some_and(|(_, current)| *current != version) {
            return Ok(false);
        }
        // One counter numbers the versions of all keys.
        let next = shared.values().map(|(_, version)| *version).max().unwrap_or_default() + 1;
        shared.insert(key.to_owned(), (value.to_vec(), next));
        Ok(true)
    }
}

/// A gateway: the proxy, one worker, and a plugin with a policy.
pub(super) struct Gateway {
    pub(super) proxy: FakeProxy,
    pub(super) worker: &'static Worker<FakeProxy>,
    pub(super) plugin: Plugin<'static, FakeProxy>,
}

pub(super) type TestStream = Stream<'static, FakeProxy>;

impl Gateway {
    /// A gateway with this policy, whose current connection is `acme`'s.
    pub(super) fn new(policy: &str) -> Self {
        let proxy = FakeProxy::default();
        proxy.now.set(Timestamp::from_secs(2_000_000_000));
        proxy.set("plugin_root_id", b"otlp-gate");
        let worker: &Worker<FakeProxy> = Box::leak(Box::new(Worker::new(proxy.clone())));
        let mut gateway = Gateway { proxy, worker, plugin: Plugin::new(worker, 1) };
        gateway.configure(policy);
        gateway.connect(1);
        gateway
    }

    /// Configures the plugin with another policy.
    pub(super) fn configure(&mut self, policy: &str) {
        *self.proxy.configuration.borrow_mut() = policy.into();
        self.plugin.configure();
    }

    /// A connection with this id, of the client whose certificate is in testdata.
    pub(super) fn connect(&self, id: u64) {
        let (fingerprint, _) = connection();
        self.proxy.set("connection.id", &id.to_le_bytes());
        let sha256 = Fingerprint(fingerprint).hex();
        self.proxy.set("connection.sha256_peer_certificate_digest", sha256.as_bytes());
    }

    /// Begins a stream of the current connection: its headers, with the certificate as Envoy adds it.
    pub(super) fn begin(&self, headers: &[(&str, &str)], end_of_stream: bool) -> (TestStream, Action) {
        let (_, certificate) = connection();
        let headers = [headers, &[("x-forwarded-client-cert", &certificate)]].concat();
        self.begin_without_certificate(&headers, end_of_stream)
    }

    pub(super) fn begin_without_certificate(
        &self,
        headers: &[(&str, &str)],
        end_of_stream: bool,
    ) -> (TestStream, Action) {
        let mut stream = self.plugin.stream(7);
        let action = self.headers(&mut stream, headers, end_of_stream);
        (stream, action)
    }

    pub(super) fn headers(
        &self,
        stream: &mut TestStream,
        headers: &[(&str, &str)],
        end_of_stream: bool,
    ) -> Action {
        self.proxy.take_response();
        *self.proxy.request_headers.borrow_mut() = fields(headers);
        self.proxy.response_headers.borrow_mut().clear();
        self.proxy.response_trailers.borrow_mut().clear();
        self.proxy.request_body.borrow_mut().clear();
        stream.on_request_headers(end_of_stream)
    }

    /// A piece of the request's body comes.
    pub(super) fn body(&self, stream: &mut TestStream, piece: &[u8], end_of_stream: bool) -> Action {
        *self.proxy.request_body.borrow_mut() = piece.to_vec();
        stream.on_request_body(piece.len(), end_of_stream)
    }

    /// Sends a request with this body; gives its stream, which has been forwarded.
    pub(super) fn forward(&self, headers: &[(&str, &str)], body: &[u8]) -> TestStream {
        let (mut stream, action) = self.begin(headers, false);
        assert_eq!((action, self.proxy.take_response()), (Action::Continue, None));
        let action = self.body(&mut stream, body, true);
        assert_eq!((action, self.proxy.take_response()), (Action::Continue, None));
        stream
    }

    /// Responds to a forwarded request: headers, trailers where there are any, and where the response comes from.
    pub(super) fn respond(
        &self,
        stream: &mut TestStream,
        headers: &[(&str, &str)],
        trailers: &[(&str, &str)],
        details: &str,
    ) {
        self.proxy.set("response.code_details", details.as_bytes());
        *self.proxy.response_headers.borrow_mut() = fields(headers);
        assert_eq!(stream.on_response_headers(trailers.is_empty()), Action::Continue);
        if !trailers.is_empty() {
            *self.proxy.response_trailers.borrow_mut() = fields(trailers);
            assert_eq!(stream.on_response_trailers(), Action::Continue);
        }
    }
}

fn fields(headers: &[(&str, &str)]) -> Fields {
    headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}
