//! What happened, at each stage: a record from the ring becomes a [`raw::RawEvent`], the flow table joins those into
//! [`joined::Joined`]s, and the resolver turns each into an [`observation::Observation`], which is what users read.

pub mod decode;
pub mod detail;
pub mod dns;
pub mod dns_names;
pub mod headers;
pub mod joined;
pub mod observation;
pub mod raw;
pub mod size;
pub mod tcp;
