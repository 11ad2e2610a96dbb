//! What a case plays on: the shop, a daemon beside it, and a list of what the case has caused.

use std::cell::RefCell;
use std::ops::Deref;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::case::{Context, Outcome};
use super::json::{contains, number, text};
use super::ledger::is_settled;
use crate::slow::patience;
use crate::{Client, Daemon, DaemonBuilder, Layout, Shop};

/// How long an event may take to be there. Far more than the product promises, which the latency case holds it to.
const WITHIN: Duration = Duration::from_secs(8);
/// How long is waited for an event too many.
const SETTLE: Duration = Duration::from_millis(120);

/// How long the sums of a burst may take to be there, and how long is waited for one too many: they are told every second.
const SUMS_WITHIN: Duration = Duration::from_secs(15);
const SUMS_SETTLE: Duration = Duration::from_millis(1200);
/// How long the ledger may take to settle once nothing happens any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// A shop with a daemon. It dereferences to the [`Shop`].
#[derive(Debug)]
pub struct Stage {
    // Fields drop in this order: the daemon goes before its node.
    /// The daemon.
    pub daemon: Daemon,
    shop: Shop,
    caused: RefCell<Vec<Value>>,
}

impl Deref for Stage {
    type Target = Shop;

    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl Stage {
    /// A shop on a bridge and a daemon that has its names from the shop's API server.
    pub fn start(context: &Context) -> Result<Self> {
        Self::with(context, |daemon| daemon)
    }

    /// The same with a say in how the daemon is started.
    pub fn with(context: &Context, options: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> Result<Self> {
        Self::on(context, Shop::start(Layout::Bridge)?, options)
    }

    /// The same on a shop that is there already.
    pub fn on(context: &Context, shop: Shop, options: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> Result<Self> {
        let builder = Daemon::builder(&context.netobs).kubeconfig(shop.api.kubeconfig());
        let daemon = options(builder).start(&shop.node)?;
        Ok(Self::around(shop, daemon))
    }

    /// Around a daemon that was started by hand.
    pub const fn around(shop: Shop, daemon: Daemon) -> Self {
        Self { daemon, shop, caused: RefCell::new(Vec::new()) }
    }

    /// Puts another daemon in the place of this one, and returns this one.
    pub const fn replace_daemon(&mut self, daemon: Daemon) -> Daemon {
        std::mem::replace(&mut self.daemon, daemon)
    }

    /// Keeps a server running as long as the stage.
    pub fn keep(&mut self, server: crate::Server) {
        self.shop.keep(server);
    }

    /// Tells the API server what pods and Services the node has now, and waits until the daemon knows them.
    pub fn sync(&self) -> Result<()> {
        self.api.sync_from(&self.node);
        let known = json!({"metadata": {"pods": self.node.pods().len(), "services": self.node.services().len()}});
        self.status_when("the new names are known", WITHIN, |status| contains(status, &known))?;
        // Where a Service's pods are comes from another watch, which the status does not count.
        std::thread::sleep(SETTLE);
        Ok(())
    }

    /// The daemon's client.
    pub const fn client(&self) -> &Client {
        self.daemon.client()
    }

    /// Says that events like this are no false alarms.
    pub fn caused(&self, like: Value) {
        self.caused.borrow_mut().push(like);
    }

    /// All events that are held and like this, oldest first.
    pub fn events(&self, like: &Value) -> Result<Vec<Value>> {
        let mut all = events(self.client(), "")?;
        all.retain(|event| contains(event, like) && self.is_ours(event));
        Ok(all)
    }

    /// Whether an event can be about this lab. The kernel does not say in which namespace fragments waited that it gives
    /// up, so a daemon hears of those of the labs beside it, too.
    fn is_ours(&self, event: &Value) -> bool {
        let is_foreign = |end: &str| {
            let ip = text(event, end).parse();
            ip.is_ok_and(|ip| !self.shop.node.plan().contains(ip))
        };
        event["mtu"]["cause"] != "reassembly_failed"
            || !event["netns"].is_null()
            || !(is_foreign("/flow/source_ip") && is_foreign("/flow/destination_ip"))
    }

    /// Waits for this many events like this, makes sure that no more come, and returns them.
    pub fn expect(&self, count: usize, like: &Value) -> Result<Vec<Value>> {
        self.caused(like.clone());
        let end = Instant::now() + patience(WITHIN);
        while self.events(like)?.len() < count && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(patience(SETTLE));
        let found = self.events(like)?;
        if found.len() != count {
            anyhow::bail!(
                "{} events instead of {count} are like {like}; the ledger of drops: {}; there are:\n{}",
                found.len(),
                self.ledger(&"drop".into())?,
                self.tail(like)?
            );
        }
        Ok(found)
    }

    /// The ledger's lines of the family of this name, without its sums.
    fn ledger(&self, family: &Value) -> Result<Value> {
        let mut status = self.status()?;
        let families = status["ledger"]["families"].as_array_mut().context("no ledger")?;
        let found = families.iter_mut().find(|found| found["family"] == *family);
        Ok(found.map(|found| json!({"kernel": found["kernel"].take(), "daemon": found["daemon"].take()})).into())
    }

    /// The last problems and the last events of the kind that is wanted, a line each.
    fn tail(&self, like: &Value) -> Result<String> {
        let mut all = events(self.client(), "")?;
        all.retain(|event| event["severity"] == "problem" || event["kind"] == like["kind"]);
        let all: Vec<_> = all.iter().map(Value::to_string).collect();
        Ok(all[all.len().saturating_sub(12)..].join("\n"))
    }

    /// Waits until events like this stand for so many packets, makes sure that they do not stand for more, and returns
    /// them. Sums of bursts are told every second.
    pub fn told(&self, like: &Value, packets: u64) -> Result<Vec<Value>> {
        self.caused(like.clone());
        let sum = |events: &[Value]| events.iter().map(|event| number(event, "/count")).sum::<u64>();
        let end = Instant::now() + patience(SUMS_WITHIN);
        while sum(&self.events(like)?) < packets && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(SUMS_SETTLE);
        let found = self.events(like)?;
        let told = sum(&found);
        ensure!(
            told == packets,
            "{} events like {like} stand for {told} packets instead of {packets}; the ledger: {}; there are:\n{}",
            found.len(),
            self.ledger(&like["kind"])?,
            self.tail(like)?
        );
        Ok(found)
    }

    /// The one event like this; an error if there are more.
    pub fn one(&self, like: &Value) -> Result<Value> {
        self.expect(1, like)?.pop().context("one event")
    }

    /// `/v1/status`.
    pub fn status(&self) -> Result<Value> {
        self.client().get_json("/v1/status")
    }

    /// What the daemon says of a feature: cases promise what this kernel can, and never look at its version.
    pub fn feature(&self, name: &str) -> Result<Value> {
        let status = self.status()?;
        let feature = status["features"].as_array().into_iter().flatten().find(|feature| feature["name"] == name);
        feature.cloned().with_context(|| format!("the status has no feature {name:?}: {}", status["features"]))
    }

    /// Whether packets are met in netfilter's hooks by programs in the hooks themselves.
    pub fn has_netfilter_links(&self) -> Result<bool> {
        Ok(self.feature("netfilter hooks")?["by"] == "netfilter links")
    }

    /// Asks for the status until it fits.
    pub fn status_when(&self, what: &str, within: Duration, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + patience(within);
        loop {
            let status = self.status()?;
            if fits(&status) {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "the status does not show within {within:?} that {what}: {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends a case in which the loss ledger has to hold: waits until it is settled.
    pub fn finish_settled(self, detail: impl Into<String>) -> Result<Outcome> {
        self.status_when("the ledger is settled and holds", SETTLED_WITHIN, is_settled)?;
        self.finish(detail)
    }

    /// Ends a case: collects the problems that nothing has caused.
    pub fn finish(self, detail: impl Into<String>) -> Result<Outcome> {
        std::thread::sleep(patience(SETTLE));
        let caused = self.caused.borrow();
        let mut problems = events(self.client(), "&severity=problem")?;
        problems.retain(|event| self.is_ours(event) && !caused.iter().any(|like| contains(event, like)));
        let false_alarms = problems.iter().map(|event| format!("{} {event}", text(event, "/summary"))).collect();
        Ok(Outcome { detail: detail.into(), false_alarms })
    }
}

/// All events that a daemon holds, oldest first, page by page.
pub fn events(client: &Client, filters: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut page = client.get_json(&format!("/v1/events?order=oldest&limit=1000{filters}{cursor}"))?;
        let events = page.get_mut("events").and_then(Value::as_array_mut).context("a page without events")?;
        all.append(events);
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}
