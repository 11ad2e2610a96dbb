//! Each lack is told with what it hides and what would bring it.
#![allow(clippy::unwrap_used)]

use super::*;

fn everything() -> Probed {
    Probed {
        kfree_skb: AtTracepoint::Btf,
        send_reset: AtTracepoint::Btf,
        receive_reset: AtTracepoint::Btf,
        set_state: AtTracepoint::Btf,
        netfilter: ByNetfilter::Links,
        classifiers: None,
        drop_reason: true,
        receiver: true,
        too_big: true,
        reassembly: true,
        reset_reason: true,
        functions: true,
        absent: Vec::new(),
    }
}

/// The features that do not work as they could, and in what state they are.
fn check(probed: &Probed, expected: &[(&str, State)]) {
    let features = judge(probed);
    let lacking: Vec<_> = features
        .iter()
        .filter(|feature| feature.state != State::Works)
        .map(|feature| (feature.name.as_str(), feature.state))
        .collect();
    assert_eq!(lacking, expected);
    for feature in &features {
        assert_eq!(feature.lost.is_some(), feature.state != State::Works, "{feature:?}");
        assert_eq!(feature.brings.is_some(), feature.state != State::Works, "{feature:?}");
        assert!(feature.state != State::Missing || feature.why.is_some(), "{feature:?}");
    }
    let mut names: Vec<_> = features.iter().map(|feature| &feature.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), features.len());
}

#[test]
fn a_new_kernel_lacks_nothing() {
    check(&everything(), &[]);
}

#[test]
fn linux_5_10() {
    let probed = Probed {
        netfilter: ByNetfilter::Walk("fentry", "EINVAL".to_owned()),
        drop_reason: false,
        receiver: false,
        too_big: false,
        reassembly: false,
        reset_reason: false,
        ..everything()
    };
    let expected = [
        ("drop reasons", State::Degraded),
        ("receivers of drops", State::Degraded),
        ("reason of too big packets", State::Degraded),
        ("reason of lost fragments", State::Degraded),
        ("netfilter hooks", State::Degraded),
        ("reset reasons", State::Degraded),
    ];
    check(&probed, &expected);
    check(
        &Probed { functions: false, drop_reason: false, ..everything() },
        &[("drop reasons", State::Missing), ("kernel functions", State::Missing)],
    );
}

#[test]
fn what_was_refused() {
    let why = || "EPERM".to_owned();
    let probed = Probed {
        kfree_skb: AtTracepoint::Missing(why()),
        send_reset: AtTracepoint::Missing(why()),
        receive_reset: AtTracepoint::Raw(why()),
        netfilter: ByNetfilter::Missing(why()),
        classifiers: Some(why()),
        absent: vec!["nf_conn.status".to_owned()],
        ..everything()
    };
    let expected = [
        ("drops", State::Missing),
        ("netfilter hooks", State::Missing),
        ("address translation", State::Missing),
        ("interfaces", State::Missing),
        ("reset reasons", State::Missing),
    ];
    check(&probed, &expected);
    check(
        &Probed { netfilter: ByNetfilter::SomeLinks(why()), ..everything() },
        &[("netfilter hooks", State::Degraded)],
    );
}

#[test]
fn how_classifiers_are_attached() {
    let check = |wanted, tcx, clsact, by: &str, state| {
        let feature = interfaces(wanted, tcx, clsact, Some("EINVAL"));
        assert_eq!((feature.by.as_deref(), feature.state), (Some(by), state), "{wanted} {tcx} {clsact}");
        assert_eq!(feature.lost.is_some() && feature.why.is_some(), state != State::Works);
    };
    check(true, 0, 0, "tcx", State::Works);
    check(true, 3, 0, "tcx", State::Works);
    check(true, 3, 1, "tcx and clsact", State::Degraded);
    check(true, 0, 4, "clsact", State::Degraded);
    check(false, 0, 4, "clsact", State::Degraded);
    check(false, 0, 0, "clsact", State::Works);
}

#[test]
fn what_is_switched_off_comes_back_by_leaving_the_option_out() {
    let why = "switched off by --without netfilter; kprobe: no such file".to_owned();
    let features = judge(&Probed { netfilter: ByNetfilter::Missing(why), ..everything() });
    let hooks = features.iter().find(|feature| feature.name == "netfilter hooks").unwrap();
    assert_eq!(hooks.brings.as_deref(), Some("leaving out --without netfilter"));
    let by_filters = interfaces(false, 0, 3, None);
    assert_eq!(by_filters.brings.as_deref(), Some("leaving out --without tcx"));
    assert_eq!(interfaces(true, 0, 3, Some("EINVAL")).brings.as_deref(), Some("Linux 6.6 or later"));
}
