//! ReportDevice, WithdrawDisclosure: a client tells what it runs on, and takes back all that it told.

use kuvert_types::limits::{MAX_DEVICE_DETAIL_BYTES, MAX_SIMULATED_DETAILS, is_valid_line};
use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::answer::Body as Response;

use super::Answer;
use crate::Lens;
use crate::devices::{self, Details};
use crate::withdraw;
use kuvert_relay::command::account::unknown;
use kuvert_relay::command::error::Code;
use kuvert_relay::command::{AuthenticatedDevice, CommandError};
use kuvert_relay::observe::Event;
use kuvert_relay::store::{AccountChange, UpdateAccountError};

/// Notes what the caller's client says about its machine.
///
/// # Errors
/// `INVALID`.
pub fn report_device(
    lens: &Lens,
    caller: &AuthenticatedDevice,
    request: wire::ReportDevice,
) -> Result<Answer, CommandError> {
    let details = check(request)?;
    let AuthenticatedDevice { service, device, connection } = caller.clone();
    let rows = lens.people.clone();
    Ok(Box::pin(async move {
        let now = service.clock.now_ms();
        rows.run(move |tx| devices::report(tx, &device, &details, now)).await?;
        service.observe(Event::DeviceReported { connection, device });
        Ok(Response::Done(wire::Done {}))
    }))
}

fn check(request: wire::ReportDevice) -> Result<Details, CommandError> {
    let wire::ReportDevice { model, system, system_version, app_version, language, network, simulated } = request;
    let parts = [&model, &system, &system_version, &app_version, &language, &network];
    let made_up = simulated.iter().flat_map(|detail| [&detail.what, &detail.value]);
    if parts.into_iter().flatten().chain(made_up).any(|part| !is_valid_line(part, MAX_DEVICE_DETAIL_BYTES)) {
        return Err(CommandError::new(
            Code::Invalid,
            format!("what a device tells has 1 to {MAX_DEVICE_DETAIL_BYTES} bytes each and no control characters"),
        ));
    }
    if simulated.len() > MAX_SIMULATED_DETAILS {
        return Err(CommandError::new(Code::Invalid, format!("at most {MAX_SIMULATED_DETAILS} details are simulated")));
    }
    let simulated = simulated.into_iter().map(|detail| (detail.what, detail.value)).collect();
    Ok(Details { model, system, system_version, app_version, language, network, simulated })
}

/// Deletes what the caller's account told beyond what delivering mail needs, and the number that it gave at registration.
/// Doing it again changes nothing.
///
/// # Errors
/// None beyond the stores'.
pub fn withdraw(
    lens: &Lens,
    caller: &AuthenticatedDevice,
    _: wire::WithdrawDisclosure,
) -> Result<Answer, CommandError> {
    let AuthenticatedDevice { service, device, connection } = caller.clone();
    let rows = lens.people.clone();
    Ok(Box::pin(async move {
        rows.run_erasing(move |tx| withdraw::all(tx, &device.account)).await?;
        let no_number = AccountChange { phone: Some(None), ..AccountChange::default() };
        service.store.update_account(device.account, no_number).await.map_err(|error| match error {
            UpdateAccountError::UnknownAccount | UpdateAccountError::NameTaken => unknown(),
            UpdateAccountError::Store(error) => error.into(),
        })?;
        service.observe(Event::DisclosureWithdrawn { connection, device });
        Ok(Response::Done(wire::Done {}))
    }))
}
