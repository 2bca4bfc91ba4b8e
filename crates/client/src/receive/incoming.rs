//! Deliveries before they are opened: the checks that need nothing but themselves, and look-ups of who sent them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use kuvert_protocol::identity::LocalDevice;
use kuvert_protocol::{initiator_certificate, sealed_sender};
use kuvert_types::{AccountId, AccountKey, Address, EnvelopeId, UnverifiedDeviceCertificate};
use kuvert_wire::checked::Envelope;
use kuvert_wire::v1;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::get_account::By;

use crate::client::Inner;
use crate::connect::{Established, look_up};
use crate::contacts::{Account, Contact};
use crate::devices;
use crate::error::Error;
use crate::store::Mode;

/// Accounts that are looked up for one batch of deliveries. More strangers than that at once are named by their account.
const LOOK_UPS_PER_BATCH: usize = 16;

/// A delivery after the checks that need nothing but itself.
pub(super) enum Incoming {
    Envelope {
        id: EnvelopeId,
        recipient: Address,
        source: Option<Address>,
        ciphertext: Bytes,
        /// The certificate in a first message, unverified.
        initiator: Option<Box<UnverifiedDeviceCertificate>>,
        /// The account key that the sender's certificate is under, when it came sealed: then the source is what the envelope
        /// says inside, which no relay has checked.
        sealed_by: Option<AccountKey>,
    },
    Unreadable(Option<EnvelopeId>),
}

impl Incoming {
    pub fn check(device: &LocalDevice, delivery: v1::Delivery) -> Self {
        let Some(envelope) = delivery.envelope else { return Self::Unreadable(None) };
        let id = EnvelopeId::try_from(envelope.id.as_ref()).ok();
        let Ok(Envelope { id, recipient, source, ciphertext }) = Envelope::try_from(envelope) else {
            return Self::Unreadable(id);
        };
        let (source, sealed_by, ciphertext) = match source {
            Some(source) => (Some(source), None, ciphertext),
            // For another device nothing can be opened: that it went astray says more.
            None if recipient != device.address() => (None, None, ciphertext),
            None => match sealed_sender::open(device, &ciphertext) {
                Ok(unsealed) => {
                    let sender = unsealed.sender;
                    (Some(sender.address()), Some(sender.account_key()), Bytes::from_owner(unsealed))
                }
                Err(_) => return Self::Unreadable(Some(id)),
            },
        };
        // What is no session message fails again, with a reason, when it is opened.
        let initiator = initiator_certificate(&ciphertext).unwrap_or_default().map(Box::new);
        Self::Envelope { id, recipient, source, ciphertext, initiator, sealed_by }
    }
}

/// Looks up accounts that a batch needs: strangers, and contacts that write from a device that the list here lacks. For a
/// contact's sealed envelope that is none, as long as the list names the device: asking would tell the relay who wrote it.
pub(super) async fn look_up_strangers(
    inner: &Arc<Inner>,
    established: &Established,
    envelopes: &[Incoming],
) -> Result<HashMap<AccountId, Account>, Error> {
    let mut wanted: Vec<(AccountId, Option<UnverifiedDeviceCertificate>, Option<AccountKey>)> = Vec::new();
    for incoming in envelopes {
        if let Incoming::Envelope { source: Some(source), initiator, sealed_by, .. } = incoming
            && let candidate = (source.account, initiator.as_deref().copied(), *sealed_by)
            && !wanted.contains(&candidate)
        {
            wanted.push(candidate);
        }
    }
    let wanted = inner
        .blocking(move |inner| {
            inner.transact(Mode::Read, |tx| {
                let mut missing = HashSet::new();
                for (account, initiator, sealed_by) in wanted {
                    let needed = match Contact::get(tx, &account)? {
                        None => account != inner.own.address.account,
                        // Refused in any case.
                        Some(contact) if sealed_by.is_some_and(|key| contact.row.key() != Ok(key)) => false,
                        Some(contact) => lists(&contact, initiator)? == Some(false),
                    };
                    if needed {
                        missing.insert(account);
                    }
                }
                Ok(missing)
            })
        })
        .await?;
    let mut accounts = HashMap::new();
    for id in wanted.into_iter().take(LOOK_UPS_PER_BATCH) {
        match look_up(&established.link, By::Account(id.as_bytes().to_vec().into())).await? {
            Ok(record) => {
                // A record that does not check is none: the message itself says who wrote it.
                if let Ok(account) = Account::check(&record)
                    && account.id == id
                {
                    accounts.insert(id, account);
                }
            }
            Err(refusal) if matches!(refusal.code, Code::UnknownRecipient | Code::Limited) => {}
            Err(refusal) => return Err(refusal.into_error()),
        }
    }
    Ok(accounts)
}

/// Whether the contact's known list names the device of this certificate; `None` if there is nothing to compare.
pub(super) fn lists(contact: &Contact, initiator: Option<UnverifiedDeviceCertificate>) -> Result<Option<bool>, Error> {
    let Some(certificate) = initiator.and_then(|certificate| certificate.verify().ok()) else { return Ok(None) };
    Ok(devices::of(&contact.row)?.map(|list| list.names(&certificate)))
}
