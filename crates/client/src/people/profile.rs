//! The profile: what the owner says about himself, and what others made public.

use kuvert_types::AccountId;
use kuvert_types::limits::{MAX_ABOUT_BYTES, MAX_DISPLAY_NAME_BYTES, MAX_PICTURE_BYTES, is_valid_email, is_valid_line};
use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::{answer, request};

use super::{ask, tell};
use crate::connection::Connection;
use crate::contact::Contact;
use crate::engine::Tx;
use crate::error::Error;
use crate::fold::is_invisible;

/// A change. What is absent stays as it is, what is empty is cleared.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ProfileChange {
    /// The name to be shown, up to [`MAX_DISPLAY_NAME_BYTES`].
    pub display_name: Option<String>,
    /// The e-mail address; others are never shown it.
    pub email: Option<String>,
    /// A line about oneself, up to [`MAX_ABOUT_BYTES`].
    pub about: Option<String>,
    /// A picture in any format, up to [`MAX_PICTURE_BYTES`].
    pub picture: Option<Vec<u8>>,
    /// Whether every account that looks this one up sees name, about text and picture.
    pub public: Option<bool>,
}

impl ProfileChange {
    fn check(&self) -> Result<(), Error> {
        let good = |part: &Option<String>, is: &dyn Fn(&str) -> bool| {
            part.as_deref().is_none_or(|part| part.is_empty() || is(part))
        };
        let what =
            if !good(&self.display_name, &|name| is_valid_line(name, MAX_DISPLAY_NAME_BYTES) && !is_invisible(name)) {
                "a display name has at most 128 bytes on one line, and something that can be seen"
            } else if !good(&self.email, &is_valid_email) {
                "an e-mail address reads like name@example.org"
            } else if !good(&self.about, &|about| is_valid_line(about, MAX_ABOUT_BYTES) && !is_invisible(about)) {
                "an about text has at most 512 bytes on one line, and something that can be seen"
            } else if self.picture.as_ref().is_some_and(|picture| picture.len() > MAX_PICTURE_BYTES) {
                "a picture has at most 65,536 bytes"
            } else {
                return Ok(());
            };
        Err(Error::ProfileInvalid { what })
    }
}

/// A profile, as far as this account may see it. Times are Unix milliseconds by the relay's clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileInfo {
    /// Whose.
    pub account: AccountId,
    /// What the contact is called here; `None`: it is one's own.
    pub alias: Option<String>,
    /// The name to be shown.
    pub display_name: Option<String>,
    /// The e-mail address, of one's own only.
    pub email: Option<String>,
    /// The about text.
    pub about: Option<String>,
    /// The picture.
    pub picture: Option<Vec<u8>>,
    /// Whether others see it.
    pub public: bool,
    /// The verified number, of one's own only.
    pub phone: Option<String>,
    /// When the name was given, of one's own only, as all that follow.
    pub display_name_at: Option<u64>,
    /// When the address was given.
    pub email_at: Option<u64>,
    /// When the text was written.
    pub about_at: Option<u64>,
    /// When the picture was given.
    pub picture_at: Option<u64>,
    /// When the number was verified.
    pub phone_at: Option<u64>,
}

impl Connection {
    /// Changes this account's profile at the relay.
    ///
    /// # Errors
    /// `level-too-high`, `not-offered`, `profile-invalid`.
    pub async fn set_profile(&self, change: ProfileChange) -> Result<(), Error> {
        change.check()?;
        tell(self.engine(), &self.link().link).await?;
        let ProfileChange { display_name, email, about, picture, public } = change;
        let request = wire::SetProfile { display_name, email, about, picture: picture.map(Into::into), public };
        match ask(&self.link().link, request::Body::SetProfile(request)).await? {
            Ok(answer::Body::Done(_)) => Ok(()),
            Ok(_) => Err(Error::RelayProtocol { what: "no answer to a profile" }),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// The profile that the relay shows: one's own, or what a contact made public. The relay learns who asks for whom.
    ///
    /// # Errors
    /// `contact-unknown`, `not-offered`, `limited`.
    pub async fn profile(&self, of: Option<AccountId>) -> Result<ProfileInfo, Error> {
        let whose = move |tx: &Tx<'_>| {
            let contact = of.map(|account| Contact::known(tx, &account)).transpose()?;
            let account = contact.as_ref().map_or(tx.identity()?.account(), |contact| contact.account);
            Ok((contact, account))
        };
        let (contact, account) = self.engine().read(whose).await?;
        let request = wire::GetProfile { account: account.as_bytes().to_vec().into() };
        let wire::Profile {
            display_name,
            email,
            about,
            picture,
            public,
            phone,
            display_name_at,
            email_at,
            about_at,
            picture_at,
            phone_at,
        } = match ask(&self.link().link, request::Body::GetProfile(request)).await? {
            Ok(answer::Body::Profile(profile)) => profile,
            Ok(_) => return Err(Error::RelayProtocol { what: "no profile" }),
            Err(refusal) => return Err(refusal.into_error()),
        };
        Ok(ProfileInfo {
            account,
            alias: contact.map(|contact| contact.row.alias),
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
        })
    }
}
