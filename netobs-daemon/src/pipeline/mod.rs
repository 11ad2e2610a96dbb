//! From an observation to every reader of it: published once, kept in a bounded history, read at each client's pace.
//!
//! [`Publisher`] gives an observation its id and its bytes, once. [`Store`] holds the resulting [`Frame`]s per kind and
//! severity, so that a flood of one cannot evict another. There is no queue per client: a client is a [`Reader`], a
//! position in the store, so one that stops reading costs nothing and holds nobody up; what was evicted before it came
//! back is counted exactly. [`Ledger`] counts what became of every record.

pub mod clock;
pub mod evidence;
pub mod filter;
pub mod frame;
pub mod history;
pub mod id;
pub mod ledger;
pub mod publisher;
pub mod reader;
pub mod store;
pub mod sums;
pub mod tally;

pub use clock::WallClock;
pub use filter::{Filter, PodFilter};
pub use frame::Frame;
pub use history::HistoryLimits;
pub use id::{EventId, Origin};
pub use ledger::{KernelCounters, KernelSample, Ledger};
pub use publisher::Publisher;
pub use reader::{Batch, Reader};
pub use store::{Order, Page, Store};
pub use sums::LedgerView;
pub use tally::Tally;

#[cfg(test)]
pub(crate) mod samples;
