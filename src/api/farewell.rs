//! How answers without an end are told to end: when their connection is about to, while there is still time to say so.

use tokio::sync::watch;

/// Whether a connection ends. Put into the extensions of each of its requests.
#[derive(Clone, Debug)]
pub struct Farewell(watch::Receiver<bool>);

/// Says farewell to the requests of one connection; being dropped says it, too.
#[derive(Debug)]
pub struct Leaving(watch::Sender<bool>);

impl Farewell {
    /// The two ends of a connection's farewell.
    pub fn new() -> (Leaving, Self) {
        let (leaving, farewell) = watch::channel(false);
        (Leaving(leaving), Self(farewell))
    }

    /// Is ready when it is time to end.
    pub async fn said(&mut self) {
        // An error is the end of the connection itself.
        let _ = self.0.wait_for(|said| *said).await;
    }
}

impl Leaving {
    /// It is time to end.
    pub fn say(&self) {
        self.0.send_replace(true);
    }
}
