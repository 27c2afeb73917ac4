//! An end of TLS, in the words of each product: one version, one cipher suite and one key exchange
//! for all of them, and no sessions to resume but by tickets, if at all.

use anyhow::{Context, Result};

use crate::https::{CIPHER_SUITE, Certificate, GROUP, Termination};
use crate::scenario::Encrypted;

/// TLS handshakes that ringway has counted since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handshakes {
    pub(crate) full: u64,
    pub(crate) resumed: u64,
}

impl Handshakes {
    /// From ringway's metrics.
    pub(super) fn read(metrics: &str) -> Result<Self> {
        let count = |kind| {
            counted(metrics, kind)
                .with_context(|| format!("ringway's metrics do not count {kind} handshakes"))
        };
        Ok(Self {
            full: count("full")?,
            resumed: count("resumed")?,
        })
    }

    /// What has been counted since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            full: self.full - earlier.full,
            resumed: self.resumed - earlier.resumed,
        }
    }
}

fn counted(metrics: &str, kind: &str) -> Option<u64> {
    let label = format!("kind=\"{kind}\"");
    let mut lines = metrics.lines();
    let line = lines
        .find(|line| line.starts_with("ringway_tls_handshakes_total{") && line.contains(&label))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Keys of the listener, and its tables. `mode`: `terminate`, or `required` where the protocol is
/// MySQL. rustls offers other key exchanges, too; the clients do not, so that there is one to agree
/// on.
pub(super) fn ringway(mode: &str, tls: Termination<'_>) -> String {
    format!(
        "\n[listener.tls]\nmode = \"{mode}\"\nmin_version = \"1.3\"\n\
         cipher_suites = [\"{CIPHER_SUITE}\"]\nsession_tickets = {}\n\n\
         [[listener.tls.certificate]]\ncertificate_file = \"{}\"\n",
        tls.resumes,
        tls.certificate.pem.display()
    )
}

/// What ringway's MySQL listener and its pool are told of TLS. The servers speak one version and
/// one cipher suite, so that the pool needs no word about them.
pub(super) fn ringway_mysql(certificate: &Certificate, encrypted: Encrypted) -> (String, String) {
    let termination = Termination {
        certificate,
        resumes: false,
    };
    let listener = ringway("required", termination);
    let pool = format!(
        "\n[pool.tls]\nmode = \"verify\"\nca_file = \"{}\"\n",
        certificate.pem.display()
    );
    match encrypted {
        Encrypted::Nothing => (String::new(), String::new()),
        Encrypted::Clients => (listener, String::new()),
        Encrypted::Everything => (listener, pool),
    }
}

/// Lines of the global section, and the end of the line with `bind`.
pub(super) fn haproxy(tls: Termination<'_>) -> (String, String) {
    let tickets = if tls.resumes { "" } else { " no-tls-tickets" };
    let bind = format!(
        " ssl crt {} ssl-min-ver TLSv1.3 ciphersuites {CIPHER_SUITE} curves {GROUP}{tickets}",
        tls.certificate.pem.display()
    );
    ("  tune.ssl.cachesize 0\n".to_owned(), bind)
}

/// The end of the line with `listen`, and lines of the server.
pub(super) fn nginx(tls: Termination<'_>) -> (&'static str, String) {
    let (pem, tickets) = (
        tls.certificate.pem.display(),
        if tls.resumes { "on" } else { "off" },
    );
    let lines = format!(
        "    ssl_certificate {pem};\n    ssl_certificate_key {pem};\n\
         \x20   ssl_protocols TLSv1.3;\n    ssl_conf_command Ciphersuites {CIPHER_SUITE};\n\
         \x20   ssl_ecdh_curve {GROUP};\n\
         \x20   ssl_session_cache off;\n    ssl_session_tickets {tickets};\n"
    );
    (" ssl", lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::https::Certificates;
    use crate::scenario::Key;

    #[test]
    fn handshakes_are_read_from_metrics() {
        let metrics = "# TYPE ringway_tls_handshakes_total counter\n\
                       ringway_tls_handshakes_total{listener=\"bench\",kind=\"full\"} 7\n\
                       ringway_tls_handshakes_total{listener=\"bench\",kind=\"resumed\"} 90\n";
        let read = Handshakes::read(metrics).unwrap();
        let earlier = Handshakes {
            full: 2,
            resumed: 0,
        };
        let expected = Handshakes {
            full: 5,
            resumed: 90,
        };
        assert_eq!(read.since(earlier), expected);
        assert!(Handshakes::read("ringway_up 1\n").is_err());
    }

    #[test]
    fn the_mysql_port_is_told_which_sides_to_encrypt() {
        let certificates = Certificates::make().unwrap();
        let certificate = certificates.with(Key::EcdsaP256);
        let told = |encrypted| {
            let (listener, pool) = ringway_mysql(certificate, encrypted);
            let required = "[listener.tls]\nmode = \"required\"\n";
            let verified = "[pool.tls]\nmode = \"verify\"\n";
            assert_eq!(listener.is_empty(), !listener.contains(required));
            assert_eq!(pool.is_empty(), !pool.contains(verified));
            [!listener.is_empty(), !pool.is_empty()]
        };
        assert_eq!(told(Encrypted::Nothing), [false, false]);
        assert_eq!(told(Encrypted::Clients), [true, false]);
        assert_eq!(told(Encrypted::Everything), [true, true]);
    }

    #[test]
    fn all_products_are_told_the_same() {
        let certificates = Certificates::make().unwrap();
        for (resumes, tickets) in [
            (
                true,
                ["session_tickets = true", "", "ssl_session_tickets on;"],
            ),
            (
                false,
                [
                    "session_tickets = false",
                    " no-tls-tickets",
                    "ssl_session_tickets off;",
                ],
            ),
        ] {
            let certificate = certificates.with(Key::Rsa2048);
            let tls = Termination {
                certificate,
                resumes,
            };
            let configs = [ringway("terminate", tls), haproxy(tls).1, nginx(tls).1];
            for (config, tickets) in configs.iter().zip(tickets) {
                for part in [CIPHER_SUITE, certificate.pem.to_str().unwrap(), tickets] {
                    assert!(config.contains(part), "{part} is missing in\n{config}");
                }
                assert_eq!(
                    config.contains("no-tls-tickets"),
                    tickets.contains("no-tls")
                );
            }
        }
    }
}
