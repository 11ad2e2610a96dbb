//! Query strings, strictly: an unknown, repeated or malformed parameter is an error that names it.

use axum::extract::Query as Pairs;
use axum::http::Uri;

/// A parameter that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter} {given:?} is wrong: expected {expected}")]
pub struct BadParameter {
    /// Its name.
    pub parameter: String,
    /// What it was given, cut.
    pub given: String,
    /// What would be right.
    pub expected: String,
}

/// Characters of a wrong value that are repeated to the client.
const GIVEN_MAX: usize = 100;

impl BadParameter {
    /// `given` is cut to 100 characters.
    pub fn new(parameter: &str, given: &str, expected: impl Into<String>) -> Self {
        Self { parameter: cut(parameter), given: cut(given), expected: expected.into() }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(GIVEN_MAX).collect()
}

/// The parameters of a request, each known and given at most once.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a query string whose parameters may be those of `known`.
    pub fn parse(uri: &Uri, known: &[&str]) -> Result<Self, BadParameter> {
        let Pairs(pairs) = Pairs::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| {
            BadParameter::new("query", uri.query().unwrap_or_default(), "NAME=VALUE pairs joined by '&'")
        })?;
        for (index, (name, value)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(BadParameter::new(name, value, expected_name(name, known)));
            }
            if pairs[..index].iter().any(|(other, _)| other == name) {
                return Err(BadParameter::new(name, value, "to be given once"));
            }
        }
        Ok(Self(pairs))
    }

    /// A parameter's value; an empty one counts as absent, as forms send it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, value)| other == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a whole number within bounds.
    pub fn number(&self, name: &str, bounds: std::ops::RangeInclusive<usize>) -> Result<Option<usize>, BadParameter> {
        self.get(name)
            .map(|text| {
                text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
                    let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
                    BadParameter::new(name, text, expected)
                })
            })
            .transpose()
    }

    /// A parameter that is one of a few words.
    pub fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, BadParameter> {
        self.get(name)
            .map(|text| {
                words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                    BadParameter::new(name, text, format!("one of {}", words.join(", ")))
                })
            })
            .transpose()
    }
}

fn expected_name(name: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|known| (distance(name, known), *known)).min();
    match nearest {
        Some((distance, nearest)) if distance <= 2 => format!("a known parameter: did you mean {nearest}?"),
        _ if known.is_empty() => "no parameters here".to_owned(),
        _ => format!("a known parameter, one of {}", known.join(", ")),
    }
}

/// Edits (insert, delete, replace) between two names; anything long is far from all that is known.
fn distance(left: &str, right: &str) -> usize {
    if left.len() > 32 {
        return usize::MAX;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(query: &str) -> Result<Query, BadParameter> {
        Query::parse(&format!("/x?{query}").parse().unwrap(), &["limit", "namespace"])
    }

    #[test]
    fn errors_name_the_parameter() {
        let bad = parse("limt=5").unwrap_err();
        assert_eq!((bad.parameter.as_str(), bad.given.as_str()), ("limt", "5"));
        assert!(bad.expected.contains("did you mean limit?"), "{bad}");
        assert!(parse("something=5").unwrap_err().expected.contains("limit, namespace"));
        assert_eq!(parse("limit=5&limit=6").unwrap_err().expected, "to be given once");
        assert_eq!(parse("namespace=a%20b").unwrap().get("namespace"), Some("a b"));
        assert_eq!(parse("namespace=").unwrap().get("namespace"), None);
        assert_eq!(parse("limit=1000").unwrap().number("limit", 1..=1000), Ok(Some(1000)));
        for wrong in ["0", "1001", "-1", "x", "99999999999999999999"] {
            let bad = parse(&format!("limit={wrong}")).unwrap().number("limit", 1..=1000).unwrap_err();
            assert_eq!(bad.expected, "a whole number from 1 to 1000");
        }
    }
}
