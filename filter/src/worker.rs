//! What lives as long as a worker's VM: the gates with their policies, the memory in use, the counters.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use otlp_gate_core::clock_cache::ClockCache;
use otlp_gate_core::gate::{
    Client, Gate, Headers, Hop, Memory, Metric, POLICY_REVISION, Peer, Used, metric_name,
};
use otlp_gate_core::identity::Identity;
use otlp_gate_core::quota::CachedStore;
use otlp_gate_core::response::Reason;
use otlp_gate_wire::otlp::Signal;

use crate::host::{self, SharedData};

/// How many connections are remembered; beyond it they are all looked up anew.
const MOST_CONNECTIONS: usize = 10_000;
/// How much is remembered of connections, in bytes.
const MOST_OF_CONNECTIONS: usize = 16 << 20;
/// How much is remembered of hops' clients, in bytes: some ten thousand of them.
const MOST_FORWARDED: usize = 4 << 20;

thread_local! {
    static WORKER: Worker = Worker::default();
}

#[derive(Default)]
struct Worker {
    /// The last good one by the plugin's name: two gateways may share a VM.
    gates: RefCell<BTreeMap<Vec<u8>, Rc<Loaded>>>,
    /// The plugins with a good policy, and its revision; the one that was configured last is the last.
    revisions: RefCell<Vec<(u32, u64)>>,
    memory: Memory,
    store: Rc<CachedStore<SharedData>>,
    counters: RefCell<BTreeMap<String, Option<u32>>>,
    /// Those of all clients that metrics do not name.
    others: Rc<Counters>,
    /// How much is spent of the quota of all clients together.
    total_used: OnceCell<Option<u32>>,
}

/// A gate, and who is behind the connections that it has seen.
pub(crate) struct Loaded {
    pub(crate) gate: Rc<Gate>,
    connections: RefCell<BTreeMap<u64, Connected>>,
    /// How much they take, in bytes.
    connections_size: Cell<usize>,
    /// The clients of hops, by what these say of them.
    forwarded: RefCell<ClockCache<Known>>,
}

/// What is at the other end of a connection.
#[derive(Clone)]
enum Connected {
    /// A client.
    By(Known),
    /// A hop.
    Through(Hop),
}

impl Connected {
    /// What it takes, in bytes.
    fn size(&self) -> usize {
        match self {
            Connected::By(known) => known.size(),
            Connected::Through(_) => size_of::<Self>(),
        }
    }
}

/// A client, and what metrics show of it.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) client: Rc<Client>,
    counters: Rc<Counters>,
}

#[derive(Default)]
struct Counters {
    /// What every accepted request adds to.
    accepted: [Cell<Option<Accepted>>; Signal::ALL.len()],
    used: OnceCell<Option<u32>>,
}

#[derive(Clone, Copy)]
struct Accepted {
    requests: Option<u32>,
    items: Option<u32>,
    bytes: Option<u32>,
}

/// The gate of a plugin, of its policy; where that is bad, of the last good one of that name.
pub(crate) fn configure(plugin: u32, name: &[u8], configuration: &[u8]) -> Option<Rc<Loaded>> {
    WORKER.with(|worker| match Gate::load(configuration) {
        Ok(gate) => {
            host::show(POLICY_REVISION, gate.revision());
            worker.revisions.borrow_mut().push((plugin, gate.revision()));
            let loaded = Loaded {
                gate: Rc::new(gate),
                connections: RefCell::default(),
                connections_size: Cell::default(),
                forwarded: RefCell::new(ClockCache::new(MOST_FORWARDED)),
            };
            let loaded = Rc::new(loaded);
            worker.gates.borrow_mut().insert(name.to_vec(), Rc::clone(&loaded));
            Some(loaded)
        }
        Err(mistakes) => {
            count(Metric::PolicyRejected, None, None, None, 1);
            let last = worker.gates.borrow().get(name).cloned();
            let kept = if last.is_some() { "the last good one stays" } else { "nobody is let in" };
            host::warn(&format!("otlp-gate: {mistakes}; {kept}"));
            last
        }
    })
}

/// Ends a plugin. Where it was the last one configured, the policy of the one before came back.
pub(crate) fn forget(plugin: u32) {
    WORKER.with(|worker| {
        let mut revisions = worker.revisions.borrow_mut();
        let before = revisions.last().copied();
        revisions.retain(|(id, _)| *id != plugin);
        if let Some((_, revision)) = revisions.last().copied().filter(|last| Some(*last) != before) {
            host::show(POLICY_REVISION, revision);
        }
    });
}

/// What this worker's requests hold.
pub(crate) fn memory() -> Memory {
    WORKER.with(|worker| worker.memory.clone())
}

/// The store that all workers share.
pub(crate) fn store() -> Rc<CachedStore<SharedData>> {
    WORKER.with(|worker| Rc::clone(&worker.store))
}

/// Adds to a counter.
pub(crate) fn count(
    metric: Metric,
    client: Option<&Client>,
    signal: Option<Signal>,
    result: Option<&str>,
    by: u64,
) {
    if by == 0 {
        return;
    }
    if let Some(counter) = counter(metric, client, signal, result) {
        host::increment(counter, by);
    }
}

/// The number of a counter, which the proxy is asked for once.
fn counter(
    metric: Metric,
    client: Option<&Client>,
    signal: Option<Signal>,
    result: Option<&str>,
) -> Option<u32> {
    let name = metric_name(metric, client, signal, result);
    WORKER.with(|worker| {
        let mut counters = worker.counters.borrow_mut();
        match counters.get(&name) {
            Some(counter) => *counter,
            None => {
                let counter = host::define_counter(&name);
                counters.insert(name, counter);
                counter
            }
        }
    })
}

impl Known {
    /// What it takes, in bytes.
    fn size(&self) -> usize {
        self.client.size() + size_of::<Counters>()
    }

    fn new(client: Client) -> Self {
        let counters = match client.listed {
            true => Rc::default(),
            false => WORKER.with(|worker| Rc::clone(&worker.others)),
        };
        Known { client: Rc::new(client), counters }
    }

    /// Shows how much of the quotas is spent; of its own, if metrics name it.
    pub(crate) fn used(&self, used: Used) {
        show_used(used.own.filter(|_| self.client.listed), &self.counters.used, Some(&self.client));
        WORKER.with(|worker| show_used(used.total, &worker.total_used, None));
    }

    /// Counts a request that the backend took.
    pub(crate) fn accepted(&self, signal: Signal, items: u64, bytes: u64) {
        let Some(slot) = self.counters.accepted.get(signal as usize) else { return };
        let counters = slot.get().unwrap_or_else(|| {
            let of = |metric, result| counter(metric, Some(&self.client), Some(signal), result);
            let counters = Accepted {
                requests: of(Metric::Requests, Some("accepted")),
                items: of(Metric::Items, None),
                bytes: of(Metric::Bytes, None),
            };
            slot.set(Some(counters));
            counters
        });
        for (counter, by) in [(counters.requests, 1), (counters.items, items), (counters.bytes, bytes)] {
            if let Some(counter) = counter {
                host::increment(counter, by);
            }
        }
    }
}

fn show_used(used: Option<u64>, gauge: &OnceCell<Option<u32>>, client: Option<&Client>) {
    let Some(used) = used else { return };
    let define = || host::define_gauge(&metric_name(Metric::QuotaUsed, client, None, None));
    if let Some(gauge) = gauge.get_or_init(define) {
        host::record(*gauge, used);
    }
}

impl Loaded {
    /// The client of the current request. A connection's certificate never changes, so it is looked up once; what a hop says of
    /// its clients does.
    pub(crate) fn client(&self, headers: &Headers) -> Result<Known, Reason> {
        let connection =
            host::property(b"connection\0id").and_then(|id| Some(u64::from_le_bytes(id.try_into().ok()?)));
        let seen = connection.and_then(|id| self.connections.borrow().get(&id).cloned());
        let peer = match seen {
            Some(peer) => peer,
            None => {
                let peer = match self.gate.peer(identity(), headers)? {
                    Peer::Client(client) => Connected::By(Known::new(client)),
                    Peer::Hop(hop) => Connected::Through(hop),
                };
                if let Some(id) = connection {
                    let mut connections = self.connections.borrow_mut();
                    let size = self.connections_size.get() + peer.size();
                    let full = connections.len() >= MOST_CONNECTIONS || size > MOST_OF_CONNECTIONS;
                    if full {
                        connections.clear();
                    }
                    self.connections_size.set(if full { peer.size() } else { size });
                    connections.insert(id, peer.clone());
                }
                peer
            }
        };
        match peer {
            Connected::By(client) => Ok(client),
            Connected::Through(hop) => self.forwarded(&self.gate.forwarded(headers, &hop, host::now())?),
        }
    }

    /// The client that a hop says this of.
    fn forwarded(&self, said: &str) -> Result<Known, Reason> {
        if let Some(known) = self.forwarded.borrow_mut().get(said) {
            return Ok(known.clone());
        }
        let known = Known::new(self.gate.forwarded_client(said)?);
        let size = known.size();
        self.forwarded.borrow_mut().insert_if_back(said, known.clone(), size);
        Ok(known)
    }
}

/// What the proxy says of the client's certificate, which it has validated.
fn identity() -> Identity {
    let uri = host::property(b"connection\0uri_san_peer_certificate");
    let dns = host::property(b"connection\0dns_san_peer_certificate");
    let subject = host::property(b"connection\0subject_peer_certificate");
    let sha256 = host::property(b"connection\0sha256_peer_certificate_digest");
    Identity::from_parts(uri.as_deref(), dns.as_deref(), subject.as_deref(), sha256.as_deref())
}
