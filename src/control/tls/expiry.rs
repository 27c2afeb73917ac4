//! Certificates and their end: it is told when they are read, and again when it has come closer.
//! Revocation lists have one too, which is told when it has come: a new one is often due within a
//! day, and comes.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;

use super::read::Owner;
use crate::config::{CertificateFiles, FileAt, Position};
use crate::control::timestamp::Timestamp;
use crate::limits::CERTIFICATE_WARNINGS;
use crate::tls::certificates::{Certificate, RevocationList, Validity};

/// What of a configuration has an end.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The certificates that listeners and pools show, in the order of the configuration.
    pub(super) certificates: Vec<Watched>,
    /// The lists by which they refuse others.
    pub(super) lists: Vec<WatchedList>,
}

impl Watch {
    /// What there is to tell now and was not told before, and what of the configuration it is about.
    pub(super) fn news(&self, now: UnixTime) -> impl Iterator<Item = (Position, String)> {
        let certificates = self.certificates.iter();
        let of_certificates =
            certificates.filter_map(move |one| Some((one.file.position, one.look(now)?)));
        let lists = self.lists.iter();
        let of_lists = lists.filter_map(move |one| Some((one.position, one.look(now)?)));
        of_certificates.chain(of_lists)
    }
}

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
            let (subject, state) = (self.certificate.ends_with(), in_words(validity));
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

    /// The listener that shows it to clients, or the pool that shows it to servers.
    pub(in crate::control) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The file that it is in.
    pub(in crate::control) fn path(&self) -> &Path {
        &self.file.path
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

/// A revocation list by which certificates are refused.
#[derive(Debug)]
pub(super) struct WatchedList {
    owner: Owner,
    path: PathBuf,
    position: Position,
    next_update: UnixTime,
    told: Cell<bool>,
}

impl WatchedList {
    /// One that nobody has been told of yet. `None`: it has no end.
    pub(super) fn new(owner: &Owner, file: &FileAt, list: &RevocationList) -> Option<Self> {
        Some(Self {
            owner: owner.clone(),
            path: file.path.clone(),
            position: file.position,
            next_update: list.next_update()?,
            told: Cell::new(false),
        })
    }

    /// What there is to tell now and was not told before.
    fn look(&self, now: UnixTime) -> Option<String> {
        let over = now.as_secs().checked_sub(self.next_update.as_secs())?;
        let is_news = !self.told.replace(true);
        is_news.then(|| {
            let (owner, path) = (&self.owner, self.path.display());
            let ago = rough(Duration::from_secs(over));
            format!(
                "{owner}: the revocation list in {path} expired {ago} ago, and all certificates of \
                 its issuer are refused"
            )
        })
    }
}

fn in_words(validity: Validity) -> String {
    match validity {
        Validity::ExpiredFor(time) => format!("expired {} ago", rough(time)),
        Validity::NotFor(time) => format!("becomes valid in {}", rough(time)),
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
