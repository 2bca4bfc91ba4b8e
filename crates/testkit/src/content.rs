//! What travels inside the encryption, as in the client: a body, and which device lists its sender knows.
//!
//! ```text
//! kind u8 ‖ sender's list: number u64 ‖ hash 32 ‖ recipient's list as the sender knows it: number u64 ‖ hash 32 ‖ body
//! body of a text: text id u64 ‖ bytes    of receipts: count × text id u64    of a reset: id u64
//! ```

use kuvert_types::{DecodeError, DeviceListState, Reader};

/// Names a text in the whole world.
pub type TextId = u64;

/// What is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Something for a person to read.
    Text(TextId, Vec<u8>),
    /// These texts arrived.
    Receipts(Vec<TextId>),
    /// Something could not be opened, and this is a fresh session: send again what is not confirmed.
    /// Confirmed like a text, by the number it carries.
    Reset(TextId),
}

/// A body and what its sender knows of device lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// The sender's own list.
    pub sender_list: DeviceListState,
    /// The recipient's list as the sender knows it.
    pub recipient_list: DeviceListState,
    /// What is said.
    pub body: Body,
}

impl Content {
    /// See the module's head.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, body) = match &self.body {
            Body::Text(id, text) => (1, [&id.to_be_bytes()[..], text].concat()),
            Body::Receipts(ids) => (2, ids.iter().flat_map(|id| id.to_be_bytes()).collect()),
            Body::Reset(id) => (3, id.to_be_bytes().to_vec()),
        };
        let mut bytes = vec![kind];
        for list in [&self.sender_list, &self.recipient_list] {
            bytes.extend_from_slice(&list.number.to_be_bytes());
            bytes.extend_from_slice(&list.hash);
        }
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// It did not.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let mut list = || Ok(DeviceListState { number: reader.u64()?, hash: reader.array()? });
        let (sender_list, recipient_list) = (list()?, list()?);
        let body = match kind {
            1 => Body::Text(reader.u64()?, reader.rest().to_vec()),
            2 => {
                let mut ids = Vec::new();
                while reader.remaining() > 0 {
                    ids.push(reader.u64()?);
                }
                Body::Receipts(ids)
            }
            3 => Body::Reset(reader.u64()?),
            _ => return Err(DecodeError::Value),
        };
        Ok(Self { sender_list, recipient_list, body })
    }
}
