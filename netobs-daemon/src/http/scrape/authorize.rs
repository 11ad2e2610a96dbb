//! Who may read the metrics: the API server decides, each decision is kept for a while, and for each token it is asked
//! once at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use ring::digest::{SHA256, digest};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout_at;

use super::cache::{Cache, CacheLimits, Key};

/// What the API server says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Whoever has it may read the metrics.
    Allowed,
    /// The cluster knows whose it is, and does not allow it.
    Forbidden,
    /// It is nobody's.
    Unauthenticated,
}

/// A bearer token. It is shown nowhere: the type prints as a word.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// From the one Authorization header (RFC 6750 section 2.1); `None` where there is none, or it is another scheme's or
    /// malformed.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(fits))
            .then(|| Self(token.into()))
    }

    /// For the API server, and nobody else.
    pub fn secret(&self) -> &str {
        &self.0
    }

    fn key(&self) -> Key {
        let mut key = Key::default();
        key.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        key
    }
}

/// Who can ask the API server. What it says when it cannot be asked is a sentence for the log, without the token.
pub trait Reviews: Send + Sync {
    /// Whether the cluster knows the token, and allows whoever has it to read the metrics.
    fn review(&self, token: Token) -> BoxFuture<'static, Result<Verdict, String>>;
}

/// Bounds on what is asked of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReviewLimits {
    /// Reviews at a time.
    pub at_once: usize,
    /// Tokens that are under review or wait for it.
    pub waiting: usize,
    /// For one review, from when it is wanted.
    pub answer: Duration,
    /// What is kept.
    pub cache: CacheLimits,
}

impl Default for ReviewLimits {
    fn default() -> Self {
        Self { at_once: 4, waiting: 64, answer: Duration::from_secs(8), cache: CacheLimits::default() }
    }
}

/// A review's end; `None`: it is not over, or the API server could not be asked.
type Outcome = Option<Verdict>;

/// Asks, and remembers.
#[derive(Clone)]
pub struct Authorizer(Arc<Inner>);

struct Inner {
    reviews: Arc<dyn Reviews>,
    limits: ReviewLimits,
    places: Semaphore,
    state: Mutex<State>,
}

struct State {
    cache: Cache,
    under_review: HashMap<Key, watch::Receiver<Outcome>>,
    /// The trouble that was logged last.
    trouble: Option<String>,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

impl Authorizer {
    /// Asks this.
    pub fn new(reviews: Arc<dyn Reviews>, limits: ReviewLimits) -> Self {
        let state = State { cache: Cache::new(limits.cache), under_review: HashMap::new(), trouble: None };
        let places = Semaphore::new(limits.at_once);
        Self(Arc::new(Inner { reviews, limits, places, state: Mutex::new(state) }))
    }

    /// What holds for a token; `None`: that cannot be known now.
    pub async fn decide(&self, token: Token) -> Option<Verdict> {
        let key = token.key();
        let mut outcome = {
            let mut state = self.0.lock();
            if let Some(verdict) = state.cache.get(&key, Instant::now()) {
                return Some(verdict);
            }
            match state.under_review.get(&key) {
                Some(outcome) => outcome.clone(),
                None if state.under_review.len() >= self.0.limits.waiting => return None,
                None => {
                    let (sender, outcome) = watch::channel(None);
                    state.under_review.insert(key, outcome.clone());
                    // A task of its own: a client that hangs up must not end the review that others wait for.
                    tokio::spawn(Arc::clone(&self.0).review(key, token, sender));
                    outcome
                }
            }
        };
        // The sender is dropped at the review's end, whatever that was.
        while outcome.changed().await.is_ok() {}
        *outcome.borrow()
    }
}

impl Inner {
    async fn review(self: Arc<Self>, key: Key, token: Token, sender: watch::Sender<Outcome>) {
        let limit = self.limits.answer;
        let until = tokio::time::Instant::now() + limit;
        let late = || format!("no decision within {limit:?}");
        let asked = async {
            let _place = self.places.acquire().await.map_err(|error| error.to_string())?;
            // Those whose time is up free their places together, and nobody is asked for the next ones, whose is, too.
            if tokio::time::Instant::now() < until { self.reviews.review(token).await } else { Err(late()) }
        };
        let result = timeout_at(until, asked).await.unwrap_or_else(|_| Err(late()));
        let mut state = self.lock();
        state.under_review.remove(&key);
        match result {
            Ok(verdict) => {
                state.cache.put(key, verdict, Instant::now());
                state.trouble = None;
                sender.send_replace(Some(verdict));
            }
            Err(error) if state.trouble.as_ref() != Some(&error) => {
                tracing::warn!(error, "the API server cannot be asked who may read the metrics");
                state.trouble = Some(error);
            }
            Err(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "authorize_tests.rs"]
mod tests;
