//! The clients that a worker has seen: by connection, and by what trusted hops forward.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::client::{Client, Peer};
use crate::clock_cache::ClockCache;

/// The most connections that are cached. Beyond it the cache is emptied, and each connection is looked up again with
/// its next request.
pub(super) const MAX_CONNECTIONS: usize = 10_000;
/// The most memory that cached connections take, in bytes.
const MAX_CONNECTIONS_SIZE: usize = 16 << 20;
/// The most memory that cached clients of trusted hops take, in bytes: about ten thousand clients.
const MAX_FORWARDED_SIZE: usize = 4 << 20;

/// Clients that one policy has identified.
#[derive(Debug)]
pub(super) struct ClientCache {
    /// By the proxy's connection id.
    connections: RefCell<BTreeMap<u64, Peer>>,
    /// In bytes.
    connections_size: Cell<usize>,
    /// By the element of `x-forwarded-client-cert` that a trusted hop forwards.
    forwarded: RefCell<ClockCache<Rc<Client>>>,
}

impl Default for ClientCache {
    fn default() -> Self {
        ClientCache {
            connections: RefCell::default(),
            connections_size: Cell::default(),
            forwarded: RefCell::new(ClockCache::new(MAX_FORWARDED_SIZE)),
        }
    }
}

impl ClientCache {
    pub(super) fn connection(&self, id: u64) -> Option<Peer> {
        self.connections.borrow().get(&id).cloned()
    }

    pub(super) fn insert_connection(&self, id: u64, peer: &Peer) {
        let mut connections = self.connections.borrow_mut();
        let size = self.connections_size.get() + peer.size();
        let full = connections.len() >= MAX_CONNECTIONS || size > MAX_CONNECTIONS_SIZE;
        if full {
            connections.clear();
        }
        self.connections_size.set(if full { peer.size() } else { size });
        connections.insert(id, peer.clone());
    }

    pub(super) fn forwarded(&self, element: &str) -> Option<Rc<Client>> {
        self.forwarded.borrow_mut().get(element).cloned()
    }

    /// Caches the client of an element that comes for the second time.
    pub(super) fn insert_forwarded(&self, element: &str, client: &Rc<Client>) {
        self.forwarded.borrow_mut().insert_if_seen(element, Rc::clone(client), client.size());
    }
}
