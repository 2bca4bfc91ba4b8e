//! `kuvert account …`: what the holder of an account can say to the relay about it, and ask of it.
//!
//! | module | command |
//! |---|---|
//! | `consent` | the terms of a relay that runs the demonstration |
//! | `correct` | name and number |
//! | `delete` | the account |
//! | `permissions` | what a phone would allow: simulated |
//! | `phone` | a number, verified by a code |
//! | `profile` | what the relay shows |
//! | `report` | all that the relay holds |
//! | `upload` | an address book |

mod consent;
mod correct;
mod csv;
mod delete;
mod permissions;
mod phone;
mod profile;
mod report;
mod upload;

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
        Account::Phone { number } => phone::request(&number, options).await,
        Account::Verify { code } => phone::verify(&code, options).await,
        Account::Profile(args) => profile::run(args, options).await,
        Account::Upload(args) => upload::run(&args, options).await,
        Account::Permissions(args) => permissions::run(&args, options).await,
        Account::Show(who) => profile::show(Some(&who.who), options).await,
    }
}
