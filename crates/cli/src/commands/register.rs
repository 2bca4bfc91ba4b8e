//! `kuvert register`

use kuvert_client::{Client, Profile, RelayUrl};

use crate::args::Register;
use crate::commands::client_options;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Makes an account and registers it.
pub async fn run(args: Register, options: &Options) -> Result<(), Failure> {
    let relay: RelayUrl = args.relay.parse().map_err(kuvert_client::Error::RelayUrlInvalid)?;
    let profile = Profile { name: args.name, phone: args.phone, invitation: args.invitation };
    let client = Client::register(&options.home()?, relay, profile, client_options(options, None)).await?;
    let whoami = client.whoami().await?;
    options.output.print(&Record::Registered {
        account: &whoami.address.account.to_string(),
        device: whoami.address.device.get(),
        address: &whoami.address.to_string(),
        name: whoami.name.as_deref(),
        relay: &whoami.relay.to_string(),
    })
}
