//! The lines of `/v1/status` about how classifiers are attached to interfaces: tcx, and clsact where it takes its place.

use crate::bpf::classifiers::InUse;
use crate::http::status::HookStatus;

/// Name of the tcx line.
pub const TCX: &str = "tcx";

/// The lines. `tcx_wanted`: it is not switched off.
pub fn lines(tcx_wanted: bool, in_use: &InUse) -> Vec<HookStatus> {
    let InUse { tcx, clsact, refusal } = in_use;
    let (attached, detail) = match refusal {
        _ if !tcx_wanted => (false, Some("switched off by --without tcx: clsact is used instead".to_owned())),
        Some(why) if *tcx == 0 => (false, Some(format!("the kernel refuses it ({why}): clsact is used instead"))),
        Some(why) if *clsact > 0 => {
            (true, Some(format!("some interfaces refuse it ({why}): they have clsact filters instead")))
        }
        // Nothing has refused it, or what did is gone.
        _ => (true, None),
    };
    let mut lines = vec![HookStatus { name: TCX.to_owned(), attached, detail }];
    if *clsact > 0 || !attached {
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
        let none = lines(true, &InUse::default());
        assert_eq!(none, [HookStatus { name: "tcx".to_owned(), attached: true, detail: None }]);
        let check = |wanted, tcx, clsact, expected: &[(&str, bool, Option<&str>)]| {
            let lines = lines(wanted, &InUse { tcx, clsact, refusal: Some("EINVAL".to_owned()) });
            let lines: Vec<_> = lines.iter().map(|l| (l.name.as_str(), l.attached, l.detail.as_deref())).collect();
            assert_eq!(lines, expected);
        };
        check(true, 3, 0, &[("tcx", true, None)]);
        let refused = "the kernel refuses it (EINVAL): clsact is used instead";
        // Its interfaces are all too new yet.
        check(true, 0, 0, &[("tcx", false, Some(refused)), ("clsact", false, Some("0 interfaces"))]);
        check(true, 0, 2, &[("tcx", false, Some(refused)), ("clsact", true, Some("2 interfaces"))]);
        let some = "some interfaces refuse it (EINVAL): they have clsact filters instead";
        check(true, 5, 1, &[("tcx", true, Some(some)), ("clsact", true, Some("1 interface"))]);
        let off = "switched off by --without tcx: clsact is used instead";
        check(false, 0, 2, &[("tcx", false, Some(off)), ("clsact", true, Some("2 interfaces"))]);
        check(false, 0, 0, &[("tcx", false, Some(off)), ("clsact", false, Some("0 interfaces"))]);
    }
}
