//! Draining the coalescing buckets: what was counted instead of recorded, by key, since the last time.

use std::collections::HashMap;

use aya::maps::{HashMap as BpfHashMap, MapData};
use netobs_common::names;
use netobs_common::record::{Bucket, BucketKey};

use super::load::{LoadError, Loaded};

#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Key(BucketKey);
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Value(Bucket);

// SAFETY: repr(C), integers and byte arrays, without implicit padding (asserted in netobs-common).
unsafe impl aya::Pod for Key {}
// SAFETY: as above.
unsafe impl aya::Pod for Value {}

/// A bucket without packets for this long makes room. Longer than any packet can take between the look-up and the add
/// in the kernel program, so that none is counted into an entry that is gone.
const IDLE_NS: u64 = 30_000_000_000;

/// What a bucket has gathered since the last drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// What the packets have in common.
    pub key: BucketKey,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The last one, `CLOCK_BOOTTIME` nanoseconds.
    pub last_ns: u64,
}

/// The buckets.
pub struct Buckets {
    map: BpfHashMap<MapData, Key, Value>,
    // What was told before, by key: buckets only grow. Bounded by the map's own size.
    told: HashMap<BucketKey, (u64, u64), foldhash::fast::RandomState>,
}

impl Buckets {
    /// Takes the map out of the loaded object.
    pub fn take(loaded: &mut Loaded) -> Result<Self, LoadError> {
        Ok(Self { map: BpfHashMap::try_from(loaded.take(names::BUCKETS)?)?, told: HashMap::default() })
    }

    /// Tells what came since the last time and makes room: buckets idle at `now_ns` (`CLOCK_BOOTTIME`) go.
    pub fn drain(&mut self, now_ns: u64, mut each: impl FnMut(Gathered)) {
        let mut idle = Vec::new();
        for entry in &self.map {
            // An entry that vanishes while we walk was removed by nobody but us: the walk restarts, and what was told
            // is remembered, so nothing is told twice.
            let Ok((Key(key), Value(bucket))) = entry else { continue };
            let (count, bytes) = self.told.get(&key).copied().unwrap_or_default();
            if bucket.coalesced > count {
                self.told.insert(key, (bucket.coalesced, bucket.coalesced_bytes));
                each(Gathered {
                    key,
                    count: bucket.coalesced - count,
                    bytes: bucket.coalesced_bytes.saturating_sub(bytes),
                    last_ns: bucket.last_ns,
                });
            } else if now_ns.saturating_sub(bucket.last_ns.max(bucket.window_start_ns)) > IDLE_NS {
                idle.push(key);
            }
        }
        for key in idle {
            let _ = self.map.remove(&Key(key));
            self.told.remove(&key);
        }
    }
}
