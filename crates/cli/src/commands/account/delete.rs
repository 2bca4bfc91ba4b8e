//! `kuvert account delete`

use crate::args::Delete;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

const GOES: &[&str] = &[
    "your name, number, profile and devices at the relay; the name is free for others",
    "your public keys: others can no longer begin a conversation with you",
    "mail that waits for you, unread",
    "your address book at the relay, if you uploaded one",
];

const STAYS: &[&str] = &[
    "what you sent stays with those who got it; what still waits for them is delivered, or expires within 30 days",
    "this home: its history can still be read",
    "at the relay: how many accounts were deleted on a day; limits that you ran into, without your name, for 90 days; and, if \
     the law holds your data back, a copy until its operator releases it",
    "your number in address books that others uploaded: those are theirs",
];

/// Deletes the account with `--yes`; says what that means without.
pub async fn run(args: &Delete, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let account = client.whoami().await?.address.account.to_string();
    if !args.yes {
        return options.output.print(&Record::DeletionExplained { account: &account, goes: GOES, stays: STAYS });
    }
    let connection = client.connect().await?;
    connection.delete_account().await?;
    connection.close().await;
    options.output.print(&Record::AccountDeleted { account: &account })
}
