//! `kuvert account phone`, `kuvert account verify`

use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Asks for a code.
pub async fn request(number: &str, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let connection = client.connect().await?;
    connection.request_phone_code(number).await?;
    options.output.print(&Record::PhoneCodeRequested { phone: number.trim() })?;
    connection.close().await;
    Ok(())
}

/// Gives it.
pub async fn verify(code: &str, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let connection = client.connect().await?;
    let verified = connection.verify_phone(code).await?;
    options.output.print(&Record::PhoneVerified { phone: &verified.phone, moved: verified.moved })?;
    connection.close().await;
    Ok(())
}
