//! `kuvert account correct`

use kuvert_client::Correction;

use crate::args::Correct;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Corrects what the relay was told at registration.
pub async fn run(args: Correct, options: &Options) -> Result<(), Failure> {
    let Correct { name, no_name, phone, no_phone } = args;
    let part = |value: Option<String>, none: bool| (none || value.is_some()).then_some(value);
    let client = open(options).await?;
    let connection = client.connect().await?;
    connection.correct(Correction { name: part(name, no_name), phone: part(phone, no_phone) }).await?;
    connection.close().await;
    options.output.print(&Record::Corrected { name: client.whoami().await?.name.as_deref() })
}
