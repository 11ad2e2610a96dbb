//! What was asked for and not known: a bounded list that asks the follower to look again, once per unknown.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// Most unknowns remembered; further ones wait for the next regular look.
const MAX_KEYS: usize = 1024;

/// Something that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A network namespace, by inode.
    Netns(u32),
    /// A cgroup v2 directory, by id.
    Cgroup(u64),
    /// An interface, by index.
    Interface(u32),
}

#[derive(Debug, Default)]
struct Keys {
    /// Asked for since the last look.
    pending: HashSet<Key>,
    /// Looked for and not found: no pod's, or not yet. No reason to look again before the next regular look.
    fruitless: HashSet<Key>,
    left_out: u64,
}

/// The list, and the bell that wakes the follower.
#[derive(Debug)]
pub(super) struct Wanted {
    keys: Mutex<Keys>,
    look: AtomicBool,
    bell: OwnedFd,
}

impl Wanted {
    pub(super) fn new() -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { keys: Mutex::default(), look: AtomicBool::new(false), bell })
    }

    /// Notes that a key is not known.
    pub(super) fn miss(&self, key: Key) {
        let mut keys = self.lock();
        if keys.fruitless.contains(&key) {
            return;
        }
        if keys.pending.len() >= MAX_KEYS {
            keys.left_out += 1;
            return;
        }
        let first = keys.pending.is_empty();
        if keys.pending.insert(key) && first {
            drop(keys);
            self.ring();
        }
    }

    /// Asks for a look whatever is known.
    pub(super) fn look(&self) {
        self.look.store(true, Ordering::Release);
        self.ring();
    }

    /// Wakes the follower.
    pub(super) fn ring(&self) {
        // It can fail only when the counter is full, and then the bell rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Silences the bell; whether a look was asked for, or something is waiting.
    pub(super) fn answer(&self) -> bool {
        let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
        self.look.swap(false, Ordering::AcqRel) || !self.lock().pending.is_empty()
    }

    /// Takes what waits, before a look.
    pub(super) fn take(&self) -> HashSet<Key> {
        std::mem::take(&mut self.lock().pending)
    }

    /// Remembers what a look did not find; `anew` forgets the earlier ones.
    pub(super) fn settle(&self, fruitless: impl Iterator<Item = Key>, anew: bool) {
        let mut keys = self.lock();
        if anew || keys.fruitless.len() > MAX_KEYS {
            keys.fruitless.clear();
        }
        keys.fruitless.extend(fruitless);
    }

    /// Unknowns that did not fit.
    pub(super) fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        // The sets are whole after a panic of another holder: nothing between two changes can panic.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Wanted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_unknown_is_looked_for_once() {
        let wanted = Wanted::new().unwrap();
        assert!(!wanted.answer());
        wanted.miss(Key::Netns(1));
        wanted.miss(Key::Netns(1));
        assert!(wanted.answer());
        let taken = wanted.take();
        assert_eq!(taken, [Key::Netns(1)].into());
        wanted.settle(taken.into_iter(), false);
        wanted.miss(Key::Netns(1));
        assert!(!wanted.answer());
        wanted.miss(Key::Cgroup(1));
        assert!(wanted.answer());
        wanted.settle(std::iter::empty(), true);
        wanted.miss(Key::Netns(1));
        assert_eq!(wanted.take().len(), 2);
        wanted.look();
        assert!(wanted.answer());
    }

    #[test]
    fn the_list_is_bounded() {
        let wanted = Wanted::new().unwrap();
        (0..MAX_KEYS as u64 + 5).for_each(|id| wanted.miss(Key::Cgroup(id)));
        assert_eq!((wanted.take().len(), wanted.left_out()), (MAX_KEYS, 5));
    }
}
