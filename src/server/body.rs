//! Bodies with bounds: requests are metered and must arrive in time, answers end properly even when their handler panics.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Status, body::Body};

use super::{connection::OpenRequest, telemetry::Record};
use crate::api::{
    admission::{ByteMeter, UntilDelivered},
    status,
};

/// A request's body, charged to its meter as it arrives. A message that began must be complete within `patience`.
pub(super) struct Metered<B> {
    body: B,
    meter: Arc<ByteMeter>,
    patience: Duration,
    waiting: Option<Waiting>,
    failed: bool,
}

/// The wait for the rest of a message.
struct Waiting {
    /// The meter's takes when it began: the next take means another message.
    takes: u64,
    over: Pin<Box<Sleep>>,
}

impl<B> Metered<B> {
    pub(super) fn new(body: B, meter: Arc<ByteMeter>, patience: Duration) -> Self {
        Self { body, meter, patience, waiting: None, failed: false }
    }

    /// Nothing has arrived: is that so for too long in the middle of a message? The time that a handler spends on other
    /// things does not count against its client.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.meter.untaken() == 0 {
            self.waiting = None;
            return Poll::Pending;
        }
        let takes = self.meter.takes();
        let patience = self.patience;
        let fresh = || Waiting { takes, over: Box::pin(sleep(patience)) };
        let waiting = self.waiting.get_or_insert_with(fresh);
        if waiting.takes != takes {
            waiting.takes = takes;
            waiting.over.as_mut().reset(Instant::now() + patience);
        }
        waiting.over.as_mut().poll(cx)
    }
}

impl<B> http_body::Body for Metered<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let polled = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.meter.charge(bytes).map(|()| frame).map_err(Status::from)
            }
            Poll::Ready(Some(Err(error))) => Err(Status::from_error(Box::new(error))),
            Poll::Pending => {
                std::task::ready!(self.poll_late(cx));
                Err(status::message_late())
            }
        };
        self.failed = polled.is_err();
        Poll::Ready(Some(polled))
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body. It is counted with the code it ends with.
pub(super) struct Answer {
    body: Body,
    record: Record,
    panicked: bool,
    held: Option<UntilDelivered>,
    _open: OpenRequest,
}

impl Answer {
    pub(super) fn new(body: Body, record: Record, held: Option<UntilDelivered>, open: OpenRequest) -> Self {
        Self { body, record, panicked: false, held, _open: open }
    }

    /// What must be held until delivery lives in the data itself: HTTP/2 takes the last of a body long before the client
    /// has read it, and drops the data when it is written to the socket.
    fn hold(&self, data: Bytes) -> Bytes {
        match &self.held {
            Some(held) => Bytes::from_owner(Held { data, _held: held.clone() }),
            None => data,
        }
    }

    fn end_in_panic(&mut self) -> Frame<Bytes> {
        self.panicked = true;
        self.record.panicked();
        let mut trailers = HeaderMap::new();
        // It holds nothing that a header could refuse; without it the client sees a stream without status, an error as well.
        let _ = status::panicked().add_header(&mut trailers);
        self.record.trailers(&mut trailers);
        Frame::trailers(trailers)
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.panicked {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.body).poll_frame(cx))) {
            Ok(Poll::Ready(Some(Ok(mut frame)))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    this.record.trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame.map_data(|data| this.hold(data)))))
            }
            Ok(other) => other,
            Err(_) => Poll::Ready(Some(Ok(this.end_in_panic()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.panicked || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Data of an answer, and what is held for it.
struct Held {
    data: Bytes,
    _held: UntilDelivered,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests;
