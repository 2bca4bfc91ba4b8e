//! `kuvert invite`

use crate::args::Invite;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::qr::Qr;
use crate::output::record::Record;

/// Prints the link by which others add this account.
pub async fn run(args: &Invite, options: &Options) -> Result<(), Failure> {
    let link = open(options).await?.invite().await?.to_string();
    options.output.print(&Record::Invite { link: &link })?;
    if args.qr { options.output.qr(&Qr::of(&link)?) } else { Ok(()) }
}
