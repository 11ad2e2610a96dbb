//! The follower in a network namespace of its own, with real links, a "pod" and its cgroup.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::*;
use crate::kernel::privileges::Privileges;
use crate::netlink::socket::{Heard, Listener};
use crate::resolve::Places as _;

const UID: &str = "d8dfcecb-417c-4c71-a841-1c83b0fb2e62";

/// Runs `test` in a thread in a new network namespace, which goes with the thread; says why if that cannot be.
fn in_new_netns(test: impl FnOnce() + Send + 'static) {
    if !rustix::process::geteuid().is_root() || Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: needs root and the ip command");
        // The gate sets this where namespaces can be made: a skip would hide something there.
        assert!(std::env::var_os("NETOBS_REQUIRE_LAB").is_none_or(|value| value != "1"), "must run here");
        return;
    }
    let thread = std::thread::spawn(|| {
        // SAFETY: only the network namespace; commands started by this thread are to be in it.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A process in a namespace of its own.
struct PodGuard(Child);

impl PodGuard {
    fn start() -> Self {
        let own = crate::kernel::scope::own_netns().unwrap();
        let pod = Self(Command::new("unshare").args(["-n", "sleep", "300"]).spawn().unwrap());
        wait("the pod's namespace", || (pod.netns() != own).then_some(()));
        pod
    }

    fn netns(&self) -> u32 {
        std::fs::metadata(format!("/proc/{}/ns/net", self.0.id())).unwrap().ino() as u32
    }
}

impl Drop for PodGuard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cgroup that looks like a pod's container's. It goes when its last process is gone.
struct CgroupGuard(Vec<PathBuf>);

impl CgroupGuard {
    fn make() -> Option<Self> {
        let mount = PathBuf::from(cgroups::scan().mounts.first()?);
        let base = mount.join(format!("netobs-test-{}", std::process::id()));
        let directories = [base.clone(), base.join(format!("pod{UID}")), base.join(format!("pod{UID}/03ab"))];
        directories.iter().try_for_each(std::fs::create_dir).ok()?;
        Some(Self(directories.into()))
    }

    fn add(&self, pid: u32) {
        std::fs::write(self.0[2].join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for CgroupGuard {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn link(net: &NetHandle, name: &str) -> Option<Arc<Link>> {
    net.places().links().values().find(|link| &*link.name == name).cloned()
}

fn wait_role(net: &NetHandle, name: &str, role: Role) -> Arc<Link> {
    wait(&format!("{name} as {role:?}"), || link(net, name).filter(|link| link.role == role))
}

#[test]
fn links_and_places_follow_the_node() {
    in_new_netns(|| {
        let cgroup = CgroupGuard::make();
        ip("link add br0 type bridge");
        let all = Privileges { maps: true, files: true };
        let mut net = spawn(all, &CancellationToken::new()).unwrap();
        let mut events = net.take_link_events().unwrap();
        assert!(net.take_link_events().is_none());
        let first: Vec<Role> =
            [events.try_recv().unwrap(), events.try_recv().unwrap()].map(|event| event.link().role).into();
        assert_eq!(first, [Role::Loopback, Role::Bridge]);
        assert_eq!(net.places().own_netns(), crate::kernel::scope::own_netns().unwrap());

        // The runtime makes the interface first; a process of the pod comes later.
        let pod = PodGuard::start();
        ip(&format!("link add host0 mtu 1400 master br0 type veth peer name eth0 netns {}", pod.0.id()));
        let start = Instant::now();
        let host = wait_role(&net, "host0", Role::PodSide);
        println!("interface named after {:?}, look took {} us", start.elapsed(), net.places().state().last_look_us);
        assert_eq!((host.mtu, host.mac_header, host.kind.as_deref()), (1400, 14, Some("veth")));
        assert_eq!(host.master, link(&net, "br0").map(|bridge| bridge.ifindex));
        let interface = net.places().interface(host.ifindex).unwrap();
        assert_eq!(interface.peer_netns, Some(pod.netns()));
        assert!(net.places().scope_inodes().contains(&pod.netns()));
        assert_eq!(net.places().pod_uid_of_netns(pod.netns()), None);
        if let Some(cgroup) = &cgroup {
            cgroup.add(pod.0.id());
            let id = std::fs::metadata(&cgroup.0[2]).unwrap().ino();
            let uid = wait("the pod by namespace", || net.places().pod_uid_of_netns(pod.netns()));
            assert_eq!(&*uid, UID);
            assert_eq!(net.places().pod_uid_of_cgroup(id).as_deref(), Some(UID));
        } else {
            eprintln!("skipped in part: no cgroup v2 directory can be made here");
        }

        // A rename is no new link; a default route makes an uplink of a pair; taking it away does not.
        ip("link set host0 name cali1");
        assert_eq!(wait_role(&net, "cali1", Role::PodSide).ifindex, host.ifindex);
        ip("link set cali1 up");
        ip("address add 192.0.2.2/24 dev cali1");
        ip("route add default via 192.0.2.1 table 99");
        wait_role(&net, "cali1", Role::Uplink);
        ip("route del default table 99");
        wait_role(&net, "cali1", Role::PodSide);
        ip("-6 route add default dev cali1");
        wait_role(&net, "cali1", Role::Uplink);
        ip("link set cali1 down");
        wait_role(&net, "cali1", Role::PodSide);
        ip("link add vx0 type vxlan id 7 dstport 4789");
        wait_role(&net, "vx0", Role::Tunnel);
        ip("link add near0 type veth peer name near1");
        wait_role(&net, "near0", Role::Other);
        assert_eq!(link(&net, "near0").unwrap().peer_nsid, None);

        // Leaving the bridge is not going away.
        ip("link set cali1 nomaster");
        wait("the bridge's port to leave", || link(&net, "cali1").filter(|link| link.master.is_none()));
        ip("link del cali1");
        wait("the link to go", || link(&net, "cali1").is_none().then_some(()));
        let lingering = net.places().interface(host.ifindex).unwrap();
        assert_eq!((&*lingering.name, lingering.peer_netns), ("cali1", Some(pod.netns())));

        let told: Vec<LinkEvent> = std::iter::from_fn(|| events.try_recv().ok()).collect();
        let of_host: Vec<&LinkEvent> = told.iter().filter(|event| event.link().ifindex == host.ifindex).collect();
        assert!(matches!(of_host.first(), Some(LinkEvent::Added(_))));
        assert!(matches!(of_host.last(), Some(LinkEvent::Removed(_))));
        assert_eq!(of_host.iter().filter(|event| !matches!(event, LinkEvent::Changed(_))).count(), 2);
        println!("{:?}", net.places().state());

        let changed = net.changed();
        drop(net);
        assert!(changed.has_changed().is_err(), "the follower has ended");
        drop((pod, cgroup));
    });
}

#[test]
fn a_flood_that_netlink_cannot_keep_is_noticed() {
    in_new_netns(|| {
        ip("link add br0 type bridge");
        let mut listener = Listener::open(rtnetlink::link::GROUP).unwrap();
        let batch = tempfile::NamedTempFile::new().unwrap();
        let lines = "link set br0 mtu 1000\nlink set br0 mtu 1001\n".repeat(2000);
        std::fs::write(batch.path(), lines).unwrap();
        ip(&format!("-batch {}", batch.path().display()));
        let lost = std::iter::from_fn(|| Some(listener.hear(|_| {}).unwrap()))
            .take_while(|heard| *heard != Heard::Nothing)
            .filter(|heard| *heard == Heard::Lost)
            .count();
        assert!(lost >= 1);
    });
}
