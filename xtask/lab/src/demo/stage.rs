//! Plays a fault: announces it, makes it happen, shows what netobs says meanwhile and holds it against what it should.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::fault::Fault;
use super::report;
use super::scene::Scene;
use super::screen::{self, INDENT, QUIET, STRONG, styled};
use super::signals::Stop;
use super::tail::Tail;
use super::watch::Watch;

/// How long the stream is waited for between looks at anything else.
const TICK: Duration = Duration::from_millis(20);
/// How much later than the stream `netobs observe` may show an event.
const TAIL_LAG: Duration = Duration::from_secs(1);

/// Where faults are shown.
#[derive(Debug)]
pub struct Stage<'a> {
    scene: &'a Scene,
    stop: &'a Stop,
    watch: Watch,
    tail: Tail,
}

impl<'a> Stage<'a> {
    /// Begins to follow the daemon, twice: as a program and through `netobs observe`.
    pub fn new(netobs: &Path, scene: &'a Scene, stop: &'a Stop) -> Result<Self> {
        let watch = Watch::start(scene.daemon.client())?;
        let tail = Tail::start(netobs, scene.daemon.socket())?;
        Ok(Self { scene, stop, watch, tail })
    }

    /// What was seen.
    pub const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Plays a fault for the first time: its rules, too.
    pub fn show(&mut self, number: usize, of: usize, fault: &Fault) -> Result<()> {
        anstream::println!();
        screen::line(
            &format!("{}  {}", styled(STRONG, format_args!("{number}/{of}")), styled(STRONG, &fault.title)),
            "",
            5,
        );
        screen::line(&styled(QUIET, &fault.how), INDENT, 2);
        fault.rule.load(&self.scene.node)?;
        self.watch.expect(number, &fault.expected, &fault.also);
        self.tail.limit(fault.lines);
        let sees = self.strike(fault)?;
        let end = Instant::now() + fault.within;
        while Instant::now() < end && self.watch.of(number).any(|entry| entry.seen.is_none()) {
            self.turn()?;
        }
        self.catch_up()?;
        if let Some(hidden) = self.tail.hidden() {
            screen::line(
                &styled(QUIET, format_args!("… and {hidden} more lines, of single resets and sums")),
                INDENT,
                2,
            );
        }
        screen::line(&styled(QUIET, format_args!("all that the application sees: {sees}")), INDENT, 2);
        report::verdict(&self.watch, number);
        Ok(())
    }

    /// Makes it happen once more.
    pub fn again(&mut self, number: usize, of: usize, fault: &Fault) -> Result<()> {
        screen::line(&styled(QUIET, format_args!("{number}/{of}  again: {}", fault.title)), "", 5);
        self.tail.limit(fault.lines);
        self.strike(fault).map(drop)
    }

    /// Shows what comes for a while, or until it is time to end.
    pub fn linger(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.stop.is_set() {
            self.look(TICK)?;
        }
        Ok(())
    }

    /// Sends the packets, showing what comes meanwhile: netobs is faster than the application's time-out.
    fn strike(&mut self, fault: &Fault) -> Result<String> {
        std::thread::scope(|scope| {
            let strike = scope.spawn(|| fault.strike.run());
            while !strike.is_finished() {
                self.turn()?;
            }
            strike.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Until `netobs observe` has shown what the stream has brought.
    fn catch_up(&mut self) -> Result<()> {
        let end = Instant::now() + TAIL_LAG;
        while Instant::now() < end && self.tail.shown() < self.watch.problems() {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        self.stop.check()?;
        self.look(TICK)
    }

    fn look(&mut self, wait: Duration) -> Result<()> {
        self.watch.take(wait)?;
        self.tail.show();
        Ok(())
    }
}
