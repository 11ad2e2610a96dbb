//! The lines of `/v1/status` about how classifiers are attached to interfaces: tcx, and clsact where it takes its place.

use crate::bpf::classifiers::InUse;
use crate::http::status::HookStatus;

/// Name of the tcx line.
pub const TCX: &str = "tcx";

/// The lines. `tcx_wanted`: it is not switched off.
pub fn lines(tcx_wanted: bool, in_use: &InUse) -> Vec<HookStatus> {
    let InUse { tcx, clsact, refusal } = in_use;
    let refusal = refusal.as_deref().unwrap_or("no reason given");
    let (attached, detail) = match (tcx_wanted, tcx, clsact) {
        (false, ..) => (false, Some("switched off by --without tcx: clsact is used instead".to_owned())),
        (true, _, 0) => (true, None),
        (true, 0, _) => (false, Some(format!("the kernel refuses it ({refusal}): clsact is used instead"))),
        (true, ..) => (true, Some(format!("some interfaces refuse it ({refusal}): they have clsact filters instead"))),
    };
    let mut lines = vec![HookStatus { name: TCX.to_owned(), attached, detail }];
    if *clsact > 0 || !tcx_wanted {
        let interfaces = if *clsact == 1 { "1 interface".to_owned() } else { format!("{clsact} interfaces") };
        lines.push(HookStatus { name: "clsact".to_owned(), attached: *clsact > 0, detail: Some(interfaces) });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clsact_is_told_where_it_is_used() {
        let check = |wanted, tcx, clsact, expected: &[(&str, bool, Option<&str>)]| {
            let lines = lines(wanted, &InUse { tcx, clsact, refusal: Some("EINVAL".to_owned()) });
            let lines: Vec<_> = lines.iter().map(|l| (l.name.as_str(), l.attached, l.detail.as_deref())).collect();
            assert_eq!(lines, expected);
        };
        check(true, 0, 0, &[("tcx", true, None)]);
        check(true, 3, 0, &[("tcx", true, None)]);
        let refused = "the kernel refuses it (EINVAL): clsact is used instead";
        check(true, 0, 2, &[("tcx", false, Some(refused)), ("clsact", true, Some("2 interfaces"))]);
        let some = "some interfaces refuse it (EINVAL): they have clsact filters instead";
        check(true, 5, 1, &[("tcx", true, Some(some)), ("clsact", true, Some("1 interface"))]);
        let off = "switched off by --without tcx: clsact is used instead";
        check(false, 0, 2, &[("tcx", false, Some(off)), ("clsact", true, Some("2 interfaces"))]);
        check(false, 0, 0, &[("tcx", false, Some(off)), ("clsact", false, Some("0 interfaces"))]);
    }
}
