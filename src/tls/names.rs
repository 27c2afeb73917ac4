//! Rules by the name of a server and by protocol: which pool, which certificates.
//!
//! The most specific name wins, wherever it stands: an exact one, then the longest suffix, then
//! rules without a name. Among rules of the same name, one that names a protocol which the client
//! offers comes before one that names none.

use std::collections::HashMap;
use std::fmt;

use thiserror::Error;

use crate::limits::SERVER_NAME_BYTES_MAX;

/// A name in a rule or a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// This host.
    Exact(Box<str>),
    /// `*.example.org`, kept without the `*.`: what ends with it, but not `example.org` itself.
    Suffix(Box<str>),
}

/// Why a text is no name for a rule.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no host name; write `www.example.org`, or `*.example.org` for all below it")]
pub struct NoPattern(pub String);

impl Pattern {
    /// From `www.example.org` or `*.example.org`, in upper or lower case.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, NoPattern> {
        let (host, make): (&str, fn(Box<str>) -> Self) = match text.strip_prefix("*.") {
            Some(host) => (host, Self::Suffix),
            None => (text, Self::Exact),
        };
        let host = host_name(host.as_bytes());
        host.map(make).ok_or_else(|| NoPattern(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(name) => write!(f, "*.{name}"),
        }
    }
}

/// The name of a host in lower case and without a dot at its end, or nothing if no host can have
/// this name: addresses have not.
pub fn host_name(name: &[u8]) -> Option<Box<str>> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let label = |label: &[u8]| {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.iter().all(allowed)
    };
    let mut labels = name.split(|&byte| byte == b'.');
    let address = labels.clone().next_back()?.iter().all(u8::is_ascii_digit);
    if name.len() > SERVER_NAME_BYTES_MAX || address || !labels.all(label) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    Some(name.to_ascii_lowercase().into_boxed_str())
}

/// Something for each of many names.
#[derive(Clone, Debug)]
pub struct Names<T> {
    exact: HashMap<Box<str>, T>,
    suffixes: HashMap<Box<str>, T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            suffixes: HashMap::new(),
        }
    }
}

impl<T> Names<T> {
    /// What belongs to this name, a new one if there was none.
    pub fn entry(&mut self, pattern: &Pattern) -> &mut T
    where
        T: Default,
    {
        match pattern {
            Pattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
            Pattern::Suffix(name) => self.suffixes.entry(name.clone()).or_default(),
        }
    }

    /// Everything, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.suffixes.values_mut())
    }

    /// What belongs to the host as certificates have it: the exact name, or a wildcard in place of
    /// its first label. The name is in lower case.
    pub fn of_certificate(&self, host: &str) -> Option<&T> {
        let wildcard = || self.suffixes.get(host.split_once('.')?.1);
        self.exact.get(host).or_else(wildcard)
    }

    /// What belongs to the host, most specific first: the exact name, then every suffix, longest
    /// first. The name is in lower case.
    pub fn of_rules<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a T> {
        let above = |name: &&'a str| name.split_once('.').map(|(_, above)| above);
        let suffixes = std::iter::successors(above(&host), move |name| above(name));
        let exact = self.exact.get(host).into_iter();
        exact.chain(suffixes.filter_map(|suffix| self.suffixes.get(suffix)))
    }
}

/// A rule: a connection that asks for one of the names with one of the protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The names; none means any, and connections without one.
    pub names: Vec<Pattern>,
    /// The application protocols; none means any, and connections without one.
    pub alpn: Vec<Vec<u8>>,
}

/// Two rules of which one could never apply.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("rule {second} is never reached: rule {first} takes {what} already")]
pub struct Unreachable {
    /// The rule that applies, counted from 1.
    pub first: usize,
    /// The rule that never would.
    pub second: usize,
    /// The name and the protocol.
    pub what: String,
}

/// All rules of a listener.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    named: Names<Rung>,
    any: Rung,
}

/// The rules of one name: by protocol, and the one for all others.
#[derive(Clone, Debug, Default)]
struct Rung {
    by_alpn: Vec<(Vec<u8>, usize)>,
    other: Option<usize>,
}

impl Routes {
    /// From rules in the order of the file.
    ///
    /// # Errors
    /// When a rule, or a part of it, could never apply.
    pub fn new(rules: &[Rule]) -> Result<Self, Unreachable> {
        let mut routes = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            routes.add(index, rule)?;
        }
        Ok(routes)
    }

    /// Adds the rule at this place. Who goes on after an error learns about further rules, and has
    /// nothing to find a rule by.
    ///
    /// # Errors
    /// When the rule, or a part of it, could never apply.
    pub fn add(&mut self, index: usize, rule: &Rule) -> Result<(), Unreachable> {
        if rule.names.is_empty() {
            self.any.add(index, rule, "any name")?;
        }
        for name in &rule.names {
            let rung = self.named.entry(name);
            rung.add(index, rule, &name.to_string())?;
        }
        Ok(())
    }

    /// The rule for a connection: the name it asks for, in lower case, and the protocols it offers
    /// (or the one that was agreed on).
    pub fn find(&self, host: Option<&str>, alpn: &[impl AsRef<[u8]>]) -> Option<usize> {
        let named = host.into_iter().flat_map(|host| self.named.of_rules(host));
        named.chain([&self.any]).find_map(|rung| rung.find(alpn))
    }
}

impl Rung {
    fn add(&mut self, index: usize, rule: &Rule, name: &str) -> Result<(), Unreachable> {
        let unreachable = |first: usize, what| Unreachable {
            first: first.saturating_add(1),
            second: index.saturating_add(1),
            what,
        };
        if rule.alpn.is_empty()
            && let Some(first) = self.other.replace(index)
        {
            return Err(unreachable(first, name.to_owned()));
        }
        for protocol in &rule.alpn {
            if let Some((_, first)) = self.by_alpn.iter().find(|(known, _)| known == protocol) {
                let protocol = protocol.escape_ascii();
                return Err(unreachable(*first, format!("{name} with {protocol}")));
            }
            self.by_alpn.push((protocol.clone(), index));
        }
        Ok(())
    }

    fn find(&self, alpn: &[impl AsRef<[u8]>]) -> Option<usize> {
        let offered = |protocol: &[u8]| alpn.iter().any(|offer| offer.as_ref() == protocol);
        let by_alpn = self.by_alpn.iter().find(|(protocol, _)| offered(protocol));
        by_alpn.map(|&(_, index)| index).or(self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(names: &[&str], alpn: &[&str]) -> Rule {
        Rule {
            names: names
                .iter()
                .map(|name| Pattern::parse(name).unwrap())
                .collect(),
            alpn: alpn
                .iter()
                .map(|protocol| protocol.as_bytes().to_vec())
                .collect(),
        }
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn the_most_specific_name_wins_wherever_it_stands() {
        let routes = Routes::new(&[
            rule(&[], &[]),
            rule(&["*.example.org"], &[]),
            rule(&["*.eu.example.org"], &[]),
            rule(&["www.eu.example.org", "example.org"], &[]),
        ])
        .unwrap();
        for (host, expected) in [
            (None, 0),
            (Some("example.com"), 0),
            (Some("org"), 0),
            (Some("badexample.org"), 0),
            (Some("example.org"), 3),
            (Some("www.example.org"), 1),
            (Some("a.b.example.org"), 1),
            (Some("eu.example.org"), 1),
            (Some("a.eu.example.org"), 2),
            (Some("a.www.eu.example.org"), 2),
            (Some("www.eu.example.org"), 3),
        ] {
            assert_eq!(routes.find(host, &NONE), Some(expected), "{host:?}");
        }
    }

    #[test]
    fn a_protocol_decides_among_rules_of_the_same_name_and_never_beats_a_name() {
        let routes = Routes::new(&[
            rule(&["*.example.org"], &["h2"]),
            rule(&["*.example.org"], &[]),
            rule(&["api.example.org"], &["grpc", "h2"]),
            rule(&[], &["acme-tls/1"]),
        ])
        .unwrap();
        let find = |host, alpn: &[&str]| routes.find(Some(host), alpn);
        assert_eq!(find("www.example.org", &["http/1.1", "h2"]), Some(0));
        assert_eq!(find("www.example.org", &["http/1.1"]), Some(1));
        assert_eq!(find("api.example.org", &["h2"]), Some(2));
        assert_eq!(find("api.example.org", &["http/1.1"]), Some(1));
        assert_eq!(find("www.example.org", &["acme-tls/1"]), Some(1));
        assert_eq!(find("www.example.net", &["acme-tls/1"]), Some(3));
        assert_eq!(find("www.example.net", &[]), None);
    }

    #[test]
    fn a_rule_that_is_never_reached_is_refused() {
        let twice = Routes::new(&[rule(&["a.example"], &[]), rule(&["A.example."], &[])]);
        assert_eq!(
            twice.unwrap_err().to_string(),
            "rule 2 is never reached: rule 1 takes a.example already"
        );
        let protocol = Routes::new(&[rule(&[], &["h2"]), rule(&["*.b"], &[]), rule(&[], &["h2"])]);
        assert_eq!(
            protocol.unwrap_err().to_string(),
            "rule 3 is never reached: rule 1 takes any name with h2 already"
        );
    }

    #[test]
    fn a_certificates_wildcard_stands_for_one_label() {
        let mut names = Names::<u8>::default();
        *names.entry(&Pattern::parse("*.example.org").unwrap()) = 1;
        *names.entry(&Pattern::parse("www.example.org").unwrap()) = 2;
        assert_eq!(names.of_certificate("www.example.org"), Some(&2));
        assert_eq!(names.of_certificate("a.example.org"), Some(&1));
        assert_eq!(names.of_certificate("a.b.example.org"), None);
        assert_eq!(names.of_certificate("example.org"), None);
        assert_eq!(names.of_certificate("org"), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a.".repeat(127) + "a";
        for text in [
            "",
            ".",
            "*",
            "*.",
            "a..b",
            "a.*.b",
            "w*.example.org",
            "ü.example",
            "a b",
            "10.0.0.1",
            &long,
        ] {
            assert_eq!(
                Pattern::parse(text),
                Err(NoPattern(text.to_owned())),
                "{text}"
            );
        }
        let label = "x".repeat(64);
        assert!(Pattern::parse(&label).is_err());
        assert_eq!(Pattern::parse("*.ORG").unwrap().to_string(), "*.org");
        assert_eq!(Pattern::parse("my_host.").unwrap().to_string(), "my_host");
    }
}
