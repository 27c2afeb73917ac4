//! Certificates and their end: it is told when they are read, and again when it has come closer.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;

use super::read::Owner;
use crate::config::{CertificateFiles, FileAt};
use crate::control::timestamp::Timestamp;
use crate::limits::CERTIFICATE_WARNINGS;
use crate::tls::certificates::{Certificate, Validity};

/// A certificate that somebody is shown.
#[derive(Debug)]
pub(in crate::control) struct Watched {
    owner: Owner,
    file: FileAt,
    certificate: Certificate,
    told: Cell<Stage>,
}

/// How close the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It is valid for longer than anybody is warned of.
    Far,
    /// It is not valid yet.
    ToCome,
    /// Less than so many of [`CERTIFICATE_WARNINGS`] remain, counted from the longest.
    Near(usize),
    /// It is over.
    Over,
}

impl Stage {
    fn of(validity: Validity) -> Self {
        let left = match validity {
            Validity::ExpiredFor(_) => return Self::Over,
            Validity::NotFor(_) => return Self::ToCome,
            Validity::ValidFor(left) => left,
        };
        let passed = CERTIFICATE_WARNINGS.iter().filter(|&&least| left < least);
        match passed.count() {
            0 => Self::Far,
            passed => Self::Near(passed),
        }
    }
}

impl Watched {
    /// One that nobody has been told of yet.
    pub(super) fn new(owner: Owner, files: &CertificateFiles, certificate: Certificate) -> Self {
        Self {
            owner,
            file: files.certificate.clone(),
            certificate,
            told: Cell::new(Stage::Far),
        }
    }

    /// What there is to tell now and was not told before.
    pub(super) fn look(&self, now: UnixTime) -> Option<String> {
        let validity = self.certificate.validity(now);
        let stage = Stage::of(validity);
        let is_news = stage > self.told.replace(stage);
        is_news.then(|| {
            let (owner, path) = (&self.owner, self.file.path.display());
            let (subject, state) = (self.certificate.subject(), in_words(validity));
            format!("{owner}: the certificate in {path} ({subject}) {state}")
        })
    }

    /// Whether the same owner has the other one in the same file.
    pub(super) fn is_for(&self, other: &Self) -> bool {
        self.owner == other.owner && self.file.path == other.file.path
    }

    /// What is said when another certificate was in its file before.
    pub(super) fn describe_renewal(&self, now: UnixTime) -> String {
        let (owner, path) = (&self.owner, self.file.path.display());
        let state = in_words(self.certificate.validity(now));
        format!("{owner} has a new certificate in {path}, which {state}")
    }

    /// The listener that shows it to clients; `None`: a pool shows it to servers.
    pub(in crate::control) fn listener(&self) -> Option<&str> {
        match &self.owner {
            Owner::Listener(name) => Some(name),
            Owner::Pool(_) => None,
        }
    }

    /// The file that it is in.
    pub(in crate::control) fn path(&self) -> &Path {
        &self.file.path
    }

    /// The file that it is in, with its place in the configuration.
    pub(super) fn file(&self) -> &FileAt {
        &self.file
    }

    /// The certificate.
    pub(in crate::control) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// When it expires.
    pub(in crate::control) fn not_after(&self) -> Timestamp {
        let since_epoch = Duration::from_secs(self.certificate.not_after().as_secs());
        Timestamp(UNIX_EPOCH.checked_add(since_epoch).unwrap_or(UNIX_EPOCH))
    }
}

fn in_words(validity: Validity) -> String {
    match validity {
        Validity::ExpiredFor(time) => format!("expired {} ago", rough(time)),
        Validity::NotFor(time) => format!("is not valid before {} have passed", rough(time)),
        Validity::ValidFor(time) => format!("expires in {}", rough(time)),
    }
}

/// In days, or in hours where those are few.
fn rough(time: Duration) -> String {
    let hours = time.as_secs() / 3600;
    match hours {
        0 => "less than an hour".to_owned(),
        1 => "1 hour".to_owned(),
        2..48 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}
