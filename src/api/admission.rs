//! How much may be under way at once: requests of one connection, requests of all, and bytes of all.
//!
//! A request's body is charged to the [`Budget`] as it arrives, on the request's [`ByteMeter`]; a handler takes the bytes
//! of each message that it decodes and keeps them, as a [`Charge`], for as long as it works on the message. Its place
//! among the requests under way is an [`Admitted`]. Both are released by being dropped, so they belong into the task that
//! runs the operation: a client that hangs up escapes no limit.
//!
//! INVARIANT: `bytes_in_flight` is the sum of what all meters and charges hold, and never exceeds the budget.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// No capacity now; the same request may pass later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The connection has as many requests under way as it may.
    #[error("too many requests in flight on this connection")]
    Connection,
    /// The process has as many requests under way as it may.
    #[error("too many requests in flight")]
    Process,
    /// The process holds as many bytes of requests as it may.
    #[error("too many bytes in flight")]
    Bytes,
}

impl Refused {
    /// When to try again, at the earliest.
    pub fn retry_after(self) -> Duration {
        match self {
            Self::Connection => Duration::from_millis(100),
            Self::Process | Self::Bytes => Duration::from_millis(500),
        }
    }

    /// The machine-readable reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Connection => "CONNECTION_REQUESTS_IN_FLIGHT",
            Self::Process => "REQUESTS_IN_FLIGHT",
            Self::Bytes => "BYTES_IN_FLIGHT",
        }
    }
}

/// What all connections share.
pub struct Budget {
    bytes: AtomicU64,
    bytes_max: u64,
    requests: Arc<Semaphore>,
    requests_max: usize,
}

impl Budget {
    /// At most `bytes_max` bytes and `requests_max` requests at once.
    pub fn new(bytes_max: u64, requests_max: usize) -> Arc<Self> {
        let requests_max = requests_max.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            bytes: AtomicU64::new(0),
            bytes_max,
            requests: Arc::new(Semaphore::new(requests_max)),
            requests_max,
        })
    }

    /// How many bytes of requests are held now.
    pub fn bytes_in_flight(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many requests are under way now.
    pub fn requests_in_flight(&self) -> usize {
        self.requests_max.saturating_sub(self.requests.available_permits())
    }

    fn charge(&self, bytes: u64) -> Result<(), Refused> {
        let add = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).map(drop).map_err(|_| Refused::Bytes)
    }

    fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes and {} requests in flight", self.bytes_in_flight(), self.requests_in_flight())
    }
}

/// One connection's share of the requests under way. Put into the extensions of each of its requests, as an `Arc`.
#[derive(Debug)]
pub struct Admission {
    connection: Arc<Semaphore>,
    budget: Arc<Budget>,
}

impl Admission {
    /// A connection with at most `in_flight_max` requests at once.
    pub fn new(budget: Arc<Budget>, in_flight_max: usize) -> Self {
        Self { connection: Arc::new(Semaphore::new(in_flight_max.min(Semaphore::MAX_PERMITS))), budget }
    }

    /// Lets a request in at once or not at all: for unary calls.
    ///
    /// # Errors
    /// [`Refused::Connection`], [`Refused::Process`].
    pub fn try_admit(&self) -> Result<Admitted, Refused> {
        let connection = self.connection.clone().try_acquire_owned().map_err(|_| Refused::Connection)?;
        let process = self.budget.requests.clone().try_acquire_owned().map_err(|_| Refused::Process)?;
        Ok(Admitted { _connection: connection, _process: process })
    }

    /// Lets a request in when there is room: for the messages of a stream, whose next message is not read meanwhile.
    ///
    /// # Errors
    /// None while the server lives: nothing closes what this waits on.
    pub async fn admit(&self) -> Result<Admitted, Refused> {
        let connection = self.connection.clone().acquire_owned().await.map_err(|_| Refused::Connection)?;
        let process = self.budget.requests.clone().acquire_owned().await.map_err(|_| Refused::Process)?;
        Ok(Admitted { _connection: connection, _process: process })
    }
}

/// A place among the requests under way, given back when dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Admitted {
    _connection: OwnedSemaphorePermit,
    _process: OwnedSemaphorePermit,
}

/// The bytes of one request that arrived and that no handler has taken yet. Put into the request's extensions, as an `Arc`.
#[derive(Debug)]
pub struct ByteMeter {
    budget: Arc<Budget>,
    held: AtomicU64,
    takes: AtomicU64,
}

impl ByteMeter {
    /// A meter that shows 0.
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { budget, held: AtomicU64::new(0), takes: AtomicU64::new(0) }
    }

    /// Counts bytes that arrived.
    ///
    /// # Errors
    /// [`Refused::Bytes`], and nothing is counted.
    pub fn charge(&self, bytes: u64) -> Result<(), Refused> {
        self.budget.charge(bytes)?;
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the bytes of one decoded message off the meter, at most what it shows. `message_bytes` is the encoded
    /// length; the five bytes of gRPC framing are taken with it.
    pub fn take(&self, message_bytes: usize) -> Charge {
        let wanted = u64::try_from(message_bytes).unwrap_or(u64::MAX).saturating_add(FRAMING_BYTES);
        self.takes.fetch_add(1, Ordering::Relaxed);
        let rest = |held: u64| Some(held.saturating_sub(wanted));
        let held = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).unwrap_or_default();
        Charge { budget: self.budget.clone(), bytes: held.min(wanted) }
    }

    /// Takes all that the meter shows: for unary calls, whose body is one message.
    pub fn take_all(&self) -> Charge {
        self.takes.fetch_add(1, Ordering::Relaxed);
        Charge { budget: self.budget.clone(), bytes: self.held.swap(0, Ordering::Relaxed) }
    }

    /// Charges bytes of an answer, which is not in the request's own: what is not delivered counts like what is not worked off.
    ///
    /// # Errors
    /// [`Refused::Bytes`], and nothing is charged.
    pub fn answer(&self, bytes: usize) -> Result<Charge, Refused> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.budget.charge(bytes)?;
        Ok(Charge { budget: self.budget.clone(), bytes })
    }

    /// How many bytes arrived and were not taken.
    pub fn untaken(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// How many times a handler took bytes: two equal answers mean that no message was finished in between.
    pub fn takes(&self) -> u64 {
        self.takes.load(Ordering::Relaxed)
    }
}

impl Drop for ByteMeter {
    fn drop(&mut self) {
        self.budget.release(*self.held.get_mut());
    }
}

/// Bytes that a handler works on, released when dropped.
#[derive(Debug)]
#[must_use = "dropping it releases the bytes"]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Charge {
    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back what is over `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let over = self.bytes.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.budget.release(over);
        self.bytes -= over;
    }

    /// Keeps the bytes until the answer is sent: for the extensions of a response, so that a client that does not read
    /// its answers runs into the budget.
    pub fn until_delivered(self) -> UntilDelivered {
        UntilDelivered { _charge: Arc::new(self), _answer: None }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// A [`Charge`] that waits for its answer to be sent.
#[derive(Clone, Debug)]
pub struct UntilDelivered {
    _charge: Arc<Charge>,
    _answer: Option<Arc<Charge>>,
}

impl UntilDelivered {
    /// Keeps the answer's own bytes as well.
    #[must_use]
    pub fn with_answer(self, answer: Charge) -> Self {
        Self { _answer: Some(Arc::new(answer)), ..self }
    }
}

/// Length-Prefixed-Message of gRPC over HTTP/2: one byte of flag, four of length.
const FRAMING_BYTES: u64 = 5;

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn the_budget_ends_at_its_limit_and_a_refused_charge_counts_nothing() {
        let budget = Budget::new(100, 1);
        let meter = ByteMeter::new(budget.clone());
        assert_eq!(meter.charge(100), Ok(()));
        assert_eq!(meter.charge(1), Err(Refused::Bytes));
        assert_eq!(meter.charge(u64::MAX), Err(Refused::Bytes));
        assert_eq!((meter.untaken(), budget.bytes_in_flight()), (100, 100));
        drop(meter);
        assert_eq!(budget.bytes_in_flight(), 0);
    }

    #[test]
    fn taken_bytes_outlive_their_meter_and_only_those() {
        let budget = Budget::new(100, 1);
        let meter = ByteMeter::new(budget.clone());
        meter.charge(60).unwrap();
        let message = meter.take(15);
        assert_eq!((message.bytes(), meter.untaken()), (20, 40));
        drop(meter);
        assert_eq!(budget.bytes_in_flight(), 20);
        let delivered = message.until_delivered();
        let copy = delivered.clone();
        drop(delivered);
        assert_eq!(budget.bytes_in_flight(), 20);
        drop(copy);
        assert_eq!(budget.bytes_in_flight(), 0);
    }

    #[test]
    fn a_meter_gives_no_more_than_it_shows() {
        let budget = Budget::new(100, 1);
        let meter = ByteMeter::new(budget.clone());
        meter.charge(10).unwrap();
        assert_eq!(meter.take(usize::MAX).bytes(), 10);
        assert_eq!(meter.take_all().bytes(), 0);
        assert_eq!(budget.bytes_in_flight(), 0);
    }

    #[test]
    fn requests_are_bounded_by_connection_and_over_all() {
        let budget = Budget::new(0, 3);
        let (one, two) = (Admission::new(budget.clone(), 2), Admission::new(budget.clone(), 2));
        let held = [one.try_admit().unwrap(), one.try_admit().unwrap()];
        assert_eq!(one.try_admit().unwrap_err(), Refused::Connection);
        let third = two.try_admit().unwrap();
        assert_eq!(two.try_admit().unwrap_err(), Refused::Process);
        assert_eq!(budget.requests_in_flight(), 3);
        drop(held);
        assert!(two.try_admit().is_ok());
        drop(third);
        assert_eq!(budget.requests_in_flight(), 0);
    }

    #[tokio::test]
    async fn a_stream_waits_for_its_place() {
        let budget = Budget::new(0, 10);
        let admission = Arc::new(Admission::new(budget, 1));
        let held = admission.try_admit().unwrap();
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        assert!(waiting.await.unwrap().is_ok());
    }

    #[test]
    fn a_refusal_says_when_to_retry() {
        for refused in [Refused::Connection, Refused::Process, Refused::Bytes] {
            let status = tonic::Status::from(refused);
            assert_eq!(status.code(), tonic::Code::ResourceExhausted);
            let details = status.get_error_details();
            assert_eq!(details.retry_info().unwrap().retry_delay, Some(refused.retry_after()));
            assert_eq!(details.error_info().unwrap().reason, refused.reason());
        }
    }

    #[test]
    fn answers_that_are_not_delivered_count_against_the_budget() {
        let budget = Budget::new(1_000, 1);
        let meter = ByteMeter::new(budget.clone());
        meter.charge(100).unwrap();
        let request = meter.take_all().until_delivered();
        let mut answer = meter.answer(800).unwrap();
        assert_eq!(meter.answer(200).unwrap_err(), Refused::Bytes);
        answer.shrink_to(300);
        answer.shrink_to(900);
        assert_eq!((budget.bytes_in_flight(), answer.bytes()), (400, 300));
        let delivered = request.with_answer(answer);
        drop(meter.answer(600).unwrap());
        drop(delivered);
        assert_eq!(budget.bytes_in_flight(), 0);
    }
}
