//! SetProfile, GetProfile: an account changes its own; others see what it made public.

use kuvert_types::AccountId;
use kuvert_types::limits::{
    MAX_ABOUT_BYTES, MAX_DISPLAY_NAME_BYTES, MAX_EMAIL_BYTES, MAX_PICTURE_BYTES, is_valid_email, is_valid_line,
};
use kuvert_wire::checked::InField;
use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::answer::Body as Response;

use super::Answer;
use crate::Lens;
use crate::phone;
use crate::profile::{self, Change, Profile};
use kuvert_relay::command::error::Code;
use kuvert_relay::command::{AuthenticatedDevice, CommandError};
use kuvert_relay::incidents::Kind;
use kuvert_relay::observe::Event;

/// Changes the caller's profile.
///
/// # Errors
/// `INVALID`.
pub fn set(lens: &Lens, caller: &AuthenticatedDevice, request: wire::SetProfile) -> Result<Answer, CommandError> {
    let change = check(request)?;
    let AuthenticatedDevice { service, device, connection } = caller.clone();
    let rows = lens.people.clone();
    Ok(Box::pin(async move {
        let now = service.clock.now_ms();
        rows.run(move |tx| profile::set(tx, &device.account, &change, now)).await?;
        service.observe(Event::ProfileChanged { connection, device });
        Ok(Response::Done(wire::Done {}))
    }))
}

fn check(request: wire::SetProfile) -> Result<Change, CommandError> {
    let wire::SetProfile { display_name, email, about, picture, public } = request;
    let invalid = |what: &str, most: usize| {
        CommandError::new(Code::Invalid, format!("{what} has at most {most} bytes, and no control characters"))
    };
    let good = |part: &Option<String>, is: &dyn Fn(&str) -> bool| {
        part.as_deref().is_none_or(|part| part.is_empty() || is(part))
    };
    if !good(&display_name, &|name| is_valid_line(name, MAX_DISPLAY_NAME_BYTES)) {
        return Err(invalid("a name to be shown", MAX_DISPLAY_NAME_BYTES));
    }
    if !good(&email, &is_valid_email) {
        return Err(invalid("an e-mail address is written as name@example.org,", MAX_EMAIL_BYTES));
    }
    if !good(&about, &|about| is_valid_line(about, MAX_ABOUT_BYTES)) {
        return Err(invalid("an about text", MAX_ABOUT_BYTES));
    }
    if picture.as_ref().is_some_and(|picture| picture.len() > MAX_PICTURE_BYTES) {
        return Err(CommandError::new(Code::Invalid, format!("a picture has at most {MAX_PICTURE_BYTES} bytes")));
    }
    Ok(Change { display_name, email, about, picture: picture.map(Into::into), public })
}

/// Shows a profile: all of it to the account itself, to others what it made public.
///
/// # Errors
/// `MALFORMED`, `LIMITED`.
pub fn get(lens: &Lens, caller: &AuthenticatedDevice, request: wire::GetProfile) -> Result<Answer, CommandError> {
    let account = AccountId::try_from(request.account.as_ref()).in_field("account")?;
    let AuthenticatedDevice { service, device, connection } = caller.clone();
    service.limiter.lookup(&device).map_err(|wait| {
        service.incidents.note(device.account, Kind::Lookups);
        CommandError::limited("account lookups", wait)
    })?;
    let rows = lens.people.clone();
    Ok(Box::pin(async move {
        let found = rows.run(move |tx| Ok((profile::of(tx, &account)?, phone::of(tx, &account)?))).await?;
        service.observe(Event::ProfileRead { connection, by: device, account });
        let (profile, phone) = found;
        Ok(Response::Profile(if account == device.account { own(profile, phone) } else { public(profile) }))
    }))
}

fn own(profile: Profile, phone: Option<(String, u64)>) -> wire::Profile {
    let Profile { display_name, email, about, picture, public } = profile;
    let (display_name, display_name_at) = display_name.unzip();
    let (email, email_at) = email.unzip();
    let (about, about_at) = about.unzip();
    let (picture, picture_at) = picture.unzip();
    let (phone, phone_at) = phone.unzip();
    wire::Profile {
        display_name,
        email,
        about,
        picture: picture.map(Into::into),
        public,
        phone,
        display_name_at,
        email_at,
        about_at,
        picture_at,
        phone_at,
    }
}

/// An account without a profile and one that is not public look alike.
fn public(profile: Profile) -> wire::Profile {
    let Profile { display_name, email: _, about, picture, public } = profile;
    if !public {
        return wire::Profile::default();
    }
    wire::Profile {
        display_name: display_name.map(|(name, _)| name),
        about: about.map(|(about, _)| about),
        picture: picture.map(|(picture, _)| picture.into()),
        public,
        ..wire::Profile::default()
    }
}
