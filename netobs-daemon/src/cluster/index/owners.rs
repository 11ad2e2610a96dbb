//! The workload at the top of a pod's owner chain.
//!
//! The pod names its controller only. A `ReplicaSet` made by a Deployment is told by the label `pod-template-hash`, which
//! the Deployment controller sets and appends to the `ReplicaSet`'s name. Jobs and other `ReplicaSets` take a look at their
//! metadata, once for each UID: the index says what it wants to know ([`OwnerQuery`]), the watch asks and tells.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::cluster::object::{Owner, PodRecord};
use crate::event::observation::Workload;

/// Owners remembered at most.
const MAX_OWNERS: usize = 10_000;

/// A controller whose own controller is to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerQuery {
    /// Namespace.
    pub namespace: String,
    /// The controller: a `batch` Job or an `apps` `ReplicaSet`.
    pub owner: Owner,
}

#[derive(Debug)]
enum State {
    /// Asked, or about to be.
    Wanted,
    /// Looked up; `None`: it is the top itself, or could not be read.
    Known(Option<Workload>),
}

/// What is known of owners.
#[derive(Debug, Default)]
pub(super) struct Owners {
    states: HashMap<Arc<str>, State>,
    /// The order they came in, for forgetting the oldest.
    order: VecDeque<Arc<str>>,
    wanted: VecDeque<OwnerQuery>,
    /// Owners forgotten for want of room.
    pub(super) evicted: u64,
}

impl Owners {
    /// A pod's workload as far as it is known now.
    pub(super) fn workload(&mut self, pod: &PodRecord) -> Option<Workload> {
        let owner = pod.controller.as_ref()?;
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let itself = Workload { kind: owner.kind.clone(), name: owner.name.clone() };
        match (group, owner.kind.as_str()) {
            // The kubelet made it from a file: there is no workload.
            ("", "Node") => None,
            ("apps", "ReplicaSet") => {
                let hash = pod.pod_template_hash.as_deref().filter(|hash| !hash.is_empty());
                let deployment =
                    hash.and_then(|hash| owner.name.strip_suffix(hash)).and_then(|it| it.strip_suffix('-'));
                match deployment {
                    Some(name) if !name.is_empty() => Some(Workload { kind: "Deployment".into(), name: name.into() }),
                    _ => Some(self.look_up(pod, owner).unwrap_or(itself)),
                }
            }
            ("batch", "Job") => Some(self.look_up(pod, owner).unwrap_or(itself)),
            _ => Some(itself),
        }
    }

    fn look_up(&mut self, pod: &PodRecord, owner: &Owner) -> Option<Workload> {
        if owner.uid.is_empty() {
            return None;
        }
        match self.states.get(owner.uid.as_str()) {
            Some(State::Known(workload)) => return workload.clone(),
            Some(State::Wanted) => return None,
            None => {}
        }
        self.remember(owner.uid.as_str().into(), State::Wanted);
        if self.wanted.len() >= MAX_OWNERS {
            self.wanted.pop_front();
        }
        self.wanted.push_back(OwnerQuery { namespace: pod.key.namespace.clone(), owner: owner.clone() });
        None
    }

    /// What a look-up found. Also unasked: a metadata file may hold the owners itself.
    pub(super) fn learn(&mut self, uid: &str, workload: Option<Workload>) {
        if let Some(state) = self.states.get_mut(uid) {
            *state = State::Known(workload);
        } else {
            self.remember(uid.into(), State::Known(workload));
        }
    }

    /// The next look-up to make.
    pub(super) fn next_wanted(&mut self) -> Option<OwnerQuery> {
        while let Some(query) = self.wanted.pop_front() {
            // It may have been learnt, or forgotten, since.
            if matches!(self.states.get(query.owner.uid.as_str()), Some(State::Wanted)) {
                return Some(query);
            }
        }
        None
    }

    fn remember(&mut self, uid: Arc<str>, state: State) {
        if self.states.len() >= MAX_OWNERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.states.remove(&oldest);
            self.evicted += 1;
        }
        self.order.push_back(uid.clone());
        self.states.insert(uid, state);
    }
}
