//! How the hooks of netfilter are watched: by links, or by one program where the kernel begins to walk through them.

use aya::Btf;

use crate::bpf::hook_walk::{HookWalk, Means};
use crate::bpf::load::Loaded;
use crate::bpf::netfilter::{FirstHooks, Netfilter};
use crate::config::{Config, Feature};
use crate::http::status::HookStatus;
use crate::kernel::features::ByNetfilter;

/// Name of the line where there are no links.
const NAME: &str = "netfilter";
/// What is lost without either.
const LOST: &str = "drops by netfilter are seen without their hook";

/// What is attached.
#[derive(Debug)]
pub enum Watch {
    /// Links in the hooks.
    Links(Netfilter),
    /// The program at the walk.
    Walk(HookWalk),
    /// Nothing.
    Nothing,
}

impl Watch {
    /// The netfilter hooks in which nothing can drop a packet before our program sees it.
    pub fn first_hooks(&self) -> FirstHooks {
        match self {
            Self::Links(links) => links.first_hooks(),
            // The walk begins before whoever sits in the hook.
            Self::Walk(_) => [[true; 5]; 2],
            Self::Nothing => FirstHooks::default(),
        }
    }
}

/// Attaches by the best means there are. `btf` is the running kernel's, or why there is none to use.
pub fn attach(
    loaded: &mut Loaded,
    config: &Config,
    btf: Result<&Btf, &str>,
    hooks: &mut Vec<HookStatus>,
) -> (Watch, ByNetfilter) {
    let links = if config.wants(Feature::Netfilter) {
        Netfilter::attach(&loaded.ebpf).map_err(|error| error.to_string())
    } else {
        Err("switched off by --without netfilter".to_owned())
    };
    let why = match links {
        Ok(links) if links.links.iter().any(|link| link.link.is_ok()) => {
            let by = by_links(&links, hooks);
            return (Watch::Links(links), by);
        }
        Ok(links) => {
            let errors = links.links.iter().find_map(|link| link.link.as_ref().err());
            format!("the kernel refuses netfilter links: {}", errors.map(ToString::to_string).unwrap_or_default())
        }
        Err(why) => why,
    };
    let means = [(Means::Entry, Feature::Fentry), (Means::Probe, Feature::Kprobe)];
    let means: Vec<Means> =
        means.into_iter().filter(|(_, feature)| config.wants(*feature)).map(|(means, _)| means).collect();
    match HookWalk::attach(loaded, &means, btf) {
        Ok(walk) => {
            let detail = format!("{} at nf_hook_slow instead of links: {why}", walk.by.name());
            hooks.push(HookStatus { name: NAME.to_owned(), attached: true, detail: Some(detail) });
            let by = ByNetfilter::Walk(walk.by.name(), why);
            (Watch::Walk(walk), by)
        }
        Err(error) => {
            let why = if error.is_empty() { why } else { format!("{why}; {error}") };
            let detail = Some(format!("{why}: {LOST}"));
            hooks.push(HookStatus { name: NAME.to_owned(), attached: false, detail });
            (Watch::Nothing, ByNetfilter::Missing(why))
        }
    }
}

fn by_links(links: &Netfilter, hooks: &mut Vec<HookStatus>) -> ByNetfilter {
    let mut first_error = None;
    for link in &links.links {
        let name = format!("netfilter {} {}", link.hook, link.family);
        let (attached, detail) = match &link.link {
            Ok((priority, _)) => (true, format!("priority {priority}")),
            Err(error) => {
                first_error.get_or_insert_with(|| format!("{name}: {error}"));
                (false, format!("{error}: drops in this hook are seen without its name"))
            }
        };
        hooks.push(HookStatus { name, attached, detail: Some(detail) });
    }
    first_error.map_or(ByNetfilter::Links, ByNetfilter::SomeLinks)
}
