//! `netobs observe`: the event stream in a terminal or a pipe.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use http_body_util::BodyExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::client::connect::{get, path_with};
use crate::client::lines::Lines;
use crate::client::output::{OutputError, ignore_closed_pipe, stdout};
use crate::client::render::{Detail, clean, line};
use crate::client::server::{Server, ServerArgs};
use crate::event::observation::Observation;
use crate::http::control::{Control, GapReason};
use crate::http::params::FilterParams;
use crate::http::stream::POSITION;

/// Three heartbeats: a connection that is silent for longer is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Show events as they happen: what failed on this node, whose it was and why.
#[derive(Args, Clone, Debug)]
pub struct ObserveArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub server: ServerArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterParams,
    /// Show what went well, too, not only problems.
    #[arg(long, short = 'a', conflicts_with = "severity")]
    pub all: bool,
    /// Begin with the last so many events that match.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub last: Option<u16>,
    /// End after the events that have happened, instead of waiting for more.
    #[arg(long)]
    pub no_follow: bool,
    /// How to show them.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Output,
}

/// How events are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line each.
    #[default]
    Text,
    /// One line each, with date, interface and id.
    Wide,
    /// As the API sends them: one JSON object per line, gap and lagged messages among them.
    Json,
}

/// Runs until Ctrl-C, until the reader of a pipe is gone, or, without following, until all is shown.
pub async fn observe(args: &ObserveArgs) -> Result<()> {
    let (mut out, mut notices) = (stdout(), anstream::stderr());
    tokio::select! {
        result = tail(args, &mut out, &mut notices) => ignore_closed_pipe(result),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

/// Writes events to `out` and what there is to say about the stream to `notices`.
pub async fn tail(args: &ObserveArgs, out: &mut impl Write, notices: &mut impl Write) -> Result<()> {
    if !args.no_follow && args.filter.until.is_some() {
        bail!("--until needs --no-follow: a stream that is followed has no end");
    }
    args.filter.compile(Timestamp::now()).map_err(|bad| anyhow!("--{bad}"))?;
    let server = args.server.address();
    let mut view = View { output: args.output, zone: TimeZone::system(), out, notices, position: None };
    let mut delay = RETRY_FIRST;
    let mut outage = false;
    loop {
        let before = view.position.clone();
        let connected = connect(args, &server, before.as_deref()).await;
        let lost = match connected {
            // Before the first connection it is the user's mistake, afterwards the daemon's restart.
            Err(error) if before.is_none() => return Err(error),
            Err(error) => format!("{error:#}"),
            Ok(body) => {
                if outage && let Some(position) = &before {
                    view.notice(&format!("connected again, resuming after {position}"))?;
                }
                (outage, delay) = (false, RETRY_FIRST);
                match body.read(&mut view).await? {
                    None if args.no_follow => return Ok(()),
                    None => "it ended".to_owned(),
                    Some(reason) => reason,
                }
            }
        };
        if !outage {
            view.notice(&format!("lost the stream of {server} ({lost}); trying again"))?;
            outage = true;
        }
        sleep(delay).await;
        delay = (delay * 2).min(RETRY_MAX);
    }
}

struct Stream {
    body: hyper::body::Incoming,
    position: Option<String>,
}

async fn connect(args: &ObserveArgs, server: &Server, after: Option<&str>) -> Result<Stream> {
    let last = args.last.map(|last| last.to_string());
    // On resuming, what is missing is wanted, however long ago `since` lies by now.
    let pairs = args.filter.pairs().filter(|(name, _)| after.is_none() || *name != "since");
    let mut pairs: Vec<_> = pairs.collect();
    if !args.all && args.filter.severity.is_none() {
        pairs.push(("severity", "problem"));
    }
    match (after, &last) {
        (Some(after), _) => pairs.push(("after", after)),
        (None, Some(last)) => pairs.push(("last", last)),
        (None, None) => {}
    }
    if args.no_follow {
        pairs.push(("follow", "false"));
    }
    let response = get(server, &path_with("/v1/events/stream", pairs), "application/x-ndjson").await?;
    let position = response.headers().get(POSITION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Stream { body: response.into_body(), position })
}

impl Stream {
    /// Shows the stream to its end. `None`: it ended as it should, else why it was lost.
    async fn read<O: Write, N: Write>(mut self, view: &mut View<'_, O, N>) -> Result<Option<String>> {
        view.position = self.position.take().or(view.position.take());
        let mut lines = Lines::default();
        loop {
            let frame = match timeout(SILENCE_MAX, self.body.frame()).await {
                Err(_) => return Ok(Some(format!("silent for {} s", SILENCE_MAX.as_secs()))),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Ok(Some(error.to_string())),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(chunk) = frame.into_data() else { continue };
            lines.push(&chunk);
            while let Some(line) = lines.next_line()? {
                view.show(&line)?;
            }
            view.out.flush().map_err(OutputError)?;
        }
    }
}

struct View<'a, O, N> {
    output: Output,
    zone: TimeZone,
    out: &'a mut O,
    notices: &'a mut N,
    position: Option<String>,
}

/// What every line has at most one of.
#[derive(Deserialize)]
struct Head {
    control: Option<serde::de::IgnoredAny>,
    id: Option<String>,
}

impl<O: Write, N: Write> View<'_, O, N> {
    fn show(&mut self, text: &[u8]) -> Result<(), OutputError> {
        let head = serde_json::from_slice(text).unwrap_or(Head { control: None, id: None });
        if head.control.is_some() {
            return self.control(text);
        }
        if head.id.is_some() {
            self.position = head.id;
        }
        let detail = match self.output {
            Output::Json => return self.raw(text),
            Output::Text => Detail::Text,
            Output::Wide => Detail::Wide,
        };
        match serde_json::from_slice::<Observation>(text) {
            Ok(event) => writeln!(self.out, "{}", line(&event, detail, &self.zone))?,
            // An event of a newer daemon.
            Err(_) => writeln!(self.out, "{}", clean(&String::from_utf8_lossy(text)))?,
        }
        Ok(())
    }

    fn control(&mut self, text: &[u8]) -> Result<(), OutputError> {
        let control = serde_json::from_slice(text);
        if let Ok(Control::Heartbeat { position }) = control {
            self.position = Some(position);
            return Ok(());
        }
        if self.output == Output::Json {
            return self.raw(text);
        }
        // In order with the events, as far as the two outputs share a terminal.
        self.out.flush()?;
        match control {
            Ok(Control::Gap { reason: GapReason::Restart, .. }) => {
                self.notice("the daemon was started anew since; what happened in between is not known")
            }
            Ok(Control::Gap { reason: GapReason::Evicted, .. }) => {
                self.notice("some events in between are not held any more")
            }
            Ok(Control::Lagged { missed }) => self.notice(&format!("too slow: missed {missed} events")),
            _ => Ok(()),
        }
    }

    fn raw(&mut self, text: &[u8]) -> Result<(), OutputError> {
        self.out.write_all(text)?;
        Ok(self.out.write_all(b"\n")?)
    }

    fn notice(&mut self, text: &str) -> Result<(), OutputError> {
        Ok(writeln!(self.notices, "netobs: {}", clean(text))?)
    }
}
