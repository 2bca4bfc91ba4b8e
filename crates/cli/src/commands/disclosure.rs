//! `kuvert disclosure`

use kuvert_client::Receipts;

use crate::args::{Disclosure, ReceiptsWhen};
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::{DisclosedItem, Record};

/// Chooses when receipts are sent, if asked to, and prints what the relay gets to know.
pub async fn run(args: &Disclosure, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    if let Some(when) = args.receipts {
        let receipts = match when {
            ReceiptsWhen::Now => Receipts::Now,
            ReceiptsWhen::Late => Receipts::Late,
            ReceiptsWhen::Off => Receipts::Off,
        };
        client.set_receipts(receipts).await?;
    }
    let disclosure = client.disclosure().await?;
    let item = |item: &kuvert_client::Item| DisclosedItem {
        item: item.item,
        title: item.title,
        relay: item.relay.words(),
        why: item.why,
    };
    options.output.print(&Record::Disclosure {
        level: disclosure.level.as_str(),
        receipts: client.receipts().await?.words(),
        items: disclosure.items.iter().map(item).collect(),
        costs: disclosure.costs,
    })
}
