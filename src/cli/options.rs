//! Options that several commands share, each checked by the rule of its kind before anything is sent.

use std::path::PathBuf;

use clap::Args;

use super::{
    client::{Address, Clients, Target, connect},
    failure::Failure,
};
use crate::id::{Principal, Purpose, Reference, Tenant};

/// Which server, and as whom.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Directory with cert.pem and key.pem: who you are
    #[arg(long, value_name = "DIR", env = "PRIVET_IDENTITY", hide_env_values = true)]
    identity: PathBuf,
    /// Server (else: DIR/../../address, 127.0.0.1:7443)
    #[arg(long, value_name = "HOST:PORT", env = "PRIVET_SERVER", hide_env_values = true)]
    server: Option<Address>,
    /// Server's CA [default: DIR/ca.pem or DIR/../../ca.pem]
    #[arg(long, value_name = "FILE", env = "PRIVET_CA", hide_env_values = true)]
    ca: Option<PathBuf>,
}

impl Connection {
    /// Connects.
    pub async fn open(self) -> Result<Clients, Failure> {
        connect(&Target::for_identity(&self.identity, self.server, self.ca)?).await
    }
}

/// For whom the caller acts on subjects and keys, and on which server.
#[derive(Args)]
pub struct Acting {
    /// Tenant that you act for
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse)]
    pub tenant: Tenant,
    /// Ticket, order: [A-Za-z0-9._:/#-]{0,64}
    #[arg(long, value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    pub reference: Reference,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    pub request_id: Reference,
    #[command(flatten)]
    pub connection: Connection,
}

/// What every request for data says about itself; all of it is recorded.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Request")]
pub struct Header {
    /// Whose customers these are
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse)]
    pub tenant: Tenant,
    /// Why, e.g. signup, invoicing, support-ticket
    #[arg(long, value_parser = Purpose::parse)]
    pub purpose: Purpose,
    /// Ticket or order that this is for
    #[arg(long, value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    pub reference: Reference,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    pub request_id: Reference,
    /// Human behind this, e.g. user:okta/00u1: recorded, authorizes nothing
    #[arg(long, value_name = "PRINCIPAL", value_parser = Principal::parse_external)]
    pub actor: Option<Principal>,
}

impl Header {
    /// The actor as requests spell it.
    pub fn actor(&self) -> String {
        self.actor.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}
