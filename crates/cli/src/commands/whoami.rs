//! `kuvert whoami`

use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Prints the account of this home.
pub async fn run(options: &Options) -> Result<(), Failure> {
    let whoami = open(options).await?.whoami().await?;
    options.output.print(&Record::Whoami {
        account: &whoami.address.account.to_string(),
        device: whoami.address.device.get(),
        address: &whoami.address.to_string(),
        name: whoami.name.as_deref(),
        relay: &whoami.relay.to_string(),
        deleted_at: whoami.deleted_at,
        queued: whoami.queued,
        unshown: whoami.unshown,
        level: whoami.level.as_str(),
    })
}
