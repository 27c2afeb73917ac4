//! Requests to reload, coalesced: one configuration is being read at a time, and however many
//! requests come meanwhile, it is read once more afterwards. So the last one written wins.

use std::future::pending;

use tokio::sync::oneshot;

/// Reads configurations on request. `Start` begins to read one, off this thread.
#[derive(Debug)]
pub(super) struct Requests<T, Start> {
    start: Start,
    reading: Option<oneshot::Receiver<T>>,
    again: bool,
}

impl<T, Start: Fn() -> oneshot::Receiver<T>> Requests<T, Start> {
    /// Nothing has been requested yet.
    pub(super) fn new(start: Start) -> Self {
        Self {
            start,
            reading: None,
            again: false,
        }
    }

    /// Begins to read, or notes that what is being read may be out of date.
    pub(super) fn request(&mut self) {
        if self.reading.is_some() {
            self.again = true;
        } else {
            self.reading = Some((self.start)());
        }
    }

    /// What was read, once it is; for ever, when nothing was requested. `None`: the reader died.
    pub(super) async fn read(&mut self) -> Option<T> {
        let Some(reading) = &mut self.reading else {
            return pending().await;
        };
        let read = reading.await.ok();
        self.reading = None;
        if std::mem::take(&mut self.again) {
            self.request();
        }
        read
    }
}

/// [`Requests::read`], and for ever where nothing can be requested.
pub(super) async fn read<T, Start: Fn() -> oneshot::Receiver<T>>(
    requests: &mut Option<Requests<T, Start>>,
) -> Option<T> {
    match requests {
        Some(requests) => requests.read().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn a_storm_of_requests_is_read_twice_and_the_last_one_wins() {
        let readers = RefCell::new(Vec::new());
        let mut requests = Requests::new(|| {
            let (reader, read) = oneshot::channel();
            readers.borrow_mut().push(reader);
            read
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            for _ in 0..1000 {
                requests.request();
            }
            assert_eq!(readers.borrow().len(), 1, "one at a time");
            readers.borrow_mut().remove(0).send("first").unwrap();
            assert_eq!(requests.read().await, Some("first"));
            assert_eq!(readers.borrow().len(), 1, "once more, for all the others");
            readers.borrow_mut().remove(0).send("last").unwrap();
            assert_eq!(requests.read().await, Some("last"));

            let nothing = timeout(Duration::from_millis(1), requests.read()).await;
            assert!(nothing.is_err() && readers.borrow().is_empty());
            requests.request();
            readers.borrow_mut().clear();
            assert_eq!(
                requests.read().await,
                None,
                "a reader that dies is not waited for"
            );
        });
    }
}
