//! Extension: a request to what the relay offers beyond mail.

use kuvert_types::DecodeError;
use kuvert_types::limits::MAX_EXTENSION_NAME_BYTES;
use kuvert_wire::checked::InField;
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::refusal::Code;
use super::{Answer, Caller, Refusal, counted};
use crate::extension::Handled;

/// As metrics name a request to an extension that is not here.
pub(super) const NOT_OFFERED: &str = "extension";

/// [KV-101] Hands the body to the extension. Without an extension of this name, the answer is `NOT_OFFERED`; with a name that is too
/// long, `MALFORMED`.
pub fn run(caller: &Caller, request: v1::Extension) -> Answer {
    let asked = caller.service.clock.elapsed();
    let v1::Extension { name, body } = request;
    let Handled { request, reply } = match find(caller, &name) {
        Ok(extension) => extension.handle(caller, body),
        Err(refusal) => Handled { request: NOT_OFFERED, reply: Err(refusal) },
    };
    let answer = reply.map(|reply| -> Answer {
        Box::pin(async move { Ok(Response::Extension(v1::Extension { name, body: reply.await? })) })
    });
    counted(&caller.service, request, asked, answer)
}

fn find<'a>(caller: &'a Caller, name: &str) -> Result<&'a dyn crate::extension::Extension, Refusal> {
    if name.len() > MAX_EXTENSION_NAME_BYTES {
        return Err(DecodeError::Length).in_field("extension.name").map_err(Refusal::from);
    }
    let offered = caller.service.extension.as_deref().filter(|extension| extension.name() == name);
    offered.ok_or_else(|| Refusal::new(Code::NotOffered, "this relay does not offer that, and stored nothing of it"))
}
