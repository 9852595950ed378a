//! A real Envoy as a child process: where its binary is, what it is told, and how it is watched.

mod admin;
mod binary;
mod bootstrap;
pub(crate) mod bounds;
pub mod dynamic;
mod log;
mod process;

pub use admin::{Addresses, Admin};
pub use binary::find;
pub use bootstrap::Bootstrap;
pub use dynamic::Dynamic;
pub use process::{Envoy, LogLevel, Start};
