//! The kernel programs: the embedded object, loading, attaching, rings and counters. The only user of aya.

pub mod attached;
pub mod buckets;
pub mod classifiers;
pub mod clsact;
pub mod counters;
pub mod hook_walk;
pub mod load;
pub mod memory;
pub mod netfilter;
pub mod object;
pub mod rings;
mod sys;
pub mod tracepoint;
mod verifier;

pub use sys::lookups_need_capability;
