//! `kuvert account …`: what the holder of an account can say to the relay about it, and ask of it.
//!
//! | module | command |
//! |---|---|
//! | `consent` | the terms of a relay that runs the demonstration |
//! | `correct` | name and number |
//! | `delete` | the account |
//! | `report` | all that the relay holds |

mod consent;
mod correct;
mod delete;
mod report;

use crate::args::Account;
use crate::error::Failure;
use crate::options::Options;

/// Runs one of them.
pub async fn run(command: Account, options: &Options) -> Result<(), Failure> {
    match command {
        Account::Correct(args) => correct::run(args, options).await,
        Account::Delete(args) => delete::run(&args, options).await,
        Account::Report(args) => report::run(&args, options).await,
        Account::Consent(args) => consent::run(&args, options).await,
    }
}
