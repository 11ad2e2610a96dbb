//! A pod: its identity and the place its processes run in.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::cgroup;
use crate::netns;
use crate::place::Place;
use crate::process::Process;
use crate::random;
use crate::workload::Workload;

/// What a pod shall be like.
#[derive(Clone, Debug)]
pub struct PodSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) workload: Workload,
    pub(crate) number: Option<u8>,
    pub(crate) ready: bool,
}

impl PodSpec {
    /// A bare pod (without a controller), ready, with the label `app=NAME`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            namespace: namespace.into(),
            labels: BTreeMap::from([("app".to_owned(), name.clone())]),
            name,
            workload: Workload::None,
            number: None,
            ready: true,
        }
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Makes it a pod of this Deployment, through a `ReplicaSet`; the label `app` becomes the Deployment's name, and
    /// `pod-template-hash` is set as the Deployment controller sets it: it ends the `ReplicaSet`'s name.
    #[must_use]
    pub fn deployment(mut self, name: &str) -> Self {
        self.workload = Workload::deployment(&self.namespace, name);
        let replica_set = self.workload.owner().map(|owner| owner.name.clone()).unwrap_or_default();
        let hash = replica_set.rsplit('-').next().unwrap_or_default().to_owned();
        self.label("app", name).label("pod-template-hash", hash)
    }

    /// Makes it a pod of another workload.
    #[must_use]
    pub fn workload(mut self, workload: Workload) -> Self {
        self.workload = workload;
        self
    }

    /// Asks for the addresses with this number (2 to 239).
    #[must_use]
    pub const fn number(mut self, number: u8) -> Self {
        self.number = Some(number);
        self
    }

    /// Makes it a pod that is not ready: services have it as an endpoint that gets no traffic.
    #[must_use]
    pub const fn not_ready(mut self) -> Self {
        self.ready = false;
        self
    }
}

/// A pod on the lab's node. It dereferences to the [`Place`] in which its processes run.
#[derive(Debug)]
pub struct Pod {
    pause: Mutex<Option<Process>>,
    place: Place,
    spec: PodSpec,
    uid: String,
    container: String,
    number: u8,
    ips: (Ipv4Addr, Ipv6Addr),
    host_interface: String,
    node: Arc<File>,
    started: jiff::Timestamp,
    stopped: AtomicBool,
}

impl Pod {
    #[expect(clippy::too_many_arguments, reason = "called once, by Node::add_pod")]
    pub(crate) fn new(
        spec: PodSpec,
        uid: String,
        container: String,
        number: u8,
        ips: (Ipv4Addr, Ipv6Addr),
        host_interface: String,
        node: Arc<File>,
        place: Place,
    ) -> Result<Self> {
        let pause = place.spawn(place.command("sleep").arg("infinity")).context("the pod's idle process")?;
        Ok(Self {
            pause: Mutex::new(Some(pause)),
            place,
            spec,
            uid,
            container,
            number,
            ips,
            host_interface,
            node,
            started: jiff::Timestamp::now(),
            stopped: AtomicBool::new(false),
        })
    }

    /// Namespace of the Pod object.
    pub fn namespace(&self) -> &str {
        &self.spec.namespace
    }

    /// Name of the Pod object.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// `NAMESPACE/NAME`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.spec.namespace, self.spec.name)
    }

    /// UID of the Pod object, which is also in the path of its cgroup.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Labels.
    pub const fn labels(&self) -> &BTreeMap<String, String> {
        &self.spec.labels
    }

    /// What it is a pod of.
    pub const fn workload(&self) -> &Workload {
        &self.spec.workload
    }

    /// Whether it is ready.
    pub const fn ready(&self) -> bool {
        self.spec.ready
    }

    /// Id of its only container, 64 hexadecimal digits.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// When it was started.
    pub const fn started(&self) -> jiff::Timestamp {
        self.started
    }

    /// Number in the lab's [`AddressPlan`](crate::AddressPlan).
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// Its IPv4 address.
    pub const fn ipv4(&self) -> Ipv4Addr {
        self.ips.0
    }

    /// Its IPv6 address.
    pub const fn ipv6(&self) -> Ipv6Addr {
        self.ips.1
    }

    /// Both addresses, IPv4 first.
    pub const fn ips(&self) -> [IpAddr; 2] {
        [IpAddr::V4(self.ips.0), IpAddr::V6(self.ips.1)]
    }

    /// Its IPv4 address with a port.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.ips.0, port).into()
    }

    /// Its IPv6 address with a port.
    pub fn at6(&self, port: u16) -> SocketAddr {
        (self.ips.1, port).into()
    }

    /// Name of its interface on the node's side.
    pub fn host_interface(&self) -> &str {
        &self.host_interface
    }

    /// Process id of its idle process; none once the pod is removed.
    pub fn pause_pid(&self) -> Option<u32> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Process::pid)
    }

    /// Ends its processes, deletes its interface and the name of its namespace. Does nothing the second time.
    pub(crate) fn stop(&self) {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        drop(self.pause.lock().unwrap_or_else(PoisonError::into_inner).take());
        // The pod's cgroup directory is the parent of the container's.
        cgroup::destroy(self.place.cgroup().path().parent().unwrap_or(self.place.cgroup().path()));
        self.delete_interface();
        self.place.netns().forget_name();
    }

    /// Deletes the veth pair from the node's side, at once: the namespace itself may live on for a moment, held by
    /// sockets, and with it the route to the pod's address.
    fn delete_interface(&self) {
        let mut command = std::process::Command::new("ip");
        command.args(["link", "delete", &self.host_interface]).stderr(std::process::Stdio::null());
        let node = Arc::clone(&self.node);
        // SAFETY: one system call, no allocation between fork and exec; the closure owns its descriptor.
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(&mut command, move || Ok(netns::enter(node.as_fd())?));
        }
        if let Err(error) = command.status() {
            tracing::warn!(%error, interface = self.host_interface, "deleting a pod's interface");
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Deref for Pod {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

/// A name as a controller makes it: `NAME-SUFFIX`.
pub(crate) fn generated(name: &str, digits: usize) -> String {
    format!("{name}-{}", random::hex(digits))
}
