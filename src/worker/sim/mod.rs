//! The worker without a kernel: peers, sockets and completions made up from a string of bytes, so
//! that a fuzzer, or a seed, decides what happens and in which order.
//!
//! What must hold is checked at every step: each byte reaches the right peer, once and in order; no
//! socket is closed and no buffer released while an operation uses it; and in the end everything
//! that was taken has been given back.

mod kernel;
mod world;

pub use world::{Outcome, drive};

#[cfg(test)]
mod tests {
    use super::drive;
    use crate::entropy::noise;
    use crate::telemetry::Reason;

    #[test]
    fn nothing_that_peers_and_kernel_do_breaks_a_session() {
        let (mut copied, mut spliced) = (0, 0);
        let mut ended = [0; Reason::ALL.len()];
        for seed in 1..=1200 {
            let len = 200 + (seed as usize * 37) % 3000;
            let result = std::panic::catch_unwind(|| drive(&noise(seed, len)));
            let outcome = result.unwrap_or_else(|_| panic!("seed {seed} breaks it"));
            copied += outcome.copied;
            spliced += outcome.spliced;
            ended
                .iter_mut()
                .zip(outcome.ended)
                .for_each(|(sum, n)| *sum += n);
        }
        // A run in which nothing happened would prove nothing.
        assert!(
            copied > 1_000_000 && spliced > 1_000_000,
            "{copied} copied, {spliced} spliced"
        );
        let tried = [
            Reason::Finished,
            Reason::Reset,
            Reason::IdleTimeout,
            Reason::HalfCloseTimeout,
            Reason::ConnectFailed,
            Reason::OutOfPorts,
            Reason::OutOfMemory,
        ];
        for reason in tried {
            assert!(ended[reason.index()] > 0, "no session ended by {reason:?}");
        }
    }

    #[test]
    fn completions_of_a_session_that_is_over_change_nothing() {
        super::world::deliver_late_completions();
    }

    #[test]
    fn the_corpus_of_the_fuzzer_still_holds() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/relay");
        let entries = std::fs::read_dir(corpus).expect("the corpus is part of the repository");
        let mut replayed = 0;
        for entry in entries {
            let path = entry.expect("a readable directory").path();
            drive(&std::fs::read(&path).expect("a readable file"));
            replayed += 1;
        }
        assert!(replayed > 0, "an empty corpus proves nothing");
    }
}
