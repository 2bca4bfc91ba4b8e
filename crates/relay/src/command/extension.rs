//! Extension: a request to what the relay offers beyond mail.

use kuvert_types::DecodeError;
use kuvert_types::limits::MAX_EXTENSION_NAME_BYTES;
use kuvert_wire::checked::InField;
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::error::Code;
use super::{Answer, AuthenticatedDevice, CommandError};
use crate::extension::Handled;

/// Hands the body to the extension, which says what the request is `called` in metrics. Without an extension of this name,
/// the answer is `NOT_OFFERED`; with a name that is too long, `MALFORMED`.
///
/// # Errors
/// Those, and what the extension says.
pub fn run(
    device: &AuthenticatedDevice,
    request: v1::Extension,
    called: &mut &'static str,
) -> Result<Answer, CommandError> {
    let v1::Extension { name, body } = request;
    let Handled { request, reply } = find(device, &name)?.handle(device, body);
    *called = request;
    let reply = reply?;
    Ok(Box::pin(async move { Ok(Response::Extension(v1::Extension { name, body: reply.await? })) }))
}

fn find<'a>(caller: &'a AuthenticatedDevice, name: &str) -> Result<&'a dyn crate::extension::Extension, CommandError> {
    if name.len() > MAX_EXTENSION_NAME_BYTES {
        return Err(DecodeError::Length).in_field("extension.name").map_err(CommandError::from);
    }
    let offered = caller.service.extension.as_deref().filter(|extension| extension.name() == name);
    offered
        .ok_or_else(|| CommandError::new(Code::NotOffered, "this relay does not offer that, and stored nothing of it"))
}
