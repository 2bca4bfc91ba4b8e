//! `kuvert account consent`

use crate::args::Consent;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Shows the terms and the ledger, after a change if one was asked for.
pub async fn run(args: &Consent, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let connection = client.connect().await?;
    let terms = match (&args.accept, args.object) {
        (Some(version), _) => connection.accept_terms(version, !args.no_advertising).await?,
        (None, true) => connection.object_to_advertising().await?,
        (None, false) => connection.terms().await?,
    };
    connection.close().await;
    for policy in &terms.policies {
        options.output.print(&Record::Policy {
            version: &policy.version,
            paragraphs: &policy.paragraphs,
            objection_days: policy.objection_days,
        })?;
    }
    for consent in &terms.ledger {
        options.output.print(&Record::Consent {
            version: &consent.version,
            accepted_at: consent.accepted_at,
            advertising: consent.advertising,
            objected_at: consent.objected_at,
            objection_until: consent.objection_until,
        })?;
    }
    if terms.ledger.is_empty() {
        options.output.note("Nothing was accepted: `kuvert account consent --accept VERSION [--no-advertising]`.");
    }
    Ok(())
}
