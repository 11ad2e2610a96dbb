//! Whatever still decodes of spoiled records goes through all stages.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::tests::observe_in;
use crate::event::decode::decode;
use crate::event::decode::tests::{dns_bytes, drop_record};
use crate::flow::{DropReasons, FlowLimits, FlowTable};

proptest! {
    #[test]
    fn spoiled_records_never_panic(
        records in prop::collection::vec((any::<bool>(), prop::collection::vec((8usize..328, any::<u8>()), 0..4)), 1..20)
    ) {
        let mut table = FlowTable::new(FlowLimits::default(), DropReasons::default());
        let mut out = Vec::new();
        for (dns, changes) in records {
            let mut bytes = if dns { dns_bytes() } else { drop_record().as_bytes().to_vec() };
            for (at, value) in changes {
                let end = bytes.len();
                bytes[at % end] = value;
            }
            if let Ok(event) = decode(&bytes) {
                table.ingest(event, &mut out);
            }
        }
        table.expire(u64::MAX, &mut out);
        for joined in &out {
            prop_assert!(!observe_in(joined, false).summary.is_empty());
            prop_assert!(serde_json::to_string(&observe_in(joined, true)).is_ok());
        }
    }
}
