//! netobs: which packet failed on this node, whose it was and what failed it.
//!
//! The modules are the stages of the data flow, in order; see ARCHITECTURE.md at the top of the repository.

pub mod app;
pub mod bpf;
pub mod client;
pub mod cluster;
pub mod config;
pub mod detect;
pub mod event;
pub mod flow;
pub mod http;
pub mod kernel;
pub mod net;
mod netlink;
pub mod pipeline;
pub mod resolve;
