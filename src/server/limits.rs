//! The gate that every request of a connection passes, in and out.
//!
//! In: it learns whose the request is, what it may use, and when its client stops waiting. Out: it is counted, a panic is an
//! INTERNAL error of that request alone, and what was taken for it is given back when the answer is delivered.

use std::{future::poll_fn, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};
use tonic::{body::Body, service::Routes};
use tower::Service;

use super::{
    body::{Answer, Metered},
    connection::{Requests, Shared},
    deadline,
    telemetry::Record,
};
use crate::{
    api::{
        admission::{Admission, ByteMeter, UntilDelivered},
        farewell::Farewell,
        status,
    },
    identity,
};

/// What the requests of one connection share.
pub(super) struct Gate {
    shared: Arc<Shared>,
    connection: Arc<identity::Connection>,
    admission: Arc<Admission>,
    farewell: Farewell,
    requests: Arc<Requests>,
}

impl Gate {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: identity::Connection,
        farewell: Farewell,
        requests: Arc<Requests>,
    ) -> Self {
        let admission = Admission::new(shared.budget.clone(), shared.limits.in_flight_per_connection);
        Self { shared, connection: Arc::new(connection), admission: Arc::new(admission), farewell, requests }
    }

    /// Answers one request. Handlers find `Arc<identity::Connection>`, `Arc<Admission>`, `Arc<ByteMeter>` and [`Farewell`] in
    /// its extensions, and may put an [`UntilDelivered`] into those of the answer.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let open = self.requests.open();
        let mut record = self.shared.metrics.request(request.uri().path(), Instant::now());
        let mut response = self.route(request, &mut record).await;
        record.headers(response.headers_mut(), self.shared.limits.message_bytes_max);
        let held = response.extensions_mut().remove::<UntilDelivered>();
        response.map(|body| Answer::new(body, record, held, open))
    }

    async fn route(&self, request: Request<Incoming>, record: &mut Record) -> Response<Body> {
        let deadline = deadline::of(request.headers());
        let meter = Arc::new(ByteMeter::new(self.shared.budget.clone()));
        let patience = self.shared.limits.message_secs_max;
        let mut request = request.map(|body| Body::new(Metered::new(body, meter.clone(), patience)));
        let extensions = request.extensions_mut();
        extensions.insert(self.connection.clone());
        extensions.insert(self.admission.clone());
        extensions.insert(meter);
        extensions.insert(self.farewell.clone());
        let routed = AssertUnwindSafe(call(self.shared.routes.clone(), request)).catch_unwind();
        let answered = match deadline {
            None => Ok(routed.await),
            Some(deadline) => timeout(deadline, routed).await,
        };
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => {
                record.panicked();
                status::panicked().into_http()
            }
            Err(_) => status::deadline_over().into_http(),
        }
    }
}

async fn call(mut routes: Routes, request: Request<Body>) -> Response<Body> {
    let Ok(()) = poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut routes, cx)).await;
    let Ok(response) = routes.call(request).await;
    response
}
