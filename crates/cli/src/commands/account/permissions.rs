//! `kuvert account permissions`

use kuvert_client::{PERMISSIONS, Permission};

use crate::args::Permissions;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::{PermittedItem, Record};

/// Shows the simulated sheet, after a change if one was asked for, which the relay hears of at once.
pub async fn run(args: &Permissions, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    if !args.grant.is_empty() || !args.deny.is_empty() {
        client.set_permissions(&named(&args.grant), &named(&args.deny)).await?;
        client.connect().await?.close().await;
    }
    let sheet = client.permissions().await?;
    let items = sheet.iter().map(|permitted| PermittedItem {
        permission: permitted.permission.name,
        title: permitted.permission.title,
        row: permitted.permission.row,
        granted: permitted.granted,
        told: permitted.granted.then_some(permitted.permission.value),
    });
    options.output.print(&Record::Permissions { simulated: true, items: items.collect() })
}

fn named(names: &[String]) -> Vec<Permission> {
    PERMISSIONS.into_iter().filter(|permission| names.iter().any(|name| name == permission.name)).collect()
}
