//! One export request: opened at its headers, filled piece by piece, finished at its end.

use std::rc::Rc;

use super::client::Client;
use super::head::{Encoding, Head};
use super::load::Gate;
use super::memory::{Memory, Reservation};
use super::metrics::QuotaUsed;
use crate::quota::{Amounts, BucketId, Charge, Dimension, Receipt, Store};
use crate::response::{Protocol, Reason};
use crate::time::Timestamp;
use otlp_gate_wire::encoding::{self, Compression, FrameError, InflateError};
use otlp_gate_wire::otlp::{MAX_EDITS, Splice, SpliceError, splice, splice_json};

/// A message of up to this size may have any compression ratio, in bytes: repetitive messages of some KiB reach that of
/// a decompression bomb.
const ANY_RATIO: u64 = 1 << 20;

/// How many messages of the largest size a worker may forward before the backend responds to the first.
pub(super) const MAX_FORWARDED: u64 = 2;

/// Up to this size an uncompressed message costs less than looking up what is left of its client's quota, in bytes.
const NO_LOOKUP: usize = 64 << 10;

/// How many times the bytes that have come are reserved for a body that announces more. Each time that a body outgrows
/// its place it is copied.
const MAX_AHEAD: usize = 8;

/// How many times its size a message may grow by the attributes that are set, besides [`MAX_ADDED`]. Without a limit a
/// few bytes of empty entries could become the largest message.
const MAX_GROWTH: usize = 4;

/// What the attributes may add to a message of any size, in bytes: twice a kilobyte for each of 8192 Resources.
const MAX_ADDED: usize = 16 << 20;

/// A request of an identified client.
pub struct Request {
    pub(super) gate: Rc<Gate>,
    /// The client that sends it.
    pub client: Rc<Client>,
    /// Its headers.
    pub head: Head,
    body: Vec<u8>,
    pub(super) receiving: Option<Reservation>,
    pub(super) forwarded: Reservation,
    spent: Option<Spent>,
    /// How many bytes have been processed: a message that is rejected afterwards is charged by them.
    work: u64,
    /// How much of the client's quota, and of the quota of all clients together, is used.
    pub used: QuotaUsed,
    /// It is over a quota that is not enforced (`mode: shadow`).
    pub shadow_throttled: bool,
    /// It was not charged, because the shared store failed.
    pub unmetered: bool,
}

struct Spent {
    amounts: Amounts,
    /// Of the client's quota.
    own: Receipt,
    /// Of the quota of all clients together, if there is one.
    total: Option<Receipt>,
}

/// The bucket of the quota of all clients together. No client's bucket is in the same set: its key has another prefix.
const TOTAL: BucketId = BucketId([0; 16]);

/// A message as it is forwarded.
#[derive(Debug)]
pub struct Outgoing {
    header: Option<[u8; encoding::HEADER_LEN]>,
    /// The inflated message; or the body, in which it begins at `offset`.
    message: Vec<u8>,
    offset: usize,
    splice: Splice,
    /// The length of the message as received, inflated, in bytes.
    pub bytes: u64,
}

impl Request {
    /// Opens a request at its headers and charges it as one request.
    ///
    /// # Errors
    /// The backend does not take its signal, its client's certificate is not valid, its client has nothing left of a
    /// quota, its headers are too large, or the worker is at its memory limit.
    pub fn open<S: Store>(
        gate: &Rc<Gate>,
        client: &Rc<Client>,
        head: Head,
        memory: &Memory,
        store: &S,
        now: Timestamp,
    ) -> Result<Request, Reason> {
        if !gate.policy.takes(head.signal) {
            return Err(Reason::SignalNotTaken(head.signal));
        }
        let needed = [Dimension::Bytes, Dimension::Items, Dimension::of(head.signal)];
        Request::open_for(gate, client, head, &needed, memory, store, now)
    }

    /// Opens a request whose client must have something left in the `needed` dimensions.
    pub(super) fn open_for<S: Store>(
        gate: &Rc<Gate>,
        client: &Rc<Client>,
        head: Head,
        needed: &[Dimension],
        memory: &Memory,
        store: &S,
        now: Timestamp,
    ) -> Result<Request, Reason> {
        client.check_validity(now)?;
        let limits = gate.policy.limits();
        let mut receiving = memory.receiving(client.bucket(), head.headers);
        let room = receiving.resize(0, limits.held.bytes());
        let mut request = Request {
            gate: Rc::clone(gate),
            client: Rc::clone(client),
            head,
            body: Vec::new(),
            receiving: Some(receiving),
            forwarded: memory.forwarded(client.bucket(), head.headers),
            spent: None,
            work: 0,
            used: QuotaUsed::default(),
            shadow_throttled: false,
            unmetered: false,
        };
        let charge = gate.ledger(store).request(client.bucket(), client.tier(), needed, now);
        request.settle(charge, false)?;
        // A client over its own quota takes nothing from the quota of all clients.
        if let (Charge::Granted(_), Some(total)) = (charge, gate.policy.total()) {
            let charge = gate.total_ledger(store).request(TOTAL, total, needed, now);
            request.settle(charge, true)?;
        }
        let limit = limits.headers.bytes();
        if head.headers > limit {
            return Err(Reason::Headers { size: head.headers, limit });
        }
        if room { Ok(request) } else { Err(Reason::Busy) }
    }

    /// The body so far, with capacity for `len` bytes more.
    ///
    /// # Errors
    /// The body is too large, or the worker is at its memory limit.
    pub fn body(&mut self, len: usize) -> Result<&mut Vec<u8>, Reason> {
        let limits = self.gate.policy.limits();
        let wanted = self.body.len().saturating_add(len);
        if wanted as u64 > limits.wire.bytes() {
            return Err(Reason::TooLarge(format!("more than {} bytes on the wire", limits.wire.bytes())));
        }
        if wanted > self.body.capacity() {
            let (grown, announced) = match self.announced() {
                Some(announced) => (wanted.saturating_mul(MAX_AHEAD), announced),
                None => (self.body.capacity().saturating_mul(2), u64::MAX),
            };
            let most = usize::try_from(announced.min(limits.wire.bytes())).unwrap_or(usize::MAX);
            let grown = grown.min(most).max(wanted);
            let mut holds = |capacity: &usize| {
                self.receiving.as_mut().is_some_and(|it| it.resize(*capacity as u64, limits.held.bytes()))
            };
            let capacity = [grown, wanted].into_iter().find(|it| holds(it)).ok_or(Reason::Busy)?;
            self.body.reserve_exact(capacity - self.body.len());
        }
        Ok(&mut self.body)
    }

    /// The length that the request announces for its body. No more than that is reserved.
    fn announced(&self) -> Option<u64> {
        match self.head.protocol {
            Protocol::Grpc => encoding::announced(&self.body).or(self.head.length),
            Protocol::HttpProtobuf | Protocol::HttpJson => self.head.length,
        }
    }

    /// Checks whether what has been received may still become one message. A client that sends several may wait for a
    /// response to the first before it ends.
    ///
    /// # Errors
    /// It is more than one message, or has a wrong frame.
    pub fn check_received(&self) -> Result<(), Reason> {
        match (self.head.protocol, encoding::frame(&self.body)) {
            (Protocol::Grpc, Err(error @ (FrameError::Trailing | FrameError::Flag))) => {
                Err(Reason::Invalid(error.what().into()))
            }
            _ => Ok(()),
        }
    }

    /// Checks the whole body, sets the attributes and charges it.
    ///
    /// # Errors
    /// Why it is rejected. The work on a rejected message is charged too.
    pub fn finish<S: Store>(&mut self, store: &S, now: Timestamp) -> Result<Outgoing, Reason> {
        let outgoing = self.finish_message(store, now);
        if outgoing.is_err() {
            let ledger = self.gate.ledger(store);
            ledger.record_wasted(self.client.bucket(), self.client.tier(), self.work, now);
        }
        outgoing
    }

    fn finish_message<S: Store>(&mut self, store: &S, now: Timestamp) -> Result<Outgoing, Reason> {
        // The certificate may have expired while the body was received.
        self.client.check_validity(now)?;
        let bound = self.gate.policy.limits().inflated.bytes().saturating_mul(MAX_FORWARDED);
        // A message that there is no memory for is not processed.
        if !self.forwarded.resize(self.body.len() as u64, bound) {
            return Err(Reason::Busy);
        }
        let mut outgoing = self.outgoing(store, now)?;
        self.receiving = None;
        if !self.forwarded.resize(outgoing.splice.len as u64, bound) {
            return Err(Reason::Busy);
        }
        let items = outgoing.splice.items + outgoing.splice.empty_entries;
        let mut amounts = Amounts::ZERO
            .with(Dimension::Bytes, self.work.max(outgoing.splice.len as u64))
            .with(Dimension::Items, items)
            .with(Dimension::of(self.head.signal), items);
        let gate = Rc::clone(&self.gate);
        let ledger = gate.ledger(store);
        let charge = ledger.charge(self.client.bucket(), self.client.tier(), &amounts, now);
        self.settle(charge, false)?;
        if let Charge::Granted(own) = charge {
            let mut total = None;
            if let Some(tier) = gate.policy.total() {
                let charge = gate.total_ledger(store).charge(TOTAL, tier, &amounts, now);
                match charge {
                    Charge::Granted(receipt) => total = Some(receipt),
                    Charge::Throttled(_) => {
                        ledger.cancel(self.client.bucket(), self.client.tier(), &amounts, own, now);
                        amounts = Amounts::ZERO;
                    }
                    Charge::Unmetered => {}
                }
                self.settle(charge, true)?;
            }
            self.spent = Some(Spent { amounts, own, total });
        }
        if self.head.protocol == Protocol::Grpc {
            outgoing.header = encoding::header(outgoing.splice.len);
        }
        Ok(outgoing)
    }

    /// The backend accepted it.
    pub fn accepted(&self) {
        self.gate.probe_signal.accepted(self.head.signal);
    }

    /// The memory that it holds until the proxy deletes its stream: the response may wait for its client.
    pub fn into_reservation(self) -> Option<Reservation> {
        self.forwarded.without_body().or_else(|| self.receiving?.without_body())
    }

    /// Refunds items and bytes, once.
    pub fn refund<S: Store>(&mut self, store: &S, now: Timestamp) {
        if let Some(Spent { amounts, own, total }) = self.spent.take() {
            let ledger = self.gate.ledger(store);
            ledger.refund(self.client.bucket(), self.client.tier(), &amounts, own, now);
            if let (Some(receipt), Some(tier)) = (total, self.gate.policy.total()) {
                self.gate.total_ledger(store).refund(TOTAL, tier, &amounts, receipt, now);
            }
        }
    }

    fn settle(&mut self, charge: Charge, total: bool) -> Result<(), Reason> {
        let used = match charge {
            Charge::Granted(receipt) if total => QuotaUsed { total: receipt.used, own: None },
            Charge::Granted(receipt) => QuotaUsed { own: receipt.used, total: None },
            Charge::Unmetered => {
                self.unmetered = true;
                QuotaUsed::default()
            }
            Charge::Throttled(throttled) => {
                let reason =
                    Reason::Quota { client: (!total).then(|| self.client.name().to_owned()), throttled };
                if !self.gate.policy.shadow() {
                    return Err(reason);
                }
                self.shadow_throttled = true;
                QuotaUsed::of(&reason)
            }
        };
        self.used = QuotaUsed { own: used.own.or(self.used.own), total: used.total.or(self.used.total) };
        Ok(())
    }

    /// How many bytes a message of which `bytes` have been received may have; `None` where there is no limit.
    fn bytes_left<S: Store>(&mut self, bytes: u64, store: &S, now: Timestamp) -> Result<Option<u64>, Reason> {
        // In shadow mode a quota limits nothing.
        if self.gate.policy.shadow() {
            return Ok(None);
        }
        let gate = Rc::clone(&self.gate);
        let ledger = gate.ledger(store);
        match ledger.bytes_left(self.client.bucket(), self.client.tier(), bytes, now) {
            Ok(left) => Ok(left),
            Err(throttled) => {
                self.settle(Charge::Throttled(throttled), false)?;
                Ok(None)
            }
        }
    }

    /// The inflated message or the whole body, and where the message begins in it. With `most`, it may inflate to that
    /// many bytes, whatever is left of its client's quota.
    pub(super) fn message<S: Store>(
        &mut self,
        store: &S,
        now: Timestamp,
        most: Option<u64>,
    ) -> Result<(Vec<u8>, usize), Reason> {
        let body = core::mem::take(&mut self.body);
        let (compressed, offset) = match self.head.protocol {
            Protocol::Grpc => {
                let frame = encoding::frame(&body).map_err(|error| Reason::Invalid(error.what().into()))?;
                if frame.compressed && self.head.encoding == Encoding::Identity {
                    return Err(Reason::Invalid("compressed message without grpc-encoding".into()));
                }
                (frame.compressed, encoding::HEADER_LEN)
            }
            Protocol::HttpProtobuf | Protocol::HttpJson => (self.head.encoding != Encoding::Identity, 0),
        };
        if compressed {
            return Ok((self.inflate(body.get(offset..).unwrap_or_default(), store, now, most)?, 0));
        }
        if body.len() > NO_LOOKUP {
            self.bytes_left((body.len() - offset) as u64, store, now)?;
        }
        Ok((body, offset))
    }

    fn outgoing<S: Store>(&mut self, store: &S, now: Timestamp) -> Result<Outgoing, Reason> {
        let (message, offset) = self.message(store, now, None)?;
        let otlp = message.get(offset..).unwrap_or_default();
        let bytes = otlp.len() as u64;
        self.work = self.work.max(bytes);
        let limit = usize::try_from(self.gate.policy.limits().inflated.bytes()).unwrap_or(usize::MAX);
        let limit = limit.min(otlp.len().saturating_mul(MAX_GROWTH).saturating_add(MAX_ADDED));
        let splice = match self.head.protocol {
            Protocol::Grpc | Protocol::HttpProtobuf => splice,
            Protocol::HttpJson => splice_json,
        };
        let splice = splice(self.head.signal, otlp, &self.client.resolved.resource_attributes, limit)
            .map_err(|error| match error {
                SpliceError::Malformed(malformed) => Reason::Invalid(malformed.to_string()),
                SpliceError::TooManyEdits => {
                    Reason::TooLarge(format!("more than {MAX_EDITS} changes to Resources"))
                }
                SpliceError::TooLarge => {
                    Reason::TooLarge(format!("more than {limit} bytes with its attributes set"))
                }
            })?;
        Ok(Outgoing { header: None, message, offset, splice, bytes })
    }

    fn inflate<S: Store>(
        &mut self,
        wire: &[u8],
        store: &S,
        now: Timestamp,
        most: Option<u64>,
    ) -> Result<Vec<u8>, Reason> {
        let limits = self.gate.policy.limits();
        let inflated = limits.inflated.bytes();
        let bound = limits.ratio.map_or(inflated, |ratio| {
            inflated.min((wire.len() as u64).saturating_mul(u64::from(ratio)).max(ANY_RATIO))
        });
        // A gzip whose own size does not fit is not inflated. One that gives too small a size stops where it no longer
        // fits.
        let announced = match self.head.encoding {
            Encoding::Gzip => encoding::gzip_length(wire).filter(|size| *size <= bound).unwrap_or_default(),
            _ => 0,
        };
        let (bound, left) = match most {
            Some(most) => (bound.min(most), None),
            None => (bound, self.bytes_left(announced.max(wire.len() as u64), store, now)?),
        };
        let limit = left.map_or(bound, |left| bound.min(left));
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut out, mut work) = (Vec::new(), 0);
        let (compression, name) = match self.head.encoding {
            Encoding::Zstd => (Compression::Zstd, "zstd"),
            Encoding::Deflate => (Compression::Zlib, "deflate (zlib's format)"),
            Encoding::Gzip | Encoding::Identity => (Compression::Gzip, "gzip"),
        };
        let inflated = compression.inflate_into(wire, most, &mut out, &mut work);
        self.work = (work as u64).max(wire.len() as u64);
        match inflated {
            Ok(()) => Ok(out),
            Err(InflateError::Invalid) => Err(Reason::Invalid(format!("{name} that cannot be inflated"))),
            Err(InflateError::TooManyParts) => {
                Err(Reason::Invalid(format!("{name} of more than {} parts", compression.max_parts())))
            }
            Err(InflateError::TooLarge) if limit < bound => Err(self.too_many_bytes(limit, store, now)),
            Err(InflateError::TooLarge) => {
                Err(Reason::TooLarge(format!("more than {limit} bytes when inflated")))
            }
        }
    }

    /// The reason to reject a message that inflates to more bytes than are left of its client's quota.
    fn too_many_bytes<S: Store>(&mut self, left: u64, store: &S, now: Timestamp) -> Reason {
        let capacity = self.client.tier().limit(Dimension::Bytes).map_or(0, |limit| limit.capacity);
        // Its size is unknown; twice as many bytes are likely to be enough.
        let asked = left.saturating_mul(2).min(capacity).max(left.saturating_add(1));
        // If that many fit now, another worker has refunded some meanwhile.
        self.bytes_left(asked, store, now).err().unwrap_or(Reason::Busy)
    }
}

impl Outgoing {
    /// The body to forward, in pieces.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let message = self.message.get(self.offset..).unwrap_or_default();
        self.header.iter().map(|header| &header[..]).chain(self.splice.pieces(message))
    }

    /// The number of spans, data points, log records or samples.
    pub fn items(&self) -> u64 {
        self.splice.items
    }

    /// The number of owned attributes that the client sent and that are removed.
    pub fn removed(&self) -> u64 {
        self.splice.removed
    }
}
