//! The local HTTP API, on TCP and a unix socket alike: documented in docs/api.md, described by `/openapi.json`.
//!
//! [`Api`] is what the handlers see, [`router::build`] puts the routes together, [`listen::bind`] opens the sockets and
//! [`serve::serve`] runs them until the shutdown token fires and the connections have drained.

pub mod api;
pub mod control;
pub mod events;
pub mod host;
pub mod listen;
pub mod memory;
pub mod metrics;
pub mod params;
pub mod probes;
pub mod problem;
pub mod query;
pub mod readiness;
pub mod router;
pub mod scrape;
pub mod serve;
pub mod status;
pub mod stream;
pub mod stream_params;
pub mod when;

pub use api::{Api, ApiLimits, ApiParts};
pub use listen::{ListenConfig, Listeners, bind};
pub use readiness::{Latch, Readiness};
pub use serve::{ServeHandle, ServeLimits, serve};
pub use status::StatusSource;

#[cfg(test)]
pub(crate) mod tests;
