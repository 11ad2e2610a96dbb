//! What this kernel, these rights and this configuration let the daemon do: everything is loaded and attached as the daemon
//! does it, told, and detached. Nothing stays.

use anyhow::{Context as _, Result};
use netobs_common::LOOPBACK;

use super::{names, programs};
use crate::bpf::classifiers::Placement;
use crate::config::{Config, Feature as Switch};
use crate::kernel::facts::Facts;
use crate::kernel::features::{self, Checked, Feature, Probed};
use crate::kernel::preflight::Preflight;
use crate::kernel::scope;

/// Finds out.
pub fn check(config: &Config) -> Checked {
    let preflight = Preflight::run(config.btf.is_some());
    let kernel = preflight.release.clone();
    let fatal = preflight.missing.into_iter().find(|missing| missing.fatal);
    let found = match fatal {
        Some(missing) => Err(missing.sentence),
        None => load(config).map_err(|error| format!("{error:#}")),
    };
    let (features, cannot_run) = match found {
        Ok(features) => (features, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    Checked { version: env!("CARGO_PKG_VERSION").to_owned(), kernel, cannot_run, features }
}

fn load(config: &Config) -> Result<Vec<Feature>> {
    let facts = Facts::read(config.btf.as_deref()).context("the kernel's BTF cannot be read")?;
    let own_netns = scope::own_netns().context("the network namespace is unknown")?;
    let programs = programs::load(config, &facts, own_netns)?;
    let names = names::Names::new(facts.reasons, facts.reset_reasons, programs.first_hooks);
    let probed = Probed { functions: names.has_functions(), ..programs.probed };
    let mut features = features::judge(&probed);
    if let Some(classifiers) = programs.classifiers {
        let wanted = config.wants(Switch::Tcx);
        // A filter would leave its qdisc behind, so where tcx is refused it is only said what the daemon does then.
        let refusal = classifiers.try_tcx(LOOPBACK, Placement::Upper).err().map(|error| error.to_string());
        let (tcx, clsact) = if wanted && refusal.is_none() { (1, 0) } else { (0, 1) };
        features.push(features::interfaces(wanted, tcx, clsact, refusal.as_deref().filter(|_| wanted)));
    }
    programs.kernel.detach();
    Ok(features)
}
