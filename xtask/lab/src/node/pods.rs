//! Pods of a node: adding, removing, replacing.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use super::{Node, wire};
use crate::cgroup::Cgroup;
use crate::netns::Netns;
use crate::place::Place;
use crate::pod::{Pod, PodSpec};
use crate::random;

/// Numbers of pods, which are the last part of their addresses.
const NUMBERS: std::ops::RangeInclusive<u8> = 2..=239;

impl Node {
    /// Adds a pod: namespace, veth pair, addresses, cgroup and a process that does nothing.
    pub fn add_pod(&self, spec: PodSpec) -> Result<Arc<Pod>> {
        let mut state = self.state();
        ensure!(
            !state.pods.iter().any(|pod| pod.namespace() == spec.namespace && pod.name() == spec.name),
            "there is a pod {}/{} already",
            spec.namespace,
            spec.name
        );
        let free = |number: &u8| state.pods.iter().all(|pod| pod.number() != *number);
        let number = match spec.number {
            Some(number) => Some(number).filter(free),
            // Addresses are handed out in turn, as host-local IPAM does: one that has just become free comes last.
            None => NUMBERS.clone().cycle().skip(usize::from(state.next)).take(NUMBERS.count()).find(free),
        };
        let number = number.context("no free pod address")?;
        if spec.number.is_none() {
            state.next = number - NUMBERS.start() + 1;
        }
        let pod = Arc::new(self.make_pod(spec, number)?);
        state.pods.push(Arc::clone(&pod));
        self.refresh_services(&mut state)?;
        Ok(pod)
    }

    fn make_pod(&self, spec: PodSpec, number: u8) -> Result<Pod> {
        let uid = random::uuid();
        let container = random::hex(64);
        let name = format!("{}-{}.{}-{}", self.prefix(), spec.namespace, spec.name, random::hex(4));
        let directory = self.slot.cgroup().join("kubepods/besteffort").join(format!("pod{uid}")).join(&container);
        let place = Place::new(Netns::create(name)?, Cgroup::create(directory)?);
        let host = wire::host_interface_name(self.layout);
        let ips = self.plan().pod(number);
        wire::pod(self, &place, &host, ips).with_context(|| format!("wiring pod {}/{}", spec.namespace, spec.name))?;
        let node_file = self.netns().file();
        Pod::new(spec, uid, container, number, ips, host, node_file, place)
    }

    /// Removes a pod: its processes end, its interface and its namespace are gone when this returns. Its servers and
    /// sockets inside the lab's process, if somebody still holds them, lose their network at the same time.
    pub fn remove_pod(&self, pod: &Pod) -> Result<()> {
        let mut state = self.state();
        state.pods.retain(|other| other.uid() != pod.uid());
        pod.stop();
        self.refresh_services(&mut state)
    }

    /// Removes a pod and adds another that gets the same addresses at once.
    pub fn replace_pod(&self, old: &Pod, new: PodSpec) -> Result<Arc<Pod>> {
        self.remove_pod(old)?;
        self.add_pod(new.number(old.number()))
    }
}
