//! What a filter of ours is known by, and what is to be done about the filters that are found. Pure.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use super::message::Row;

/// Our handle, "neto". Handles are unique within a preference only, so it is not alone what makes a filter ours; but it is
/// not 1, which is what others use (Cilium and Retina: preference 1, handle 1, replacing whatever is there).
pub(super) const HANDLE: NonZeroU32 = NonZeroU32::new(0x6e65_746f).unwrap();

/// `ETH_P_ALL`.
pub(super) const PROTOCOL: u16 = 3;

/// Our preferences: the first free one is taken. Early, so that a filter that ends a packet's way does not hide it from us;
/// but not the first three, because a preference has one kind and one protocol: while ours sits in it, somebody's
/// `tc filter add pref 1 protocol ip flower …` would be refused (`tc_new_tfilter`, `net/sched/cls_api.c`). Nor would those
/// win us anything against a bpf filter that comes later: in the same preference the newest goes first. Preferences that
/// the kernel chooses begin at 49152 and go down.
///
/// A later version that chooses others must still know these: a filter may outlive the version that made it.
pub(super) const PREFERENCES: RangeInclusive<u16> = 4..=11;

/// The name of a filter of ours: which direction it is for, and who owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark<'a> {
    pub egress: bool,
    /// See [`Owner`](super::owner::Owner).
    pub owner: &'a str,
}

/// Beginnings of names. The direction is in it because an interface with an `ingress` qdisc shows its ingress filters when it
/// is asked for those of its egress, too.
const NAMES: [&str; 2] = ["netobs-ingress:", "netobs-egress:"];
/// Longest owner that is believed; it has to fit a socket's name, 107 bytes.
const MAX_OWNER: usize = 64;

impl<'a> Mark<'a> {
    /// As a filter's name.
    pub(super) fn name(self) -> String {
        format!("{}{}", NAMES[usize::from(self.egress)], self.owner)
    }

    fn parse(name: &'a str) -> Option<Self> {
        let (egress, owner) = match name.strip_prefix(NAMES[0]) {
            Some(owner) => (false, owner),
            None => (true, name.strip_prefix(NAMES[1])?),
        };
        let plausible = (1..=MAX_OWNER).contains(&owner.len())
            && owner.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plausible.then_some(Self { egress, owner })
    }

    /// The mark of a filter that some netobs made; `None` for all others. Everything has to fit.
    pub(super) fn of(row: &'a Row) -> Option<Self> {
        let ours = row.is_bpf
            && row.handle == HANDLE.get()
            && row.chain == 0
            && row.protocol == PROTOCOL
            && PREFERENCES.contains(&row.preference);
        if ours { Self::parse(row.name.as_deref()?) } else { None }
    }
}

/// Preferences that a filter of ours may take: of those meant for us, the ones where nobody is.
pub(super) fn free_preferences(rows: &[Row]) -> impl Iterator<Item = u16> + '_ {
    PREFERENCES.filter(|preference| !rows.iter().any(|row| row.chain == 0 && row.preference == *preference))
}

/// The preferences of the filters of this direction whose owner `is_meant`.
pub(super) fn marked<'a>(
    rows: &'a [Row],
    egress: bool,
    mut is_meant: impl FnMut(&str) -> bool + 'a,
) -> impl Iterator<Item = u16> + 'a {
    rows.iter().filter_map(move |row| {
        let mark = Mark::of(row)?;
        (mark.egress == egress && is_meant(mark.owner)).then_some(row.preference)
    })
}

/// Where our filter is among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Nobody else's goes before it.
    First,
    /// Somebody's goes before it. A netobs's does not count: it lets every packet pass on.
    Behind,
    /// It is not there.
    Absent,
}

/// Where the filter with this mark is.
pub(super) fn position(rows: &[Row], own: Mark<'_>) -> Position {
    let mut behind = false;
    for row in rows.iter().filter(|row| row.chain == 0 && row.handle != 0) {
        match Mark::of(row) {
            Some(mark) if mark == own => return if behind { Position::Behind } else { Position::First },
            Some(_) => {}
            None => behind = true,
        }
    }
    Position::Absent
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Mark<'_> = Mark { egress: false, owner: "7-ab" };

    fn bpf(preference: u16, handle: u32, name: &str) -> Row {
        Row { preference, protocol: PROTOCOL, chain: 0, handle, is_bpf: true, name: Some(name.to_owned()) }
    }

    fn ours(preference: u16, mark: Mark<'_>) -> Row {
        bpf(preference, HANDLE.get(), &mark.name())
    }

    fn other(preference: u16) -> Row {
        Row { is_bpf: false, name: None, ..bpf(preference, 0x8000_0800, "") }
    }

    #[test]
    fn only_what_fits_in_everything_is_ours() {
        let row = ours(4, OWN);
        assert_eq!(Mark::of(&row), Some(OWN));
        let egress = Mark { egress: true, owner: "1-0" };
        assert_eq!(Mark::of(&ours(11, egress)), Some(egress));
        for foreign in [
            other(4),
            Row { preference: 1, ..row.clone() },
            Row { preference: 12, ..row.clone() },
            Row { handle: 1, ..row.clone() },
            Row { handle: 0, ..row.clone() },
            Row { chain: 1, ..row.clone() },
            Row { protocol: 0x0800, ..row.clone() },
            Row { is_bpf: false, ..row.clone() },
            Row { name: None, ..row },
            bpf(4, HANDLE.get(), "cil_from_container-eth0"),
            bpf(4, HANDLE.get(), "netobs-ingress:"),
            bpf(4, HANDLE.get(), "netobs-ingress:1/2"),
            bpf(4, HANDLE.get(), &format!("netobs-ingress:{}", "1".repeat(65))),
            bpf(4, HANDLE.get(), "netobs-aside:1-2"),
        ] {
            assert_eq!(Mark::of(&foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn a_preference_that_is_taken_is_not_shared() {
        let free = |rows: &[Row]| free_preferences(rows).collect::<Vec<_>>();
        assert_eq!(free(&[]), [4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(free(&[other(1), other(4), ours(5, OWN)]), [6, 7, 8, 9, 10, 11]);
        // Only its place is left.
        assert_eq!(free(&[Row { handle: 0, ..other(4) }])[0], 5);
        // Another chain's preferences are its own.
        assert_eq!(free(&[Row { chain: 3, ..other(4) }])[0], 4);
        let all: Vec<Row> = PREFERENCES.map(other).collect();
        assert!(free(&all).is_empty());
    }

    #[test]
    fn stale_are_those_of_the_dead_and_of_the_direction() {
        let dead = Mark { egress: false, owner: "9-1" };
        let rows = [
            other(1),
            ours(4, OWN),
            ours(5, dead),
            ours(6, Mark { egress: true, ..dead }),
            bpf(7, HANDLE.get(), "somebody"),
        ];
        let stale: Vec<_> = marked(&rows, false, |owner| owner == dead.owner).collect();
        assert_eq!(stale, [5]);
        assert_eq!(marked(&rows, true, |owner| owner == dead.owner).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn positions() {
        let second = ours(4, Mark { owner: "8-1", ..OWN });
        let own = ours(5, OWN);
        let place = Row { handle: 0, ..other(1) };
        for (rows, expected) in [
            (&[][..], Position::Absent),
            (&[other(1)], Position::Absent),
            (&[ours(5, Mark { egress: true, ..OWN })], Position::Absent),
            (std::slice::from_ref(&own), Position::First),
            (&[place, second.clone(), own.clone(), other(12)], Position::First),
            (&[Row { chain: 2, ..other(1) }, own.clone()], Position::First),
            (&[other(1), own.clone()], Position::Behind),
            // In our own preference, newer than ours.
            (&[bpf(5, 1, "somebody"), own.clone()], Position::Behind),
            (&[second, other(4), own.clone()], Position::Behind),
        ] {
            assert_eq!(position(rows, OWN), expected, "{rows:?}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_a_mark_that_writes_itself_or_none(name in ".{0,120}") {
            for name in [name.clone(), format!("{}{name}", NAMES[0]), format!("{}{name}", NAMES[1])] {
                if let Some(mark) = Mark::parse(&name) { prop_assert_eq!(mark.name(), name); }
            }
        }
    }
}
