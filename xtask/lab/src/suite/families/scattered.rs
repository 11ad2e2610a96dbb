//! A flood to more receivers than there are buckets for.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::packet::{self, RST, Segment};
use crate::suite::json::{must, number, pod};
use crate::suite::{Context, Outcome, Stage};

/// Receivers: half as many again as there are buckets for pairs of addresses.
const RECEIVERS: u16 = 12_288;
/// Resets to each.
const ROUNDS: u64 = 4;
/// How soon the flood is over once it is.
const END: Duration = Duration::from_secs(30);

/// Its resets are counted exactly, under the name of their sender.
pub fn storm_to_many_counts_exactly(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    // Nobody is there: a rule ends them in front of the uplink.
    stage.node.nft(
        "table ip lab-scattered {\n\
           chain forward {\n\
             type filter hook forward priority -10\n\
             ip daddr 198.18.0.0/15 drop\n\
           }\n\
         }\n",
    )?;
    // The drops are a storm of their own, told in sums in the end.
    stage.caused(json!({"kind": "drop"}));
    stage.caused(json!({"kind": "reset"}));
    let storming = &stage.web[0];
    let to = |number: u16| {
        SocketAddr::from((Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + u32::from(number)), 7000))
    };
    let from = SocketAddr::from((storming.ipv4(), 40_000));
    let segment = Segment { sequence: 1, acknowledgment: 0, flags: RST };
    let packets: Vec<_> = (0..RECEIVERS)
        .map(|number| packet::tcp(from, to(number), segment))
        .collect::<Option<_>>()
        .context("packets")?;
    let total = u64::from(RECEIVERS) * ROUNDS;
    storming.raw_sender(to(0))?.flood(&packets, total)?;
    let over = json!({"kind": "flood", "flood": {"phase": "end"}, "source": pod(storming)});
    let end = std::time::Instant::now() + END;
    while stage.events(&over)?.is_empty() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    let over = stage.one(&over)?;
    must(&over, &json!({"flood": {"packets": total}}))?;
    stage.expect(1, &json!({"kind": "flood", "flood": {"phase": "onset"}, "source": pod(storming)}))?;
    let status = stage.status()?;
    for family in status["ledger"]["families"].as_array().into_iter().flatten() {
        ensure!(number(family, "/kernel/coalesced_unkeyed") == 0, "resets are in no bucket: {family}");
    }
    // What is told without a receiver is told of its sender.
    for event in stage.events(&json!({"kind": "reset", "coalesced": true}))? {
        must(&event, &json!({"source": pod(storming)}))?;
    }
    stage.finish_settled(format!("{total} resets to {RECEIVERS} receivers, all of them in the flood's account"))
}
