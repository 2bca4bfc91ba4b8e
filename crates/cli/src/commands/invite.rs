//! `kuvert invite`

use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Prints the link by which others add this account.
pub async fn run(options: &Options) -> Result<(), Failure> {
    let link = open(options).await?.invite().await?.to_string();
    options.output.print(&Record::Invite { link: &link })
}
