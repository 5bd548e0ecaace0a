//! The way to a server: who is called, as whom, and over what.
//!
//! TLS 1.3 with a client certificate, one CA, and nothing else: no system roots, no resumption, no switch that turns a check
//! off. A private key that others on this machine can read is refused.
//!
//! This and what lies beneath it are the only places of the command line that know tonic.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use super::failure::Failure;
use crate::proto::v1::{
    audit_service_client::AuditServiceClient, authorization_service_client::AuthorizationServiceClient,
    encryption_service_client::EncryptionServiceClient, key_service_client::KeyServiceClient,
    policy_service_client::PolicyServiceClient, subject_service_client::SubjectServiceClient,
    tenant_service_client::TenantServiceClient,
};

/// The code of a request of which nothing is allowed.
pub const PERMISSION_DENIED: tonic::Code = tonic::Code::PermissionDenied;

/// The codes of a request about one subject of which nothing is stored, or that is held.
pub const NOT_FOUND: tonic::Code = tonic::Code::NotFound;
/// As above.
pub const FAILED_PRECONDITION: tonic::Code = tonic::Code::FailedPrecondition;

/// Messages as a server sends them.
pub type Messages<M> = tonic::Streaming<M>;

#[cfg(test)]
pub(super) mod fake;
mod files;
mod status;

/// The port that servers listen on unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:7443";

/// A server and how to reach it: where it is, whose certificate it must show, and what to show it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the server listens. Its certificate must be for this host.
    pub address: Address,
    /// The certificates of the CA that the server's must come from, in PEM.
    pub ca: PathBuf,
    /// The directory of the caller's `cert.pem` and `key.pem`.
    pub identity: PathBuf,
}

impl Target {
    /// The server of `privet dev --dir <dir>`, as one of its identities.
    ///
    /// # Errors
    /// [`Failure`] (usage) if there is no such directory or its address can't be read.
    pub fn from_dev_dir(dir: &Path, name: &str) -> Result<Self, Failure> {
        let address = Address::from_file(&dir.join(ADDRESS_FILE))?;
        Ok(Self { address, ca: dir.join(CA_FILE), identity: dir.join("identities").join(name) })
    }

    /// A server for an identity: what is not given is looked for where `privet dev` puts it, two directories above the
    /// identity (the CA also in the identity's own directory).
    ///
    /// # Errors
    /// [`Failure`] (usage) if there is no such directory, or an address file that can't be read.
    pub fn for_identity(identity: &Path, address: Option<Address>, ca: Option<PathBuf>) -> Result<Self, Failure> {
        if !identity.is_dir() {
            return Err(Failure::usage(format!("--identity {}: there is no such directory", identity.display()))
                .hint("it holds cert.pem and key.pem; `privet dev` makes some in .privet-dev/identities"));
        }
        let above = identity.join("../..");
        let address = match address {
            Some(address) => address,
            None if above.join(ADDRESS_FILE).exists() => Address::from_file(&above.join(ADDRESS_FILE))?,
            None => DEFAULT_ADDRESS.parse().map_err(|error: InvalidAddress| Failure::usage(error.to_string()))?,
        };
        let ca = ca.unwrap_or_else(|| {
            let own = identity.join(CA_FILE);
            if own.exists() { own } else { above.join(CA_FILE) }
        });
        Ok(Self { address, ca, identity: identity.to_owned() })
    }
}

/// A host, as a name or an IP address, and a port: `privet.internal:7443`, `127.0.0.1:7443`, `[::1]:7443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// Text that is no [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be HOST:PORT, e.g. 127.0.0.1:7443 or [::1]:7443")]
pub struct InvalidAddress;

impl Address {
    fn from_file(file: &Path) -> Result<Self, Failure> {
        let bytes = files::read(file)?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        text.trim_ascii().parse().map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').filter(|host| host.contains(':')).ok_or(InvalidAddress)?,
            None if host.contains(':') => return Err(InvalidAddress),
            None => host,
        };
        ServerName::try_from(host).map_err(|_| InvalidAddress)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(InvalidAddress)?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Connects, and says why if it can't.
///
/// # Errors
/// [`Failure`]: usage if the caller's own files are at fault, unavailable if the server is.
pub async fn connect(target: &Target) -> Result<Clients, Failure> {
    let name =
        ServerName::try_from(target.address.host.clone()).map_err(|_| Failure::usage(InvalidAddress.to_string()))?;
    let tls = TlsConnector::from(Arc::new(files::tls(&target.ca, &target.identity)?));
    let endpoint = Endpoint::from_shared(format!("https://{}", target.address))
        .map_err(|_| Failure::usage(InvalidAddress.to_string()))?
        // A server that went away in the middle of a long stream is noticed.
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .timeout(ANSWER_TIME_MAX);
    let dial = Dial { address: target.address.clone(), name, tls };
    let channel =
        endpoint.connect_with_connector(dial).await.map_err(|error| status::not_connected(&target.address, &error))?;
    Ok(Clients { channel })
}

/// Typed clients over one connection.
#[derive(Clone, Debug)]
pub struct Clients {
    channel: Channel,
}

impl Clients {
    /// Seals and opens fields.
    pub fn encryption(&self) -> EncryptionServiceClient<Channel> {
        EncryptionServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Asks the policy.
    pub fn authorization(&self) -> AuthorizationServiceClient<Channel> {
        AuthorizationServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Reads and changes the policy.
    pub fn policy(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Makes, counts and ends versions of keys.
    pub fn keys(&self) -> KeyServiceClient<Channel> {
        KeyServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Erases subjects, holds them, and says what is held of them.
    pub fn subjects(&self) -> SubjectServiceClient<Channel> {
        SubjectServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Makes, lists and ends tenants.
    pub fn tenants(&self) -> TenantServiceClient<Channel> {
        TenantServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Reads the access log.
    pub fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Clients over an in-memory connection, for tests.
    #[cfg(test)]
    pub(super) fn over(channel: Channel) -> Self {
        Self { channel }
    }
}

/// Makes the connection beneath gRPC: TCP, then TLS.
struct Dial {
    address: Address,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (Address { host, port }, name, tls) = (self.address.clone(), self.name.clone(), self.tls.clone());
        let dial = async move {
            let tcp = TcpStream::connect((host, port)).await?;
            tcp.set_nodelay(true)?;
            Ok(TokioIo::new(tls.connect(name, tcp).await?))
        };
        Box::pin(async {
            timeout(CONNECT_TIME_MAX, dial).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }
}

const ADDRESS_FILE: &str = "address";
const CA_FILE: &str = "ca.pem";
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// The most that a server can be configured to send in one message.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests;
