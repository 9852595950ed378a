//! What a gate asks of an identified client: whether its certificate is still valid, and how much memory it takes.

use super::{Client, valid};
use crate::response::Reason;
use crate::time::Timestamp;

impl Client {
    /// Whether its certificate is valid at `now`: a connection may outlive the certificate that it
    /// was opened with.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, now: Timestamp) -> Result<(), Reason> {
        self.validity.map_or(Ok(()), |validity| valid(validity, now))
    }

    /// The memory that it takes, in bytes, without what it shares with other clients.
    pub fn size(&self) -> usize {
        // The allocator's own, for each block.
        const BLOCK: usize = 16;
        let headers = self.headers.iter().map(|(name, value)| {
            2 * BLOCK + size_of::<(String, String)>() + name.capacity() + value.capacity()
        });
        size_of::<Self>() + 4 * BLOCK + self.name.capacity() + self.stamp.size() + headers.sum::<usize>()
    }
}
