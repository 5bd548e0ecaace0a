//! What all handlers do: take what the server put beside the request, run one operation, answer.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::{
    Api,
    admission::{Admission, ByteMeter, Charge, Refused},
    status,
};
use crate::{
    audit::Released,
    identity::Connection,
    operations::{self, Operation},
    proto::v1,
};

/// Messages of one stream that are worked on at once, at most.
const STREAM_IN_FLIGHT_MAX: usize = 16;

/// The metadata that echoes a unary call's request id; a stream's messages carry a sequence number instead.
const REQUEST_ID: &str = "privet-request-id";

/// Answers of a stream.
pub(super) type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

/// What the server put beside a request.
pub(super) struct Arrival {
    pub(super) connection: Arc<Connection>,
    pub(super) admission: Arc<Admission>,
    meter: Arc<ByteMeter>,
}

impl Arrival {
    /// A request that did not come through the server's own layers is nobody's.
    pub(super) fn of(extensions: &Extensions) -> Result<Self, Status> {
        Ok(Self {
            connection: extensions.get().cloned().ok_or_else(status::not_ours)?,
            admission: extensions.get().cloned().ok_or_else(status::not_ours)?,
            meter: extensions.get().cloned().ok_or_else(status::not_ours)?,
        })
    }
}

impl Arrival {
    /// Charges an answer that is about to be sent.
    pub(super) fn charge(&self, answer_bytes: usize) -> Result<Charge, Refused> {
        self.meter.answer(answer_bytes)
    }
}

impl Api {
    /// Answers a unary call with one operation.
    pub(super) async fn unary<M, O: Operation, A: Message>(
        &self,
        request: Request<M>,
        ask: impl FnOnce(M) -> O,
        answer: impl FnOnce(Released<O::Answer>) -> A,
    ) -> Result<Response<A>, Status> {
        let arrival = Arrival::of(request.extensions())?;
        let charge = arrival.meter.take_all().until_delivered();
        let mut answer_charge = arrival.meter.answer(O::answer_bytes_max(&self.service))?;
        let permit = (arrival.admission.try_admit()?, charge.clone());
        let operation = ask(request.into_inner());
        let request_id =
            Some(&operation.header().request_id).filter(|id| !id.is_empty()).and_then(|id| id.parse().ok());
        let outcome = operations::run(self.service.clone(), arrival.connection, operation, permit).await;
        let mut response = outcome.map(|released| Response::new(answer(released))).map_err(status::of);
        answer_charge.shrink_to(response.as_ref().map_or(0, |response| response.get_ref().encoded_len()));
        if let Some(request_id) = request_id {
            let metadata = response.as_mut().map_or_else(Status::metadata_mut, Response::metadata_mut);
            metadata.insert(REQUEST_ID, request_id);
        }
        response.map(|mut response| {
            response.extensions_mut().insert(charge.with_answer(answer_charge));
            response
        })
    }

    /// Answers a request with a stream of which each message is one operation, decided and recorded by itself. The answer to
    /// one says what the next is.
    pub(super) fn sequence<M, O: Operation, A: Message + 'static>(
        &self,
        request: Request<M>,
        ask: impl FnOnce(M) -> O,
        answer: impl Fn(Released<O::Answer>) -> (A, Option<O>) + Clone + Send + 'static,
    ) -> Result<Response<Answers<A>>, Status> {
        let arrival = Arrival::of(request.extensions())?;
        let service = self.service.clone();
        let first = (Some(ask(request.into_inner())), None);
        let answers = stream::unfold((first, arrival), move |((operation, sent), arrival)| {
            let (service, answer) = (service.clone(), answer.clone());
            async move {
                // The message before is on its way.
                drop::<Option<Charge>>(sent);
                let operation = operation?;
                let ended = |status: Status, arrival| Some((Err(status), ((None, None), arrival)));
                let admitted =
                    match (arrival.admission.admit().await, arrival.meter.answer(O::answer_bytes_max(&service))) {
                        (Ok(permit), Ok(charge)) => (permit, charge),
                        (Err(refused), _) | (_, Err(refused)) => return ended(refused.into(), arrival),
                    };
                let (permit, mut charge) = admitted;
                match operations::run(service, arrival.connection.clone(), operation, permit).await {
                    Ok(released) => {
                        let (message, next) = answer(released);
                        charge.shrink_to(message.encoded_len());
                        Some((Ok(message), ((next, Some(charge)), arrival)))
                    }
                    Err(failure) => ended(status::of(failure), arrival),
                }
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    /// Answers each message of a stream with one operation, in order, several at once.
    ///
    /// Backpressure: a message is read only when there is room to work on it.
    pub(super) fn stream<M, O, A>(
        &self,
        request: Request<Streaming<M>>,
        ask: impl Fn(M) -> (u64, O) + Clone + Send + 'static,
        answer: impl Fn(u64, Result<Released<O::Answer>, Status>) -> A + Clone + Send + 'static,
    ) -> Result<Response<Answers<A>>, Status>
    where
        M: Message + Default + 'static,
        O: Operation,
        A: Send + 'static,
    {
        let arrival = Arrival::of(request.extensions())?;
        let service = self.service.clone();
        let messages = stream::unfold((request.into_inner(), arrival), |(mut messages, arrival)| async move {
            let message = match messages.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return None,
                Err(status) => return Some((Err(status), (messages, arrival))),
            };
            let charge = arrival.meter.take(message.encoded_len());
            let next = match arrival.admission.admit().await {
                Ok(admitted) => Ok((message, arrival.connection.clone(), (admitted, charge))),
                Err(refused) => Err(refused.into()),
            };
            Some((next, (messages, arrival)))
        });
        let answers = messages.map(move |next| {
            let (service, ask, answer) = (service.clone(), ask.clone(), answer.clone());
            async move {
                let (message, connection, permit) = next?;
                let (sequence, operation) = ask(message);
                // Held by the operation to its end, and by its answer until that is on its way.
                let permit = Arc::new(permit);
                let outcome = operations::run(service, connection, operation, permit.clone()).await;
                Ok((answer(sequence, outcome.map_err(status::of)), permit))
            }
        });
        let answers = answers.buffered(STREAM_IN_FLIGHT_MAX).map(|answered| answered.map(|(answer, _permit)| answer));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// The error of one message of a stream.
pub(super) fn message_error(status: &Status) -> tonic_types::Status {
    // What tonic puts into the trailers is a google.rpc.Status already.
    tonic_types::pb::Status::decode(status.details()).unwrap_or_else(|_| tonic_types::pb::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// Receipts as they are sent.
pub(super) fn receipts(receipts: Vec<crate::audit::Receipt>) -> Vec<v1::Receipt> {
    receipts
        .into_iter()
        .map(|receipt| v1::Receipt {
            origin: receipt.origin.to_string(),
            entry_index: receipt.entry_index,
            leaf_hash: receipt.leaf_hash.to_vec().into(),
            checkpoint: receipt.checkpoint.to_string(),
        })
        .collect()
}
