//! `privet report`: what somebody has to sign off now and then.

use clap::Subcommand;

use super::{
    failure::{Exit, Failure},
    terminal::Terminal,
};

mod access_review;
mod dpia;

/// Report on who can reach what, for those who have to sign it off
#[derive(Subcommand)]
pub enum Report {
    AccessReview(access_review::AccessReview),
    Dpia(dpia::Dpia),
}

impl Report {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::AccessReview(review) => review.run(terminal).await,
            Self::Dpia(dpia) => dpia.run(terminal).await,
        }
    }
}
