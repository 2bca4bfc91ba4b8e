//! Slots: WriteSlot, ReadSlot, on a connection on which no device authenticated [KV-129].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kuvert_wire::checked;
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::error::Code;
use super::{Answer, CommandError};
use crate::shared::Shared;
use crate::slots::{MAX_PIECE_BYTES, PIECES, SlotError, SlotId};

/// When a client that waits for a piece asks again.
pub const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What is asked of a slot.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// A piece comes.
    Write(v1::WriteSlot),
    /// A piece is wanted.
    Read(v1::ReadSlot),
}

impl Request {
    /// As metrics name it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Write(_) => "write_slot",
            Self::Read(_) => "read_slot",
        }
    }
}

/// Writes a piece or reads one.
///
/// # Errors
/// `MALFORMED`, `TOO_LARGE`, `LIMITED`; the answer can also be `SLOT_UNKNOWN`, `NOT_READY`, `INVALID`, `UNAVAILABLE`.
pub fn run(service: &Arc<Shared>, from: IpAddr, request: Request) -> Result<Answer, CommandError> {
    // Also one that fails counts: those who guess names of slots get no further than those who flood.
    service.limiter.slot_request(from).map_err(|wait| CommandError::limited("requests for slots from here", wait))?;
    let now = service.clock.now_ms();
    match request {
        Request::Write(v1::WriteSlot { slot, number, piece }) => {
            let (slot, number) = (SlotId(checked::array(&slot, "slot")?), number_of(number)?);
            if piece.is_empty() {
                return Err(CommandError::new(Code::Invalid, "a piece of a slot is not empty"));
            }
            if piece.len() > MAX_PIECE_BYTES {
                return Err(CommandError::new(
                    Code::TooLarge,
                    format!("a piece of a slot has at most {MAX_PIECE_BYTES} bytes"),
                ));
            }
            if number == 0 {
                service.limiter.new_slot(from).map_err(|wait| CommandError::limited("new slots from here", wait))?;
            }
            let written = service.slots.write(slot, number, piece, now);
            Ok(Box::pin(async move {
                written.await.map_err(refuse)?;
                Ok(Response::Done(v1::Done {}))
            }))
        }
        Request::Read(v1::ReadSlot { slot, number }) => {
            let (slot, number) = (SlotId(checked::array(&slot, "slot")?), number_of(number)?);
            let read = service.slots.read(slot, number, now);
            Ok(Box::pin(async move {
                let piece = read.await.map_err(refuse)?;
                Ok(Response::SlotPiece(v1::SlotPiece { piece }))
            }))
        }
    }
}

fn number_of(number: u32) -> Result<u8, CommandError> {
    let number = u8::try_from(number).ok().filter(|number| *number < PIECES);
    number.ok_or_else(|| CommandError::new(Code::Invalid, format!("a slot has {PIECES} pieces, counted from 0")))
}

fn refuse(error: SlotError) -> CommandError {
    match error {
        SlotError::Unknown => CommandError::new(
            Code::SlotUnknown,
            "no such slot, or its five minutes are over; begin anew, with a new code",
        ),
        SlotError::NotYet => CommandError {
            retry_after: Some(ASK_AGAIN),
            ..CommandError::new(Code::NotReady, "the other device has not written this yet")
        },
        SlotError::NotNext => {
            CommandError::new(Code::Invalid, "another piece is there already, or the one before is missing; begin anew")
        }
        SlotError::Full => CommandError::limited("slots at this relay", ASK_AGAIN),
        SlotError::Store(error) => error.into(),
    }
}
