//! Reading the rings: in batches while there is something, asleep behind the armed flag while there is not.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use aya::maps::{Array, MapData, RingBuf};
use netobs_common::counters::family;
use netobs_common::names;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::load::{LoadError, Loaded};

/// How often the rings are looked at while records keep coming.
const BUSY: Duration = Duration::from_millis(2);
/// The rings and the flag by which their reader asks to be woken.
pub struct Rings {
    rings: Vec<RingBuf<MapData>>,
    armed: Array<MapData, u32>,
}

/// Records drained from one ring before the next has its turn, so that a storm of one family cannot starve another.
const BATCH: usize = 1024;

impl Rings {
    /// Takes the rings and the flag out of the loaded object.
    pub fn take(loaded: &mut Loaded) -> Result<Self, LoadError> {
        let mut rings = Vec::new();
        for (name, _) in RINGS {
            rings.push(RingBuf::try_from(loaded.take(name)?)?);
        }
        Ok(Self { rings, armed: Array::try_from(loaded.take(names::ARMED)?)? })
    }

    /// Hands every record that is there to `each` and returns how many there were, at most a batch from each ring.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        let mut total = 0;
        for ring in &mut self.rings {
            for _ in 0..BATCH {
                let Some(record) = ring.next() else { break };
                each(&record);
                total += 1;
            }
        }
        total
    }

    /// Whether a drain that returned this may have left records behind.
    pub fn left_some(drained: usize) -> bool {
        drained >= BATCH
    }

    /// Waits until there may be records, `until` has passed, or `wake` is readable. Call after [`Rings::drain`], whose
    /// result is `drained`.
    ///
    /// No record is slept over: a producer that saw the flag unset reserved its record before we set it, so the ring is
    /// not empty when we ask the kernel to sleep (short of a store that another CPU still holds back: then `until` ends
    /// the sleep), and `poll` (which looks at reserved records, committed or not:
    /// `ringbuf_avail_data_sz`, kernel/bpf/ringbuf.c) returns at once.
    pub fn wait(&mut self, drained: usize, until: Option<Duration>, wake: BorrowedFd<'_>) -> io::Result<()> {
        if Self::left_some(drained) {
            return Ok(());
        }
        let mut descriptors: Vec<PollFd<'_>> = vec![PollFd::from_borrowed_fd(wake, PollFlags::IN)];
        let mut timeout = until;
        if drained > 0 {
            // Busy: producers submit without waking us, the timer brings us back.
            timeout = Some(until.map_or(BUSY, |until| until.min(BUSY)));
        } else {
            self.armed.set(0, 1, 0).map_err(io::Error::other)?;
            descriptors.extend(self.rings.iter().map(|ring| PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)));
        }
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Tells from outside whether records wait in the rings.
#[derive(Debug)]
pub struct RingProbe(Vec<OwnedFd>);

impl RingProbe {
    /// For the rings of `rings`.
    pub fn new(rings: &Rings) -> io::Result<Self> {
        Ok(Self(rings.rings.iter().map(|ring| ring.as_fd().try_clone_to_owned()).collect::<io::Result<_>>()?))
    }

    /// Whether each ring is empty, also of records that are being written, indexed by [`family`].
    pub fn empty(&self) -> [bool; family::COUNT] {
        let mut empty = [false; family::COUNT];
        for (descriptor, family) in self.0.iter().zip(RINGS.map(|(_, family)| family)) {
            let mut poll_fd = [PollFd::new(descriptor, PollFlags::IN)];
            let nothing = poll(&mut poll_fd, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
            empty[family] = matches!(nothing, Ok(0));
        }
        empty
    }
}

/// The rings with their families, in the order in which they are drained.
pub const RINGS: [(&str, usize); family::COUNT] = [
    (names::RING_DNS, family::DNS),
    (names::RING_MTU, family::MTU),
    (names::RING_RESET, family::RESET),
    (names::RING_SOCKET, family::SOCKET),
    (names::RING_DROP, family::DROP),
];

/// Bytes of a family's ring where the configuration gives `bytes` to the largest ones. Resets need less, for a few of a
/// storm say it all, and sockets' evidence and ICMP errors come within small budgets.
pub const fn ring_bytes(family: usize, bytes: u32) -> u32 {
    const PAGE: u32 = 4096;
    let bytes = match family {
        family::RESET => bytes / 2,
        family::MTU | family::SOCKET => bytes / 8,
        _ => bytes,
    };
    if bytes < PAGE { PAGE } else { bytes }
}

/// Lets another thread end a [`Rings::wait`].
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// A new one.
    pub fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Ends the wait.
    pub fn wake(&self) {
        // Fails only when the counter is at its end, which wakes just as well.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Forgets earlier calls of [`Waker::wake`].
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8][..]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
