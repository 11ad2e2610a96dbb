//! The pod UID in a cgroup path.
//!
//! kubelet's cgroupfs driver names a pod's directory `pod<uid>`, its systemd driver
//! `kubepods[-<class>]-pod<uid>.slice` with the UID's dashes as underscores (a dash separates levels in slice names;
//! `pkg/kubelet/cm/cgroup_manager_linux.go`). Kubelet's `--cgroup-root` puts further components or prefixes in front.
//! A static pod has the MD5 of its manifest: 32 hex digits without dashes.

/// Lengths of the groups of a UUID (RFC 9562 section 4).
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// The UID in a path, in the API's spelling; the outermost, where kubelets are nested.
pub fn of_path(path: &str) -> Option<String> {
    path.split('/').find_map(of_directory)
}

/// The UID in the name of a directory.
pub fn of_directory(name: &str) -> Option<String> {
    if let Some(slice) = name.strip_suffix(".slice") {
        let (_, uid) =
            slice.rsplit_once("-pod").or_else(|| slice.split_at_checked(3).filter(|(pod, _)| *pod == "pod"))?;
        return normal(uid, '_');
    }
    normal(name.strip_prefix("pod")?, '-')
}

fn normal(uid: &str, separator: char) -> Option<String> {
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if uid.len() == 32 && hex(uid) {
        return Some(uid.to_owned());
    }
    let mut groups = uid.split(separator);
    let fits = GROUPS.iter().all(|&length| groups.next().is_some_and(|group| group.len() == length && hex(group)));
    (fits && groups.next().is_none()).then(|| uid.replace(separator, "-"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "d8dfcecb-417c-4c71-a841-1c83b0fb2e62";
    const HASH: &str = "87633c8dda1a2329bed58632e2d79247";

    fn check(path: &str, expected: Option<&str>) {
        assert_eq!(of_path(path).as_deref(), expected, "{path}");
    }

    #[test]
    fn shapes() {
        for path in [
            "/kubepods/podd8dfcecb-417c-4c71-a841-1c83b0fb2e62/03ab",
            "/kubepods/burstable/podd8dfcecb-417c-4c71-a841-1c83b0fb2e62",
            "/../../podd8dfcecb-417c-4c71-a841-1c83b0fb2e62/03ab",
            "/kubepods.slice/kubepods-podd8dfcecb_417c_4c71_a841_1c83b0fb2e62.slice/cri-containerd-03ab.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podd8dfcecb_417c_4c71_a841_1c83b0fb2e62.slice/crio-03ab.scope",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podd8dfcecb_417c_4c71_a841_1c83b0fb2e62.slice/x",
            // Nested: the pod on this node is the outer one.
            "/kubepods/podd8dfcecb-417c-4c71-a841-1c83b0fb2e62/c/kubepods/pod00000000-417c-4c71-a841-1c83b0fb2e62",
        ] {
            check(path, Some(UID));
        }
        check("/kubepods/besteffort/pod87633c8dda1a2329bed58632e2d79247/53b1", Some(HASH));
        check("/kubepods.slice/kubepods-besteffort-pod87633c8dda1a2329bed58632e2d79247.slice/x.scope", Some(HASH));
        for path in [
            "",
            "/",
            "/kubepods/burstable",
            "/system.slice/containerd.service",
            "/system.slice/podman.service",
            "/machine.slice/libpod-53b182a0be7c6d9d1ea64ddd9eb95575594451b9d26782dc0fe0bf385020c001.scope",
            "/kubepods/podd8dfcecb-417c-4c71-a841-1c83b0fb2e6",
            "/kubepods/podd8dfcecb-417c-4c71-a841-1c83b0fb2e62a",
            "/kubepods/podD8DFCECB-417c-4c71-a841-1c83b0fb2e62",
            "/kubepods/podd8dfcecb_417c_4c71_a841_1c83b0fb2e62",
            "/kubepods.slice/kubepods-podd8dfcecb-417c-4c71-a841-1c83b0fb2e62.slice",
        ] {
            check(path, None);
        }
    }

    fn fixture(name: &str) -> String {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroup").join(name);
        std::fs::read_to_string(path).unwrap()
    }

    /// What a person reads off a recorded path of the cgroupfs driver.
    fn by_eye(path: &str) -> Option<&str> {
        let start = path.find("/pod")? + 4;
        Some(path[start..].split('/').next().unwrap())
    }

    #[test]
    fn every_recorded_process() {
        let text = fixture("proc-cgroup.txt");
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(":/"))
            .filter(|line| line.as_bytes()[0].is_ascii_digit())
            .collect();
        assert_eq!(lines.len(), 240);
        for line in lines {
            let path = line.splitn(3, ':').nth(2).unwrap();
            check(path, by_eye(path));
            assert!(of_path(path).is_some(), "{line}");
        }
    }

    #[test]
    fn every_recorded_directory() {
        let text = fixture("kubepods-tree.txt");
        let found = text.lines().filter(|line| !line.trim().is_empty()).filter(|line| {
            check(line, by_eye(line));
            of_path(line).is_some()
        });
        assert!(found.count() > 50);
    }

    proptest! {
        #[test]
        fn any_text_gives_a_well_formed_uid_or_none(path in r"(/|pod|kubepods|-pod|\.slice|[0-9a-f_-]{1,40}|é|\PC){0,12}") {
            if let Some(uid) = of_path(&path) {
                prop_assert!(uid.len() == 32 || uid.len() == 36);
                prop_assert!(uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
            }
        }
    }
}
