//! What the command line shows. A client of the HTTP API like any other, over TCP or the unix socket.
//!
//! `main` mounts [`ObserveArgs`], [`StatusArgs`] and [`CheckArgs`] as subcommands and runs [`observe()`], [`status()`] and
//! [`check::show()`].

pub mod check;
pub mod connect;
pub mod lines;
pub mod observe;
pub mod output;
pub mod render;
pub mod server;
pub mod status;
pub mod tables;

pub use check::CheckArgs;
pub use observe::{ObserveArgs, observe};
pub use server::{Server, ServerArgs};
pub use status::{StatusArgs, status};

#[cfg(test)]
mod tests;
