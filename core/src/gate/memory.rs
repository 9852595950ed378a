//! How much memory a worker may hold for requests that have not ended, and how much of it one client may hold.
//!
//! No client has a fixed share: it may hold as much as is left for all others. A client that never ends its requests
//! gets half of the memory, two of them get a third each, and the next client still finds as much as each of them
//! holds.

use core::cell::RefCell;
use std::rc::Rc;

use crate::quota::BucketId;

/// The memory of a request besides its body and headers, in bytes: the proxy's stream, and an open stream to the
/// backend.
const STREAM: u64 = 16 << 10;

/// The memory of a request's headers, as a multiple of their size: as received, as forwarded, and encoded for that.
/// Measured in Envoy 1.40, 60 KiB of headers take 2.1 times as much.
const HEADERS: u64 = 3;

/// The most memory for responses to rejected requests that clients have not read, in bytes.
const MAX_RESPONSES: u64 = 16 << 20;

/// Holds the responses to all unknown clients.
const UNKNOWN_CLIENTS: BucketId = BucketId([0xff; 16]);

/// The memory that all requests of one worker hold.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Bodies that are not complete, in the VM. A VM that runs out of memory ends every plugin in it.
    receiving: Pool,
    /// Messages without a response from the backend. The proxy holds them until the backend reads them.
    forwarded: Pool,
    /// Rejected requests whose responses clients have not read.
    responses: Pool,
}

impl Memory {
    /// The memory that is held, in bytes.
    pub fn held(&self) -> u64 {
        let pools = [&self.receiving, &self.forwarded, &self.responses];
        pools.into_iter().map(|pool| pool.0.borrow().all).sum()
    }

    /// Reserves memory for the response to a rejected request with `headers` bytes of headers, until the client has
    /// read it. `None` where too much is reserved: then the response must not have a body, which could wait for the
    /// client.
    pub(super) fn reserve_response(&self, client: Option<BucketId>, headers: u64) -> Option<Reservation> {
        let mut reservation = Reservation::new(&self.responses, client.unwrap_or(UNKNOWN_CLIENTS), headers);
        reservation.resize(0, MAX_RESPONSES).then_some(reservation)
    }

    /// An empty reservation for a body that the client sends.
    pub(super) fn receiving(&self, client: BucketId, headers: u64) -> Reservation {
        Reservation::new(&self.receiving, client, headers)
    }

    /// An empty reservation for a message of the client that is forwarded.
    pub(super) fn forwarded(&self, client: BucketId, headers: u64) -> Reservation {
        Reservation::new(&self.forwarded, client, headers)
    }
}

#[derive(Debug, Clone, Default)]
struct Pool(Rc<RefCell<Sums>>);

/// In bytes.
#[derive(Debug, Default)]
struct Sums {
    all: u64,
    /// The clients that hold something, sorted by id: at most as many as there is room for streams.
    clients: Vec<(BucketId, u64)>,
}

/// The memory that one request holds, until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    pool: Pool,
    client: BucketId,
    /// The memory besides the body, in bytes.
    fixed: u64,
    bytes: u64,
}

impl Reservation {
    fn new(pool: &Pool, client: BucketId, headers: u64) -> Self {
        let fixed = STREAM.saturating_add(headers.saturating_mul(HEADERS));
        Reservation { pool: pool.clone(), client, fixed, bytes: 0 }
    }

    /// What is left of it without the body; `None` if it never held anything.
    pub(super) fn without_body(mut self) -> Option<Reservation> {
        if self.bytes == 0 {
            return None;
        }
        self.resize(0, 0);
        Some(self)
    }

    /// Resizes this for a body of `body` bytes. `false`, and no change, where the worker would hold more than `bound`,
    /// or where this client's other requests hold more than would be left.
    pub(super) fn resize(&mut self, body: u64, bound: u64) -> bool {
        let bytes = body.saturating_add(self.fixed);
        let held = &mut *self.pool.0.borrow_mut();
        let own = held.of(self.client).saturating_sub(self.bytes);
        let left = bound.checked_sub(held.all - self.bytes).and_then(|left| left.checked_sub(bytes));
        if bytes > self.bytes && left.is_none_or(|left| own > left) {
            return false;
        }
        held.change(self.client, self.bytes, bytes);
        self.bytes = bytes;
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pool.0.borrow_mut().change(self.client, self.bytes, 0);
    }
}

impl Sums {
    fn of(&self, client: BucketId) -> u64 {
        let found = self.clients.binary_search_by_key(&client, |(id, _)| *id).ok();
        found.and_then(|place| self.clients.get(place)).map_or(0, |(_, bytes)| *bytes)
    }

    fn change(&mut self, client: BucketId, before: u64, after: u64) {
        self.all = self.all - before + after;
        match self.clients.binary_search_by_key(&client, |(id, _)| *id) {
            Ok(place) => {
                let bytes = self.clients.get(place).map_or(0, |(_, bytes)| bytes - before + after);
                if bytes == 0 {
                    self.clients.remove(place);
                } else if let Some(entry) = self.clients.get_mut(place) {
                    entry.1 = bytes;
                }
            }
            Err(place) if after > 0 => self.clients.insert(place, (client, after)),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIB: u64 = 1 << 10;

    fn client(number: u8) -> BucketId {
        BucketId([number; 16])
    }

    #[test]
    fn shares_are_bounded_together_and_given_back() {
        let memory = Memory::default();
        let (mut a, mut b) = (memory.receiving(client(1), 0), memory.receiving(client(2), 0));
        assert!(a.resize(60 * KIB, 132 * KIB));
        assert!(!b.resize(41 * KIB, 132 * KIB));
        assert!(b.resize(40 * KIB, 132 * KIB));
        assert_eq!(memory.held(), 132 * KIB);
        drop(a);
        assert_eq!(memory.held(), 56 * KIB);
        assert!(b.resize(100 * KIB, 132 * KIB));
        // A bound that was lowered since allows a reservation to shrink.
        assert!(b.resize(10 * KIB, 5));
        drop(b);
        assert_eq!(memory.held(), 0);
        assert!(memory.receiving.0.borrow().clients.is_empty());
    }

    #[test]
    fn received_bodies_and_forwarded_messages_do_not_displace_each_other() {
        let memory = Memory::default();
        assert!(memory.forwarded(client(1), 0).resize(100 * KIB, 116 * KIB));
        let (mut receiving, mut forwarded) = (memory.receiving(client(1), 0), memory.forwarded(client(1), 0));
        assert!(receiving.resize(100 * KIB, 116 * KIB));
        assert!(forwarded.resize(100 * KIB, 116 * KIB));
    }

    #[test]
    fn clients_that_hold_all_they_can_leave_as_much_for_the_next() {
        for (hogs, most) in [(1, 50), (2, 34), (9, 10)] {
            let memory = Memory::default();
            let bound = 100 * (STREAM + 1);
            let fill = |number| {
                let mut reservations = Vec::new();
                loop {
                    let mut reservation = memory.receiving(client(number), 0);
                    if !reservation.resize(1, bound) {
                        return reservations;
                    }
                    reservations.push(reservation);
                }
            };
            // In turns, so that no client comes before the others.
            let mut held: Vec<Vec<Reservation>> = (0..hogs).map(|_| Vec::new()).collect();
            for _ in 0..100 {
                for (number, reservations) in held.iter_mut().enumerate() {
                    let mut reservation = memory.receiving(client(number as u8), 0);
                    if reservation.resize(1, bound) {
                        reservations.push(reservation);
                    }
                }
            }
            for reservations in &held {
                assert!(
                    reservations.len().abs_diff(most) <= 1,
                    "{hogs} clients: {} of 100",
                    reservations.len()
                );
            }
            let left = 100 - held.iter().map(Vec::len).sum::<usize>();
            assert!(left + 1 >= most - hogs, "{hogs} clients leave {left}");
            assert!(fill(200).len() >= left / 2, "{hogs} clients leave {left}");
        }
    }

    #[test]
    fn headers_count_and_so_does_an_answered_request_until_it_is_dropped() {
        let memory = Memory::default();
        let mut reservation = memory.forwarded(client(1), 10 * KIB);
        assert!(reservation.resize(100 * KIB, 200 * KIB));
        assert_eq!(memory.held(), 146 * KIB);
        let held = reservation.without_body();
        assert_eq!(memory.held(), 46 * KIB);
        drop(held);
        // A reservation that never succeeded holds nothing.
        assert!(memory.receiving(client(1), 0).without_body().is_none());
        let rejected: Vec<Reservation> =
            core::iter::from_fn(|| memory.reserve_response(None, 16 * KIB)).collect();
        assert!(memory.held() <= MAX_RESPONSES / 2 + 64 * KIB);
        drop(rejected);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn one_message_may_take_all_the_memory() {
        let memory = Memory::default();
        assert!(memory.receiving(client(1), 0).resize(84 * KIB, 100 * KIB));
    }

    proptest! {
        #[test]
        fn the_sums_are_those_of_the_shares(steps in prop::collection::vec((0..6usize, 0..60u64), 1..80)) {
            let memory = Memory::default();
            let mut reservations: Vec<Reservation> =
                (0..6).map(|number| memory.receiving(client(number % 3), 0)).collect();
            for (number, kib) in steps {
                if kib == 0 {
                    reservations[number] = memory.receiving(reservations[number].client, 0);
                } else {
                    reservations[number].resize(kib * KIB, 200 * KIB);
                }
                let held = memory.receiving.0.borrow();
                prop_assert!(held.all <= 200 * KIB);
                prop_assert_eq!(held.all, reservations.iter().map(|reservation| reservation.bytes).sum::<u64>());
                for id in (0..3).map(client) {
                    let own = reservations.iter().filter(|reservation| reservation.client == id);
                    let of: u64 = own.map(|reservation| reservation.bytes).sum();
                    prop_assert_eq!(held.of(id), of);
                    prop_assert_eq!(held.clients.iter().any(|(client, _)| *client == id), of > 0);
                }
            }
        }
    }
}
