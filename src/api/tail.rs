//! A live tail as a stream: windows of a minute, each one an operation, and what is sent within them. It ends with the
//! connection, which its client makes again.

use std::sync::Arc;

use futures_util::stream;
use prost::Message;
use tonic::{Request, Response, Status};

use super::{
    Api,
    admission::Charge,
    call::{Answers, Arrival, receipts},
    convert::audit as convert,
    farewell::Farewell,
    status,
};
use crate::{
    operations::{
        self, Service,
        tail_entries::{Closing, Over, TailEntries, TailPlace, Window},
    },
    proto::v1,
};

/// A tail under way.
struct Tail {
    service: Arc<Service>,
    arrival: Arrival,
    farewell: Farewell,
    asked: TailEntries,
    window: Option<Window>,
    /// From the first window on.
    closing: Option<Closing>,
    place: Option<TailPlace>,
    /// Of the message that is being sent.
    charge: Option<Charge>,
}

impl Api {
    /// Sends entries as they are recorded, until the caller ends it.
    pub(super) fn tail(
        &self,
        request: Request<v1::TailEntriesRequest>,
    ) -> Result<Response<Answers<v1::TailEntriesResponse>>, Status> {
        let arrival = Arrival::of(request.extensions())?;
        let farewell = request.extensions().get().cloned().ok_or_else(status::not_ours)?;
        let asked = convert::tail_entries(request.into_inner());
        let service = self.service.clone();
        let tail = Tail { service, arrival, farewell, asked, window: None, closing: None, place: None, charge: None };
        let messages = stream::unfold(Some(tail), |tail| async {
            let mut tail: Tail = tail?;
            let mut farewell = tail.farewell.clone();
            let message = tokio::select! {
                message = tail.message() => message,
                () = farewell.said() => return None,
            };
            match message {
                Ok(message) => Some((Ok(message), Some(tail))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

impl Tail {
    async fn message(&mut self) -> Result<v1::TailEntriesResponse, Status> {
        // The one before is sent.
        self.charge = None;
        loop {
            let Some(window) = &mut self.window else { return self.decide().await };
            match window.more(&self.service).await {
                Ok(released) => {
                    let message = convert::tailed_entries(released);
                    self.charge = Some(self.arrival.charge(message.encoded_len())?);
                    self.reached(message.next_index);
                    return Ok(message);
                }
                Err(Over::Again) => {
                    let next = window.next_index();
                    self.reached(next);
                    self.window = None;
                }
                Err(Over::Failed(failure)) => return Err(status::of(failure)),
            }
        }
    }

    /// Opens the next window, and tells that the tail is alive.
    async fn decide(&mut self) -> Result<v1::TailEntriesResponse, Status> {
        let permit = self.arrival.admission.admit().await?;
        let connection = self.arrival.connection.clone();
        let run = operations::run(self.service.clone(), connection, self.asked.clone(), permit).await;
        let (window, evidence) = run.map_err(status::of)?.into_parts();
        let next_index = window.next_index();
        if let (None, Ok(caller)) = (&self.closing, &self.arrival.connection.caller) {
            let place = self.service.tails.place(&caller.principal);
            self.place = Some(place.ok_or_else(status::too_many_tails)?);
            self.closing = Some(Closing::of(self.service.clone(), caller.clone(), &window));
        }
        self.window = Some(window);
        self.reached(next_index);
        Ok(v1::TailEntriesResponse { entries: Vec::new(), next_index, receipts: receipts(evidence) })
    }

    fn reached(&mut self, next_index: u64) {
        self.asked.start_index = Some(next_index);
        if let Some(closing) = &mut self.closing {
            closing.note(next_index);
        }
    }
}
