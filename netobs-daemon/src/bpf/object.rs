//! The embedded object with the kernel programs.

use aya_obj::{Map, Object};
use netobs_common::{ABI_VERSION, names};

/// The object, as `cargo xtask build` made it. The build fails without it, so there is no daemon with a stub.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netobs-ebpf.o"));

/// The object is not one that this daemon can use.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Not an object at all.
    #[error("the embedded kernel object does not parse: {0}")]
    Parse(#[from] aya_obj::ParseError),
    /// It speaks another ABI.
    #[error(
        "the embedded kernel object speaks ABI {found:?}, this daemon {ABI_VERSION}: build both from one tree with `cargo xtask build`"
    )]
    Abi {
        /// Its ABI version, if it says one.
        found: Option<u16>,
    },
}

/// Parses the object and checks its ABI version.
pub fn parse() -> Result<Object, ObjectError> {
    let object = Object::parse(OBJECT)?;
    let found = object.maps.iter().find(|(name, _)| name.ends_with(names::ABI)).and_then(|(_, map)| version(map));
    if found == Some(ABI_VERSION) { Ok(object) } else { Err(ObjectError::Abi { found }) }
}

/// The version, from the data section that holds nothing else.
fn version(map: &Map) -> Option<u16> {
    match map {
        Map::Legacy(map) => map.data.get(..2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes),
        Map::Btf(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn embedded_object_is_whole() {
        let object = parse().unwrap();
        for program in [
            "tcx_ingress",
            "tcx_ingress_upper",
            "tcx_egress",
            "tcx_ingress_l3",
            "tcx_egress_l3",
            "kfree_skb",
            "netfilter_hook",
        ] {
            assert!(object.programs.contains_key(program), "{program}");
        }
        for map in [names::RING_DROP, names::RING_DNS, names::CPU_STATE, names::ARMED, names::BUCKETS, names::SCOPE] {
            assert!(object.maps.contains_key(map), "{map}");
        }
    }
}
