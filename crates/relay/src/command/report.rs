//! The report of an account: RequestReport, FetchReport.

use std::time::Duration;

use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::error::Code;
use super::{Answer, AuthenticatedDevice, CommandError};
use crate::data_rights::ReportRequest;
use crate::incidents::Kind;
use crate::report;

/// Bytes of a report in one answer: half a frame.
const PIECE_BYTES: usize = 64 * 1024;

/// Asks for the report of the caller's account.
///
/// # Errors
/// `LIMITED`.
pub fn request(caller: &AuthenticatedDevice, _: v1::RequestReport) -> Result<Answer, CommandError> {
    let AuthenticatedDevice { service, device, .. } = caller.clone();
    service.limiter.report(&device.account).map_err(|wait| {
        service.incidents.note(device.account, Kind::Reports);
        CommandError::limited("reports", wait)
    })?;
    Ok(Box::pin(async move {
        let (now, delay) = (service.clock.now_ms(), service.report_delay_ms);
        let asked = service.rights.ask_for_report(device.account, now, delay).await?;
        let ReportRequest { requested_at, ready_at, kept_until, made: _ } = asked;
        Ok(Response::ReportStatus(v1::ReportStatus { requested_at, ready_at, kept_until }))
    }))
}

/// A piece of the report. The first piece that is fetched makes it.
///
/// # Errors
/// The answer can be `NOT_READY`, and `INVALID` if none was asked for.
pub fn fetch(caller: &AuthenticatedDevice, request: v1::FetchReport) -> Result<Answer, CommandError> {
    let AuthenticatedDevice { service, device, .. } = caller.clone();
    let account = device.account;
    Ok(Box::pin(async move {
        let now = service.clock.now_ms();
        let found = service.rights.report_request(account, now).await?;
        let asked =
            found.ok_or_else(|| CommandError::new(Code::Invalid, "no report is kept for this account; ask for one"))?;
        if asked.ready_at > now {
            return Err(not_ready(asked.ready_at - now));
        }
        if !asked.made {
            let report = report::make(&service, account).await?;
            service.rights.keep_report(account, report).await?;
        }
        let piece = service.rights.report_piece(account, request.offset, PIECE_BYTES).await?;
        let (total, bytes) = piece.ok_or_else(|| not_ready(0))?;
        Ok(Response::ReportPiece(v1::ReportPiece { total, bytes: bytes.into() }))
    }))
}

fn not_ready(wait_ms: u64) -> CommandError {
    let wait = Duration::from_millis(wait_ms);
    let minutes = wait.as_secs().div_ceil(60);
    CommandError {
        code: Code::NotReady,
        message: format!("the report is not ready yet; come back in {minutes} min").into(),
        retry_after: Some(wait),
    }
}
