//! What a case plays on: the shop, a daemon beside it, and a list of what the case has caused.

use std::cell::RefCell;
use std::ops::Deref;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::case::{Context, Outcome};
use super::json::{contains, text};
use crate::{Client, Daemon, DaemonBuilder, Layout, Shop};

/// How long an event may take to be there. Far more than the product promises, which the latency case holds it to.
const WITHIN: Duration = Duration::from_secs(4);
/// How long is waited for an event too many.
const SETTLE: Duration = Duration::from_millis(120);

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
        all.retain(|event| contains(event, like));
        Ok(all)
    }

    /// Waits for this many events like this, makes sure that no more come, and returns them.
    pub fn expect(&self, count: usize, like: &Value) -> Result<Vec<Value>> {
        self.caused(like.clone());
        let end = Instant::now() + WITHIN;
        while self.events(like)?.len() < count && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(SETTLE);
        let found = self.events(like)?;
        if found.len() != count {
            let all: Vec<_> = events(self.client(), "")?.iter().map(Value::to_string).collect();
            anyhow::bail!(
                "{} events instead of {count} are like {like}; there are:\n{}",
                found.len(),
                all[all.len().saturating_sub(12)..].join("\n")
            );
        }
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

    /// Asks for the status until it fits.
    pub fn status_when(&self, what: &str, within: Duration, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + within;
        loop {
            let status = self.status()?;
            if fits(&status) {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "the status does not show within {within:?} that {what}: {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends a case: collects the problems that nothing has caused.
    pub fn finish(self, detail: impl Into<String>) -> Result<Outcome> {
        std::thread::sleep(SETTLE);
        let caused = self.caused.borrow();
        let mut problems = events(self.client(), "&severity=problem")?;
        problems.retain(|event| !caused.iter().any(|like| contains(event, like)));
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
