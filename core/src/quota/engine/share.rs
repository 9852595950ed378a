//! Whose buckets count together, and their names in the engine.

use std::cell::RefCell;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Engine;
use super::queue::Entry;
use crate::quota::bucket_id::BucketId;
use crate::quota::ledger::Table;
use crate::quota::tier::Tier;
use crate::quota::unreported::Ticket;
use crate::time::Timestamp;

/// The buckets of one quota of a gate.
#[derive(Debug)]
pub struct Share {
    engine: Rc<Engine>,
    /// The start of the keys in the store that the workers of this replica share.
    prefix: String,
    /// What the buckets are of, which their keys in the engine depend on.
    of: BucketId,
    /// The start of the keys in the engine. In a cluster of engines, the part in braces decides which one has the key.
    start: String,
    /// As many as the policy has tiers.
    classes: RefCell<Vec<Rc<Class>>>,
}

/// The buckets of a share that have the same limits.
#[derive(Debug)]
pub(super) struct Class {
    /// The limits, without a name.
    pub(super) tier: Tier,
    /// What their keys in the engine depend on besides the bucket.
    of: BucketId,
}

impl Share {
    /// Buckets that count together with those of all replicas that have the same `group`. `kind` keeps several quotas
    /// of a gate apart. `prefix` is the start of the keys in the store of this replica.
    pub fn new(engine: &Rc<Engine>, group: &[&[u8]], kind: &[u8], prefix: impl Into<String>) -> Share {
        let BucketId(group) = BucketId::of(group);
        Share {
            engine: Rc::clone(engine),
            prefix: prefix.into(),
            of: BucketId::of(&[&group, kind]),
            start: start(&group),
            classes: RefCell::default(),
        }
    }

    /// The class of the buckets with these limits.
    pub(super) fn class(&self, tier: &Tier) -> Rc<Class> {
        let mut classes = self.classes.borrow_mut();
        if let Some(class) = classes.iter().find(|class| class.tier.limits == tier.limits) {
            return Rc::clone(class);
        }
        let BucketId(of) = self.of;
        let class = Rc::new(Class {
            tier: Tier { name: String::new(), limits: tier.limits },
            of: BucketId::of(&[&of, &tier.limits_to_bytes()]),
        });
        classes.push(Rc::clone(&class));
        class
    }

    pub(in crate::quota) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(in crate::quota) fn takes_reports(&self, now: Timestamp) -> bool {
        self.engine.takes_reports(now)
    }

    /// The limits while the engine is away, and since when it is, if they are others then.
    pub(in crate::quota) fn away(&self, tier: &Tier) -> Option<(Timestamp, Tier)> {
        self.engine.divided().map(|(since, replicas)| (since, tier.divided(replicas)))
    }

    /// Queues a bucket that has this ticket for a report. `tier` has its limits.
    pub(in crate::quota) fn queue(
        self: &Rc<Self>,
        id: BucketId,
        table: Table,
        tier: &Tier,
        ticket: Ticket,
        due: Timestamp,
    ) {
        self.engine.queue(Entry { due, share: Rc::clone(self), id, table, class: self.class(tier), ticket });
    }

    /// The key of a bucket in the engine. It depends on the limits: gates with other tiers have other buckets, and so do
    /// replicas that have the next policy already.
    pub(super) fn key(&self, BucketId(id): BucketId, class: &Class) -> String {
        let BucketId(mut key_id) = class.of;
        // Both are hashes, so no choice of names makes two keys one. Another hash would take longer than the rest.
        key_id.iter_mut().zip(id).for_each(|(byte, of_id)| *byte ^= of_id);
        key(&self.start, BucketId(key_id))
    }
}

/// The key of the list of replicas that have the same `group`.
pub(super) fn replicas_key(group: &[&[u8]]) -> String {
    let BucketId(group) = BucketId::of(group);
    key(&start(&group), BucketId::of(&[&group, b"replicas"]))
}

fn start(group: &[u8; 16]) -> String {
    let tag = URL_SAFE_NO_PAD.encode(group.get(..9).unwrap_or_default());
    format!("otlp-gate:{{{tag}}}:")
}

fn key(start: &str, BucketId(id): BucketId) -> String {
    let mut text = start.to_owned();
    URL_SAFE_NO_PAD.encode_string(id, &mut text);
    text
}
