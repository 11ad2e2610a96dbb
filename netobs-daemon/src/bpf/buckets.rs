//! Draining the coalescing buckets: what was counted instead of recorded, by key, since the last time.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::{HashMap as BpfHashMap, MapData};
use netobs_common::names;
use netobs_common::record::{Bucket, BucketKey};

use super::load::{LoadError, Loaded};
use super::sys;
use crate::flow::Counted;

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

/// A bucket without packets for this long makes room.
const IDLE_NS: u64 = 30_000_000_000;

/// The tables: each family's fine one, coarse ones for keys that found no room, and the last for keys that found none there.
const TABLES: [&str; 5] =
    [names::BUCKETS, names::BUCKETS_COARSE, names::BUCKETS_RESET, names::BUCKETS_RESET_COARSE, names::BUCKETS_LAST];

/// The buckets.
pub struct Buckets {
    tables: Vec<Table>,
}

struct Table {
    map: BpfHashMap<MapData, Key, Value>,
    descriptor: OwnedFd,
    // What was told before, by key: buckets only grow. Bounded by the map's own size.
    told: HashMap<BucketKey, (u64, u64), foldhash::fast::RandomState>,
}

impl Buckets {
    /// Takes the maps out of the loaded object.
    pub fn take(loaded: &mut Loaded) -> Result<Self, LoadError> {
        let tables = TABLES.into_iter().map(|name| Table::take(loaded, name)).collect::<Result<_, _>>()?;
        Ok(Self { tables })
    }

    /// Tells what came since the last time and makes room: buckets idle at `now_ns` (`CLOCK_BOOTTIME`) go.
    pub fn drain(&mut self, now_ns: u64, mut each: impl FnMut(Counted)) {
        for table in &mut self.tables {
            table.drain(now_ns, &mut each);
        }
    }
}

impl Table {
    fn take(loaded: &mut Loaded, name: &'static str) -> Result<Self, LoadError> {
        let map = loaded.take(name)?;
        let descriptor = match &map {
            aya::maps::Map::HashMap(data) => data.fd().as_fd().try_clone_to_owned().map_err(LoadError::Descriptor)?,
            _ => return Err(LoadError::Lacks(name)),
        };
        Ok(Self { map: BpfHashMap::try_from(map)?, descriptor, told: HashMap::default() })
    }

    fn drain(&mut self, now_ns: u64, each: &mut impl FnMut(Counted)) {
        let mut idle = Vec::new();
        for entry in &self.map {
            // An entry that vanishes while we walk was removed by nobody but us: the walk restarts, and what was told
            // is remembered, so nothing is told twice.
            let Ok((Key(key), Value(bucket))) = entry else { continue };
            if !tell(&mut self.told, key, &bucket, each)
                && now_ns.saturating_sub(bucket.last_ns.max(bucket.window_start_ns)) > IDLE_NS
            {
                idle.push(key);
            }
        }
        for key in idle {
            // A burst may have begun since the look: the value that is taken out is the last one.
            if let Some(last) = self.remove(&Key(key)) {
                tell(&mut self.told, key, &last, each);
            }
            self.told.remove(&key);
        }
    }
}

impl Table {
    /// Removes a bucket; its last value. Kernels before 5.14 cannot do both at once for a hash (`ENOTSUPP`): there a packet that
    /// comes in between, after half a minute without any, is in the ledger only.
    fn remove(&mut self, key: &Key) -> Option<Bucket> {
        const ENOTSUPP: i32 = 524;
        let taken = sys::take_element::<Key, Value>(self.descriptor.as_fd(), key);
        let last = match taken {
            Err(error) if error.raw_os_error() == Some(ENOTSUPP) => {
                let last = self.map.get(key, 0).ok();
                // An error means that it is gone.
                let _ = self.map.remove(key);
                last
            }
            taken => taken.ok(),
        };
        last.map(|Value(bucket)| bucket)
    }
}

/// Tells what a bucket has gathered since it was told last; whether there was anything.
fn tell(
    told: &mut HashMap<BucketKey, (u64, u64), foldhash::fast::RandomState>,
    key: BucketKey,
    bucket: &Bucket,
    each: &mut impl FnMut(Counted),
) -> bool {
    let (count, bytes) = told.get(&key).copied().unwrap_or_default();
    if bucket.coalesced <= count {
        return false;
    }
    told.insert(key, (bucket.coalesced, bucket.coalesced_bytes));
    each(Counted {
        key,
        count: bucket.coalesced - count,
        bytes: bucket.coalesced_bytes.saturating_sub(bytes),
        last_ns: bucket.last_ns,
    });
    true
}
