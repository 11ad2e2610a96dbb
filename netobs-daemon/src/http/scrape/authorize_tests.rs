//! One review per token, bounded waiting, nothing open by accident.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::future::join_all;
use proptest::prelude::*;

use super::*;

/// Allows what begins with `good`, and answers after a while.
#[derive(Default)]
struct Scripted {
    asked: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    takes: Duration,
    away: bool,
}

impl Reviews for Scripted {
    fn review(&self, token: Token) -> BoxFuture<'static, Result<Verdict, String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (at_once, most, takes, away) = (Arc::clone(&self.at_once), Arc::clone(&self.most), self.takes, self.away);
        async move {
            most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(takes).await;
            at_once.fetch_sub(1, Ordering::SeqCst);
            match token.secret() {
                _ if away => Err("connection refused".into()),
                text if text.starts_with("good") => Ok(Verdict::Allowed),
                text if text.starts_with("known") => Ok(Verdict::Forbidden),
                _ => Ok(Verdict::Unauthenticated),
            }
        }
        .boxed()
    }
}

fn token(text: &str) -> Token {
    Token(text.into())
}

fn authorizer(scripted: Scripted) -> (Authorizer, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (asked, most) = (Arc::clone(&scripted.asked), Arc::clone(&scripted.most));
    (
        Authorizer::new(
            Arc::new(scripted),
            ReviewLimits { answer: Duration::from_millis(800), ..ReviewLimits::default() },
        ),
        asked,
        most,
    )
}

#[tokio::test]
async fn many_who_ask_at_once_are_one_review() {
    let (authorizer, asked, _) = authorizer(Scripted { takes: Duration::from_millis(100), ..Scripted::default() });
    let all = join_all((0..50).map(|_| authorizer.decide(token("good")))).await;
    assert!(all.iter().all(|verdict| *verdict == Some(Verdict::Allowed)));
    assert_eq!(authorizer.decide(token("good")).await, Some(Verdict::Allowed));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(authorizer.decide(token("known")).await, Some(Verdict::Forbidden));
    assert_eq!(authorizer.decide(token("bad")).await, Some(Verdict::Unauthenticated));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn who_hangs_up_does_not_end_the_review_of_others() {
    let (authorizer, asked, _) = authorizer(Scripted { takes: Duration::from_millis(100), ..Scripted::default() });
    let hangs_up = tokio::time::timeout(Duration::from_millis(10), authorizer.decide(token("good"))).await;
    assert!(hangs_up.is_err());
    assert_eq!(authorizer.decide(token("good")).await, Some(Verdict::Allowed));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_flood_of_tokens_is_bounded() {
    let (authorizer, asked, most) = authorizer(Scripted { takes: Duration::from_millis(300), ..Scripted::default() });
    let all = join_all((0..200).map(|n| authorizer.decide(token(&format!("bad{n}"))))).await;
    // 64 wait, 4 at a time, 300 ms each, 800 ms at most: on a machine with time to spare two rounds get a verdict, and the
    // third has begun.
    let decided = all.iter().filter(|verdict| verdict.is_some()).count();
    assert!((4..=8).contains(&decided), "{decided}");
    let asked = asked.load(Ordering::SeqCst);
    assert!((8..=12).contains(&asked), "{asked}");
    assert_eq!(most.load(Ordering::SeqCst), 4);
    assert!(authorizer.0.lock().under_review.is_empty());
}

#[tokio::test]
async fn nobody_is_let_in_while_nobody_can_be_asked() {
    let (authorizer, asked, _) = authorizer(Scripted { away: true, ..Scripted::default() });
    assert_eq!(authorizer.decide(token("good")).await, None);
    // Not remembered: as soon as it is back, it is asked.
    assert_eq!(authorizer.decide(token("good")).await, None);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn tokens_of_headers() {
    let of = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        Token::of(&headers).map(|token| token.secret().to_owned())
    };
    assert_eq!(of(&["Bearer abc.DEF-_~+/9=="]).as_deref(), Some("abc.DEF-_~+/9=="));
    assert_eq!(of(&["bearer  abc "]).as_deref(), Some("abc"));
    for bad in [
        &[][..],
        &["Basic abc"],
        &["Bearer"],
        &["Bearer "],
        &["Bearer a b"],
        &["Bearer a\"b"],
        &["Bearer a", "Bearer b"],
    ] {
        assert_eq!(of(bad), None, "{bad:?}");
    }
    assert_eq!(format!("{:?}", token("secret")), "Token");
}

proptest! {
    #[test]
    fn any_header_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = hyper::header::HeaderValue::from_bytes(&bytes) {
            headers.append(AUTHORIZATION, value);
        }
        let _ = Token::of(&headers);
    }
}
