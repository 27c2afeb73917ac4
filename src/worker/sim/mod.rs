//! The worker without a kernel: peers, sockets and completions made up from a string of bytes, so
//! that a fuzzer, or a seed, decides what happens and in which order.
//!
//! What must hold is checked at every step: each byte reaches the right peer, once and in order; no
//! socket is closed and no buffer released while an operation uses it; and in the end everything
//! that was taken has been given back.
//!
//! With TLS, the peers speak it by the product's own sessions, see `tls`. What is compared is their
//! plaintext. A close_notify is one's due whose counterpart has ended cleanly, and nobody else's.

mod kernel;
mod socket;
mod tls;
mod world;

pub use world::{Outcome, drive, drive_tls};

#[cfg(test)]
mod tests {
    use super::{Outcome, drive, drive_tls};
    use crate::entropy::{corpus, noise};
    use crate::telemetry::{HandshakeFailure, Reason};

    /// What so many runs come to.
    fn run(seeds: u64, drive: fn(&[u8]) -> Outcome) -> Outcome {
        let mut sum = Outcome::default();
        for seed in 1..=seeds {
            let input = input(seed);
            let result = std::panic::catch_unwind(|| drive(&input));
            sum.add(&result.unwrap_or_else(|_| panic!("seed {seed} breaks it")));
        }
        sum
    }

    fn input(seed: u64) -> Vec<u8> {
        noise(seed, 200 + (seed as usize * 37) % 3000)
    }

    /// A run in which nothing happened would prove nothing.
    fn assert_tried(outcome: &Outcome, reasons: &[Reason]) {
        let Outcome {
            copied, spliced, ..
        } = outcome;
        assert!(
            *copied > 1_000_000 && *spliced > 1_000_000,
            "{copied} copied, {spliced} spliced"
        );
        for reason in reasons {
            let ended = outcome.ended[reason.index()];
            assert!(ended > 0, "no session ended by {reason:?}");
        }
    }

    #[test]
    fn nothing_that_peers_and_kernel_do_breaks_a_session() {
        let tried = [
            Reason::Finished,
            Reason::Reset,
            Reason::IdleTimeout,
            Reason::HalfCloseTimeout,
            Reason::ConnectFailed,
            Reason::OutOfPorts,
            Reason::OutOfMemory,
        ];
        assert_tried(&run(1200, drive), &tried);
    }

    #[test]
    fn nothing_that_peers_and_kernel_do_breaks_a_session_with_tls() {
        let outcome = run(300, drive_tls);
        let tried = [
            Reason::Finished,
            Reason::Reset,
            Reason::IdleTimeout,
            Reason::HalfCloseTimeout,
            Reason::ConnectFailed,
            Reason::OutOfMemory,
            Reason::TlsHandshake,
            Reason::TlsHandshakeTimeout,
            Reason::NotTls,
            Reason::TlsBroken,
        ];
        assert_tried(&outcome, &tried);
        let failures = [
            HandshakeFailure::CutOff,
            HandshakeFailure::Decrypt,
            HandshakeFailure::Misbehaved,
            HandshakeFailure::NotTls,
            HandshakeFailure::Timeout,
        ];
        for failure in failures {
            let failed = outcome.unshaken[failure.index()];
            assert!(failed > 0, "no handshake failed by {failure:?}");
        }
        let counts = [outcome.shaken, outcome.shaken_by_servers, outcome.truncated].concat();
        assert!(
            outcome.refused > 0 && !counts.contains(&0),
            "{outcome:?} leaves something out"
        );
    }

    #[test]
    fn a_seed_does_the_same_each_time() {
        for seed in [3, 11, 42, 144, 300] {
            let (first, second) = (drive_tls(&input(seed)), drive_tls(&input(seed)));
            assert_eq!(first, second, "seed {seed}");
        }
    }

    #[test]
    fn completions_of_a_session_that_is_over_change_nothing() {
        super::world::deliver_late_completions();
    }

    #[test]
    fn the_corpora_of_the_fuzzer_still_hold() {
        for data in corpus("relay") {
            drive(&data);
        }
        for data in corpus("relay_tls") {
            drive_tls(&data);
        }
    }
}
