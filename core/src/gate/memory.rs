//! What a worker may hold of requests that are not over yet, and how much of that one client may hold.
//!
//! No client is given a fixed share: it may hold as much as is left for all others. So one that never ends its requests gets
//! half of the room, two of them a third each, and whoever comes next still finds as much as any of them has.

use core::cell::RefCell;
use std::rc::Rc;

use super::Client;
use crate::quota::BucketId;

/// What a request costs beside its body and its headers, in bytes: the proxy's stream, an open stream to the backend.
const STREAM: u64 = 16 << 10;

/// How many times their size a request's headers cost: as they came, as they go on, and as they are encoded for that. Measured in
/// Envoy 1.40, 60 KiB of them cost 2.1 times as much.
const HEADERS: u64 = 3;

/// How much answers may hold that their clients have not read, of requests that were refused, in bytes.
const ANSWERS: u64 = 16 << 20;

/// Who holds the answers to those who are no clients: all of them are one.
const STRANGERS: BucketId = BucketId([0xff; 16]);

/// What all requests of one worker hold together.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Bodies that have not arrived whole, in the VM. One that runs out of memory ends every plugin in it.
    arriving: Pool,
    /// Messages that the backend has not answered; as long as it does not read them, the proxy holds them.
    forwarded: Pool,
    /// Refused requests whose answers have not gone out.
    answers: Pool,
}

/// What a request holds until the proxy has forgotten it.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "its end is what counts")] Share);

impl Memory {
    /// How many bytes are held.
    pub fn held(&self) -> u64 {
        let pools = [&self.arriving, &self.forwarded, &self.answers];
        pools.into_iter().map(|pool| pool.0.borrow().all).sum()
    }

    /// What a refused request with headers of this size holds until its client has read the answer. `None` where too much is held: then
    /// the answer must not have a body, which could wait for its client.
    pub fn answer(&self, client: Option<&Client>, headers: u64) -> Option<Held> {
        let mut share = Share::new(&self.answers, client.map_or(STRANGERS, |client| client.bucket), headers);
        share.resize(0, ANSWERS).then_some(Held(share))
    }

    /// The share of a body of this client that arrives, of nothing yet.
    pub(super) fn arriving(&self, client: BucketId, headers: u64) -> Share {
        Share::new(&self.arriving, client, headers)
    }

    /// The share of a message of this client that is forwarded, of nothing yet.
    pub(super) fn forwarded(&self, client: BucketId, headers: u64) -> Share {
        Share::new(&self.forwarded, client, headers)
    }
}

#[derive(Debug, Clone, Default)]
struct Pool(Rc<RefCell<Sums>>);

/// In bytes.
#[derive(Debug, Default)]
struct Sums {
    all: u64,
    /// Those who hold something, in the order of their ids: as few as there is room for streams.
    clients: Vec<(BucketId, u64)>,
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    pool: Pool,
    client: BucketId,
    /// What it costs beside its body.
    fixed: u64,
    bytes: u64,
}

impl Share {
    fn new(pool: &Pool, client: BucketId, headers: u64) -> Self {
        let fixed = STREAM.saturating_add(headers.saturating_mul(HEADERS));
        Share { pool: pool.clone(), client, fixed, bytes: 0 }
    }

    /// What is left of it when its body has gone.
    pub(super) fn without_body(mut self) -> Option<Held> {
        if self.bytes == 0 {
            return None;
        }
        self.resize(0, 0);
        Some(Held(self))
    }

    /// Makes this the share of a request with a body of `body` bytes. `false`, and no change, where the worker would hold
    /// more than `bound`, or where this client's other requests hold more than would be left.
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

impl Drop for Share {
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
        let (mut a, mut b) = (memory.arriving(client(1), 0), memory.arriving(client(2), 0));
        assert!(a.resize(60 * KIB, 132 * KIB));
        assert!(!b.resize(41 * KIB, 132 * KIB));
        assert!(b.resize(40 * KIB, 132 * KIB));
        assert_eq!(memory.held(), 132 * KIB);
        drop(a);
        assert_eq!(memory.held(), 56 * KIB);
        assert!(b.resize(100 * KIB, 132 * KIB));
        // A bound that was lowered meanwhile refuses nothing that shrinks.
        assert!(b.resize(10 * KIB, 5));
        drop(b);
        assert_eq!(memory.held(), 0);
        assert!(memory.arriving.0.borrow().clients.is_empty());
    }

    #[test]
    fn what_arrives_and_what_is_forwarded_do_not_crowd_out_each_other() {
        let memory = Memory::default();
        assert!(memory.forwarded(client(1), 0).resize(100 * KIB, 116 * KIB));
        let (mut arriving, mut forwarded) = (memory.arriving(client(1), 0), memory.forwarded(client(1), 0));
        assert!(arriving.resize(100 * KIB, 116 * KIB));
        assert!(forwarded.resize(100 * KIB, 116 * KIB));
    }

    #[test]
    fn who_holds_all_that_it_can_leaves_as_much_for_each_who_comes() {
        for (hogs, most) in [(1, 50), (2, 34), (9, 10)] {
            let memory = Memory::default();
            let bound = 100 * (STREAM + 1);
            let fill = |number| {
                let mut shares = Vec::new();
                loop {
                    let mut share = memory.arriving(client(number), 0);
                    if !share.resize(1, bound) {
                        return shares;
                    }
                    shares.push(share);
                }
            };
            // In turns, so that none is there before the others.
            let mut held: Vec<Vec<Share>> = (0..hogs).map(|_| Vec::new()).collect();
            for _ in 0..100 {
                for (number, shares) in held.iter_mut().enumerate() {
                    let mut share = memory.arriving(client(number as u8), 0);
                    if share.resize(1, bound) {
                        shares.push(share);
                    }
                }
            }
            for shares in &held {
                assert!(shares.len().abs_diff(most) <= 1, "{hogs} clients: {} of 100", shares.len());
            }
            let left = 100 - held.iter().map(Vec::len).sum::<usize>();
            assert!(left + 1 >= most - hogs, "{hogs} clients leave {left}");
            assert!(fill(200).len() >= left / 2, "{hogs} clients leave {left}");
        }
    }

    #[test]
    fn headers_count_and_so_does_what_is_answered_until_it_has_gone_out() {
        let memory = Memory::default();
        let mut share = memory.forwarded(client(1), 10 * KIB);
        assert!(share.resize(100 * KIB, 200 * KIB));
        assert_eq!(memory.held(), 146 * KIB);
        let held = share.without_body();
        assert_eq!(memory.held(), 46 * KIB);
        drop(held);
        // Who never had room holds nothing.
        assert!(memory.arriving(client(1), 0).without_body().is_none());
        let refused: Vec<Held> = core::iter::from_fn(|| memory.answer(None, 16 * KIB)).collect();
        assert!(memory.held() <= ANSWERS / 2 + 64 * KIB);
        drop(refused);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn one_message_may_take_all_the_room_that_there_is() {
        let memory = Memory::default();
        assert!(memory.arriving(client(1), 0).resize(84 * KIB, 100 * KIB));
    }

    proptest! {
        #[test]
        fn the_sums_are_those_of_the_shares(steps in prop::collection::vec((0..6usize, 0..60u64), 1..80)) {
            let memory = Memory::default();
            let mut shares: Vec<Share> = (0..6).map(|number| memory.arriving(client(number % 3), 0)).collect();
            for (number, kib) in steps {
                if kib == 0 {
                    shares[number] = memory.arriving(shares[number].client, 0);
                } else {
                    shares[number].resize(kib * KIB, 200 * KIB);
                }
                let held = memory.arriving.0.borrow();
                prop_assert!(held.all <= 200 * KIB);
                prop_assert_eq!(held.all, shares.iter().map(|share| share.bytes).sum::<u64>());
                for id in (0..3).map(client) {
                    let of: u64 = shares.iter().filter(|share| share.client == id).map(|share| share.bytes).sum();
                    prop_assert_eq!(held.of(id), of);
                    prop_assert_eq!(held.clients.iter().any(|(client, _)| *client == id), of > 0);
                }
            }
        }
    }
}
