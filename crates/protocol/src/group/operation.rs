//! Operations of a group as they are signed and sent (PROTOCOL.md, Operations).
//!
//! ```text
//! body = version u8 = 1 ‖ group 32 (zero in a creation) ‖ n u8 ‖ n × parent 32, rising ‖ lamport u64
//!      ‖ author 16 ‖ device u32 (0: the account key signs) ‖ hash of the author's device list 32 ‖ stint 32 (zero: none) ‖ kind u8 ‖ …
//! operation = body ‖ signature 64 over  label "Kuvert/1 group operation" ‖ body
//! id        = SHA-256(label "Kuvert/1 group operation" ‖ body); that of the creation is the group's
//! ```
//! The signature is no part of the id: signing the same again is the same operation.

use alloc::vec::Vec;

use kuvert_types::limits::MAX_DEVICES;
use kuvert_types::{
    AccountId, AccountKey, DecodeError, DeviceCertificate, DeviceId, Reader, Signature, SignatureError,
};
use sha2::{Digest, Sha256};

use super::roster::{Kind, MAX_PARENTS, Operation, OperationId, Role};
use crate::identity::{AccountSecret, DeviceSecrets};
use crate::labels::GROUP_OPERATION;

/// Bytes of the value of a field, at most.
pub const MAX_VALUE_BYTES: usize = 1024;
/// Bytes of an operation, at most: 16 parents and the longest value.
pub const MAX_OPERATION_BYTES: usize = FIXED_LEN + MAX_PARENTS * 32 + 3 + MAX_VALUE_BYTES + Signature::LEN;

const VERSION: u8 = 1;
const FIXED_LEN: usize = 1 + 32 + 1 + 8 + AccountId::LEN + 4 + 32 + 32 + 1;
const NONE: [u8; 32] = [0; 32];

/// What the roster does not look at, beside the operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// The group; in a creation, what its operation's id will be, and not sent.
    pub group: OperationId,
    /// The hash of the author's device list, which shows that the device that signs is one of the account's.
    pub device_list: [u8; 32],
    /// In a creation 32 random bytes, so that no two groups have one id; in a checkpoint the digest of the state that it keeps; in a
    /// cut the hash of the list without the devices; zero else.
    pub detail: [u8; 32],
}

/// An operation whose signature has not been checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnverifiedOperation {
    operation: Operation,
    context: Context,
    signature: Signature,
    statement: Vec<u8>,
}

/// An operation with its author's signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedOperation(UnverifiedOperation);

/// The operation breaks a rule of the layout: parents that do not rise, a value that is too long, a key that its kind does not use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("such an operation has no encoding")]
pub struct Unencodable;

/// The label and the body of an operation, which give its id and are what is signed.
fn statement(operation: &Operation, context: &Context) -> Result<Vec<u8>, Unencodable> {
    let creates = matches!(operation.kind, Kind::Create { .. });
    let rising = operation.parents.windows(2).all(|pair| pair[0] < pair[1]);
    let parents = u8::try_from(operation.parents.len()).ok().filter(|n| usize::from(*n) <= MAX_PARENTS);
    let (Some(parents), true) = (parents, rising) else { return Err(Unencodable) };
    if operation.stint.is_some_and(|stint| *stint.as_bytes() == NONE) || creates != parents.eq(&0) {
        return Err(Unencodable);
    }
    if matches!(operation.kind, Kind::Cut { .. }) != operation.device.is_none() {
        return Err(Unencodable);
    }
    let mut bytes = Vec::with_capacity(32 + MAX_OPERATION_BYTES);
    bytes.extend_from_slice(&GROUP_OPERATION);
    bytes.push(VERSION);
    bytes.extend_from_slice(if creates { &NONE } else { context.group.as_bytes() });
    bytes.push(parents);
    operation.parents.iter().for_each(|parent| bytes.extend_from_slice(parent.as_bytes()));
    bytes.extend_from_slice(&operation.lamport.to_be_bytes());
    bytes.extend_from_slice(operation.author.as_bytes());
    bytes.extend_from_slice(&operation.device.map_or(0, DeviceId::get).to_be_bytes());
    bytes.extend_from_slice(&context.device_list);
    bytes.extend_from_slice(operation.stint.map_or(NONE, |stint| *stint.as_bytes()).as_slice());
    append_kind(&operation.kind, &context.detail, &mut bytes)?;
    Ok(bytes)
}

fn append_kind(kind: &Kind, detail: &[u8; 32], bytes: &mut Vec<u8>) -> Result<(), Unencodable> {
    let has_detail = matches!(kind, Kind::Create { .. } | Kind::Checkpoint | Kind::Cut { .. });
    if !has_detail && *detail != NONE {
        return Err(Unencodable);
    }
    match kind {
        Kind::Create { key } => {
            bytes.push(1);
            bytes.extend_from_slice(key.as_bytes());
        }
        Kind::Grant { account, key, role } => {
            bytes.push(2);
            bytes.extend_from_slice(account.as_bytes());
            bytes.extend_from_slice(key.as_bytes());
            bytes.push(match role {
                Role::Owner => 0,
                Role::Admin => 1,
                Role::Member => 2,
            });
        }
        Kind::Remove { account } => {
            bytes.push(3);
            bytes.extend_from_slice(account.as_bytes());
        }
        Kind::Demote { account } => {
            bytes.push(4);
            bytes.extend_from_slice(account.as_bytes());
        }
        Kind::Leave => bytes.push(5),
        Kind::Resign => bytes.push(6),
        Kind::Cut { devices } => {
            bytes.push(7);
            let count = u8::try_from(devices.len()).ok().filter(|n| (1..=MAX_DEVICES).contains(&usize::from(*n)));
            bytes.push(count.ok_or(Unencodable)?);
            if !devices.windows(2).all(|pair| pair[0] < pair[1]) {
                return Err(Unencodable);
            }
            devices.iter().for_each(|device| bytes.extend_from_slice(&device.get().to_be_bytes()));
        }
        Kind::Info { field, value } => {
            bytes.push(8);
            bytes.push(*field);
            let len = u16::try_from(value.len()).ok().filter(|len| usize::from(*len) <= MAX_VALUE_BYTES);
            bytes.extend_from_slice(&len.ok_or(Unencodable)?.to_be_bytes());
            bytes.extend_from_slice(value);
        }
        Kind::Checkpoint => bytes.push(9),
        Kind::Close => bytes.push(10),
    }
    if has_detail {
        bytes.extend_from_slice(detail);
    }
    Ok(())
}

/// The id of the operation that these fields make, for its author: the field `id` is not looked at.
///
/// # Errors
/// [`Unencodable`].
pub fn id(operation: &Operation, context: &Context) -> Result<OperationId, Unencodable> {
    Ok(OperationId::from_bytes(Sha256::digest(statement(operation, context)?).into()))
}

impl SignedOperation {
    /// Signs with a device's key. The operation's `id` becomes the right one.
    ///
    /// # Errors
    /// [`Unencodable`]; a cut is signed by [`sign_cut`](Self::sign_cut).
    pub fn sign(operation: Operation, context: Context, device: &DeviceSecrets) -> Result<Self, Unencodable> {
        if operation.device.is_none() {
            return Err(Unencodable);
        }
        Self::signed(operation, context, |statement| device.sign(statement))
    }

    /// Signs a cut with the account key.
    ///
    /// # Errors
    /// [`Unencodable`]: it is no cut, or lists no or too many devices.
    pub fn sign_cut(operation: Operation, context: Context, account: &AccountSecret) -> Result<Self, Unencodable> {
        if operation.device.is_some() {
            return Err(Unencodable);
        }
        Self::signed(operation, context, |statement| account.sign(statement))
    }

    fn signed(
        operation: Operation,
        context: Context,
        sign: impl FnOnce(&[u8]) -> Signature,
    ) -> Result<Self, Unencodable> {
        let statement = statement(&operation, &context)?;
        let id = OperationId::from_bytes(Sha256::digest(&statement).into());
        let signature = sign(&statement);
        let group = if operation.parents.is_empty() { id } else { context.group };
        let (operation, context) = (Operation { id, ..operation }, Context { group, ..context });
        Ok(Self(UnverifiedOperation { operation, context, signature, statement }))
    }

    /// For [`resolve`](super::roster::resolve).
    pub const fn operation(&self) -> &Operation {
        &self.0.operation
    }

    /// What stands beside it.
    pub const fn context(&self) -> &Context {
        &self.0.context
    }

    /// What is sent and stored: [`MAX_OPERATION_BYTES`] at most.
    pub fn encode(&self) -> Vec<u8> {
        [&self.0.statement[GROUP_OPERATION.len()..], self.0.signature.as_bytes()].concat()
    }
}

impl UnverifiedOperation {
    /// Reads an operation. Its bounds are judged before any signature is looked at [KV-117].
    ///
    /// # Errors
    /// [`DecodeError`]: another length or version, parents that do not rise, an unknown kind or role, a value out of range.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut detail = NONE;
        let (operation, group, device_list, signature) = Reader::whole(bytes, |reader| {
            if reader.u8()? != VERSION {
                return Err(DecodeError::Version);
            }
            let group: [u8; 32] = reader.array()?;
            let parents = reader.u8()?;
            if usize::from(parents) > MAX_PARENTS {
                return Err(DecodeError::Value);
            }
            let parents =
                (0..parents).map(|_| reader.array().map(OperationId::from_bytes)).collect::<Result<Vec<_>, _>>()?;
            let lamport = u64::from_be_bytes(reader.array()?);
            let author = AccountId::from_bytes(reader.array()?);
            let device = match u32::from_be_bytes(reader.array()?) {
                0 => None,
                number => Some(DeviceId::new(number)?),
            };
            let device_list = reader.array()?;
            let stint = Some(reader.array()?).filter(|stint| *stint != NONE).map(OperationId::from_bytes);
            let kind = read_kind(reader, &mut detail)?;
            let signature = Signature::from_bytes(reader.array()?);
            // The id is known once the whole is.
            let id = OperationId::from_bytes(NONE);
            Ok((Operation { id, parents, lamport, author, device, stint, kind }, group, device_list, signature))
        })?;
        let context = Context { group: OperationId::from_bytes(group), device_list, detail };
        // One encoding for each operation [KV-002]: what this would not write, it does not read.
        let statement = statement(&operation, &context).map_err(|Unencodable| DecodeError::Value)?;
        if statement[GROUP_OPERATION.len()..] != bytes[..bytes.len() - Signature::LEN] {
            return Err(DecodeError::Value);
        }
        let id = OperationId::from_bytes(Sha256::digest(&statement).into());
        let group = if operation.parents.is_empty() { id } else { context.group };
        let (operation, context) = (Operation { id, ..operation }, Context { group, ..context });
        Ok(Self { operation, context, signature, statement })
    }

    /// What it claims: for looking up what its signature is checked with.
    pub const fn claimed(&self) -> (&Operation, &Context) {
        (&self.operation, &self.context)
    }

    /// Checks the signature of a device, by its certificate. The caller sees to it that the certificate's account key is the one that the
    /// author has in the stint named, and that the list with the hash in [`Context::device_list`] names the certificate [KV-118].
    ///
    /// # Errors
    /// [`SignatureError`]; also for a certificate of another device.
    pub fn verify(self, author: &DeviceCertificate) -> Result<SignedOperation, SignatureError> {
        let address = author.address();
        if (address.account, Some(address.device)) != (self.operation.author, self.operation.device) {
            return Err(SignatureError);
        }
        self.signature.verify(author.signing_key().as_bytes(), &self.statement)?;
        Ok(SignedOperation(self))
    }

    /// Checks the signature of a cut, by the account key that the author has in the group.
    ///
    /// # Errors
    /// [`SignatureError`]; also for an operation that a device has to sign.
    pub fn verify_cut(self, account: &AccountKey) -> Result<SignedOperation, SignatureError> {
        if self.operation.device.is_some() {
            return Err(SignatureError);
        }
        self.signature.verify(account.as_bytes(), &self.statement)?;
        Ok(SignedOperation(self))
    }
}

fn read_kind(reader: &mut Reader<'_>, detail: &mut [u8; 32]) -> Result<Kind, DecodeError> {
    let account = |reader: &mut Reader<'_>| reader.array().map(AccountId::from_bytes);
    let key = |reader: &mut Reader<'_>| reader.array().map(AccountKey::from_bytes);
    let kind = match reader.u8()? {
        1 => Kind::Create { key: key(reader)? },
        2 => Kind::Grant {
            account: account(reader)?,
            key: key(reader)?,
            role: match reader.u8()? {
                0 => Role::Owner,
                1 => Role::Admin,
                2 => Role::Member,
                _ => return Err(DecodeError::Value),
            },
        },
        3 => Kind::Remove { account: account(reader)? },
        4 => Kind::Demote { account: account(reader)? },
        5 => Kind::Leave,
        6 => Kind::Resign,
        7 => {
            let count = reader.u8()?;
            if usize::from(count) > MAX_DEVICES {
                return Err(DecodeError::Value);
            }
            let device = |_| DeviceId::new(u32::from_be_bytes(reader.array()?));
            Kind::Cut { devices: (0..count).map(device).collect::<Result<_, _>>()? }
        }
        8 => {
            let (field, len) = (reader.u8()?, reader.u16()?);
            if usize::from(len) > MAX_VALUE_BYTES {
                return Err(DecodeError::Value);
            }
            Kind::Info { field, value: reader.bytes(len.into())?.to_vec() }
        }
        9 => Kind::Checkpoint,
        10 => Kind::Close,
        _ => return Err(DecodeError::Value),
    };
    if matches!(kind, Kind::Create { .. } | Kind::Checkpoint | Kind::Cut { .. }) {
        *detail = reader.array()?;
    }
    Ok(kind)
}
