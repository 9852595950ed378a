//! The name of a client's bucket.

use sha2::{Digest, Sha256};

/// The name of a bucket. It is a hash, so no choice of names by a client makes two buckets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub [u8; 16]);

impl BucketId {
    /// The bucket of these parts: the first 16 bytes of a SHA-256 over each part with its length in front.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        BucketId(id)
    }
}
