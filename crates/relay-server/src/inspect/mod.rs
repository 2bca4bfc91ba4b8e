//! `inspect`: everything that a relay holds, read from its files, also while it runs.
//!
//! | module | holds |
//! |---|---|
//! | `rights` | what is left of deleted accounts, and holds |

mod rights;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use kuvert_program::words::Lines;
use kuvert_types::limits::MAX_RETENTION_DAYS;
use serde_json::json;

use self::rights::Rights;
use crate::args::Inspect;
use crate::edition::{Edition, Look};
use crate::failure::Failure;
use crate::serve::default_data;
use crate::store::{self, AnyAdmin};
use kuvert_privacy::time::{day, utc};
use kuvert_relay::admin::Admin as _;
use kuvert_relay::admin::{KnownAccount, KnownBlob, KnownDevice, WaitingEnvelope};
use kuvert_relay::blobs::store::BlobGauges;
use kuvert_relay::mailbox::expires_at;
use kuvert_relay::store::Cursor;
use kuvert_relay_sqlite::OBSERVE_FILE;
use kuvert_relay_sqlite::serving::{last_region, last_retention};

/// Envelopes read at once: the relay's files are not kept open for longer than that takes.
const PAGE: usize = 1_000;

/// Runs `inspect`.
///
/// # Errors
/// See [`Failure`].
pub fn run(edition: &dyn Edition, args: &Inspect, json: bool) -> Result<(), Failure> {
    let data = match &args.place.data {
        Some(data) => data.clone(),
        None => default_data()?,
    };
    let relay = store::open(&args.place)?;
    let beyond = edition.look(&data)?;
    let files = Files { relay: &relay, beyond: beyond.as_ref(), data: &data };
    let retention_days = last_retention(&data).unwrap_or(MAX_RETENTION_DAYS);
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = if json {
        print_json(files, retention_days, &mut out)
    } else {
        let mut out = Lines::of_stdout(&mut out);
        print_text(files, retention_days, &mut out).and_then(|()| Ok(out.flush()?))
    };
    match printed {
        Err(Stop::Output(error)) => Err(Failure::output(&error)),
        Err(Stop::Store(failure)) => Err(failure),
        Ok(()) => Ok(()),
    }
}

/// The relay's files.
#[derive(Clone, Copy)]
struct Files<'a> {
    relay: &'a AnyAdmin,
    beyond: &'a dyn Look,
    data: &'a Path,
}

enum Stop {
    Output(io::Error),
    Store(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn told<T>(result: Result<T, impl Into<Failure>>) -> Result<T, Stop> {
    result.map_err(|error| Stop::Store(error.into()))
}

fn print_json(files: Files<'_>, retention_days: u32, out: &mut impl Write) -> Result<(), Stop> {
    let Files { relay, beyond, data } = files;
    let totals = told(relay.stats())?;
    let mut sum = json!({
        "type": "relay", "accounts": totals.accounts, "devices": totals.devices, "waiting": totals.waiting,
        "waiting_bytes": totals.waiting_bytes, "one_time_prekeys": totals.one_time_prekeys,
        "retention_days": retention_days, "observed": data.join(OBSERVE_FILE).exists(),
        "region": last_region(data),
    });
    let blobs = relay.blob_gauges(data).map_err(Stop::Store)?;
    for (name, count) in [("files", blobs.blobs), ("file_bytes", blobs.bytes), ("uploads", blobs.uploads)] {
        sum[name] = count.into();
    }
    for (name, value) in told(beyond.sum())?.members {
        sum[name] = value;
    }
    writeln!(out, "{sum}")?;
    for object in rights(relay, beyond)?.json() {
        writeln!(out, "{object}")?;
    }
    each_waiting(relay, |envelope| {
        let line = json!({
            "type": "waiting", "id": envelope.id.to_string(), "recipient": envelope.recipient.to_string(),
            "sender": envelope.sender.map(|sender| sender.to_string()), "size": envelope.size,
            "accepted_at": envelope.accepted_at, "expires_at": expires_at(envelope.accepted_at, retention_days),
        });
        Ok(writeln!(out, "{line}")?)
    })?;
    for blob in relay.blobs(data).map_err(Stop::Store)? {
        writeln!(out, "{}", blob_json(&blob, retention_days))?;
    }
    for account in told(relay.accounts())? {
        writeln!(out, "{}", account_json(&account))?;
        for device in &account.devices {
            writeln!(out, "{}", device_json(&account, device))?;
        }
        for object in told(beyond.objects(&account.account))? {
            writeln!(out, "{object}")?;
        }
    }
    Ok(out.flush()?)
}

fn rights(relay: &AnyAdmin, beyond: &dyn Look) -> Result<Rights, Stop> {
    Ok(Rights { own: told(relay.rights())?, beyond: told(beyond.rights())? })
}

fn account_json(account: &KnownAccount) -> serde_json::Value {
    let KnownAccount {
        account,
        account_key,
        device_list_number,
        name,
        phone,
        registered_at,
        access_key,
        sealed_mail,
        blocked,
        devices: _,
    } = account;
    json!({
        "type": "account", "account": account.to_string(), "account_key": account_key, "name": name, "phone": phone,
        "registered_at": registered_at, "device_list_number": device_list_number, "access_key": access_key,
        "sealed_mail": sealed_mail, "blocked": blocked.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn device_json(account: &KnownAccount, device: &KnownDevice) -> serde_json::Value {
    let KnownDevice { device, signing_key, identity_key, one_time, one_time_kem, expired, last_seen_day } = device;
    json!({
        "type": "device", "account": account.account.to_string(), "device": device, "signing_key": signing_key,
        "identity_key": identity_key, "one_time_prekeys": one_time, "one_time_kem_prekeys": one_time_kem,
        "expired": expired, "last_seen_day": last_seen_day.map(day),
    })
}

fn blob_json(blob: &KnownBlob, retention_days: u32) -> serde_json::Value {
    let KnownBlob { id, account, size, durable, created_at, committed_at, shared, readers } = blob;
    json!({
        "type": "file", "id": id.to_string(), "account": account.to_string(), "size": size, "arrived": durable,
        "created_at": created_at, "committed_at": committed_at,
        "expires_at": committed_at.map(|at| expires_at(at, retention_days)),
        "readers": (!shared).then_some(readers),
    })
}

fn print_blob(blob: &KnownBlob, retention_days: u32, out: &mut impl Write) -> io::Result<()> {
    let KnownBlob { id, account, size, durable, created_at, committed_at, shared, readers } = blob;
    let of = match committed_at {
        Some(at) => format!("complete {}, kept until {}", utc(*at), utc(expires_at(*at, retention_days))),
        None => format!("begun {}, {durable} bytes have come", utc(*created_at)),
    };
    let readers = if *shared { "readers not told".to_owned() } else { format!("{readers} readers left") };
    writeln!(out, "  {id}  from {account}, {size} bytes, {readers}, {of}")
}

fn print_text(files: Files<'_>, retention_days: u32, out: &mut impl Write) -> Result<(), Stop> {
    let Files { relay, beyond, data } = files;
    let totals = told(relay.stats())?;
    writeln!(out, "What the relay in {} holds", relay.place(data))?;
    if let Some(region) = last_region(data) {
        writeln!(out, "  region            {} (the operator's label)", region.escape_debug())?;
    }
    writeln!(out, "  accounts          {}", totals.accounts)?;
    writeln!(out, "  devices           {}", totals.devices)?;
    writeln!(out, "  waiting           {} envelopes, {} bytes of ciphertext", totals.waiting, totals.waiting_bytes)?;
    writeln!(out, "  one-time prekeys  {}", totals.one_time_prekeys)?;
    for line in told(beyond.sum())?.lines {
        writeln!(out, "{line}")?;
    }
    let BlobGauges { blobs, bytes, uploads } = relay.blob_gauges(data).map_err(Stop::Store)?;
    writeln!(out, "  files             {blobs}, {bytes} bytes; {uploads} uploads not complete")?;
    writeln!(out, "  retention         {retention_days} days")?;
    if data.join(OBSERVE_FILE).exists() {
        writeln!(out, "  observations      {}: everything that it learnt while serving with --observe", OBSERVE_FILE)?;
    }
    rights(relay, beyond)?.print(out)?;
    for account in told(relay.accounts())? {
        print_account(&account, out)?;
        for line in told(beyond.lines(&account.account))? {
            writeln!(out, "{line}")?;
        }
    }
    let mut first = true;
    each_waiting(relay, |envelope| {
        if std::mem::take(&mut first) {
            writeln!(out, "\nWaiting, in the order of arrival")?;
        }
        Ok(print_waiting(envelope, retention_days, out)?)
    })?;
    let blobs = relay.blobs(data).map_err(Stop::Store)?;
    if !blobs.is_empty() {
        writeln!(out, "\nFiles on their way")?;
    }
    for blob in &blobs {
        print_blob(blob, retention_days, out)?;
    }
    Ok(out.flush()?)
}

fn print_account(account: &KnownAccount, out: &mut impl Write) -> io::Result<()> {
    let KnownAccount {
        account,
        account_key,
        device_list_number,
        name,
        phone,
        registered_at,
        access_key,
        sealed_mail,
        blocked,
        devices,
    } = account;
    writeln!(out, "\nAccount {account}")?;
    writeln!(out, "  name              {}", name.as_deref().unwrap_or("not given"))?;
    writeln!(out, "  phone             {}", phone.as_deref().unwrap_or("not given"))?;
    writeln!(out, "  registered        {}", utc(*registered_at))?;
    writeln!(out, "  account key       {account_key}")?;
    writeln!(out, "  device list       number {device_list_number}")?;
    writeln!(out, "  access key        {}", if *access_key { "its hash is here" } else { "none" })?;
    let sealed = if *sealed_mail { "from whoever has the access key" } else { "not taken" };
    writeln!(out, "  sealed mail       {sealed}")?;
    for other in blocked {
        writeln!(out, "  blocked           {other}")?;
    }
    for KnownDevice { device, signing_key, identity_key, one_time, one_time_kem, expired, last_seen_day } in devices {
        writeln!(out, "  Device {device}")?;
        writeln!(out, "    last here       {}", last_seen_day.map_or_else(|| "not known".to_owned(), day))?;
        writeln!(out, "    signing key     {signing_key}")?;
        writeln!(out, "    identity key    {identity_key}")?;
        writeln!(out, "    prekeys         {one_time} one-time, {one_time_kem} one-time KEM")?;
        if *expired > 0 {
            writeln!(out, "    expired         {expired} envelopes, not yet told to the device")?;
        }
    }
    Ok(())
}

fn print_waiting(envelope: &WaitingEnvelope, retention_days: u32, out: &mut impl Write) -> io::Result<()> {
    let sender = envelope.sender.map_or_else(|| "unknown".to_owned(), |sender| sender.to_string());
    writeln!(out, "  Envelope {}", envelope.id)?;
    writeln!(out, "    from            {sender}")?;
    writeln!(out, "    to              {}", envelope.recipient)?;
    writeln!(out, "    size            {} bytes of ciphertext", envelope.size)?;
    writeln!(out, "    accepted        {}", utc(envelope.accepted_at))?;
    writeln!(out, "    deleted unread  {}", utc(expires_at(envelope.accepted_at, retention_days)))
}

fn each_waiting(relay: &AnyAdmin, mut show: impl FnMut(&WaitingEnvelope) -> Result<(), Stop>) -> Result<(), Stop> {
    let mut after = Cursor::START;
    loop {
        let page = told(relay.waiting(after, PAGE))?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.cursor;
        page.iter().try_for_each(&mut show)?;
    }
}
