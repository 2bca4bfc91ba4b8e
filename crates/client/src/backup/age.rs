//! The encryption of a backup: the format `age-encryption.org/v1`, with a passphrase or a key file, so that a backup can also be opened
//! without this program.
//!
//! ```text
//! age-encryption.org/v1
//! -> scrypt SALT 18              or  -> X25519 EPHEMERAL SHARE
//! file key 16, wrapped
//! --- HMAC-SHA256 of all before
//! nonce 16 ‖ chunks of 64 KiB, each ChaCha20-Poly1305, with a counter and a final flag in the nonce
//! ```
//! The specification is C2SP's (<https://age-encryption.org/v1>). What this program never writes it does not read either: other kinds of
//! recipients are passed over, and armor is refused. The adversary is the maker of a file that its victim opens: what a header may ask for
//! is bounded, in bytes and in work.

use std::io::{self, Read, Write};

use bech32::{Bech32, Hrp};
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use data_encoding::BASE64_NOPAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize as _, Zeroizing};

use crate::rng;

const VERSION_LINE: &[u8] = b"age-encryption.org/v1";
const SCRYPT: &str = "scrypt";
const X25519: &str = "X25519";
const SCRYPT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
const X25519_LABEL: &[u8] = b"age-encryption.org/v1/X25519";
const RECIPIENT_HRP: &str = "age";
const IDENTITY_HRP: &str = "age-secret-key-";

const FILE_KEY_LEN: usize = 16;
const TAG_LEN: usize = 16;
const SALT_LEN: usize = 16;
const NONCE_LEN: usize = 16;
const SHARE_LEN: usize = 32;
const HMAC_BLOCK: usize = 64;
/// A wrapped file key.
const BODY_LEN: usize = FILE_KEY_LEN + TAG_LEN;
/// Bytes of the plaintext in a chunk.
const CHUNK: usize = 64 * 1024;

/// scrypt's N is 2 to this power: 256 MiB of memory, and some seconds on a slow machine. What `age` itself writes. A file that asks for more is
/// refused: it could take all memory, or years.
pub const WORK: u8 = 18;

/// Of a header: this program's has two hundred bytes, one of many recipients some thousands.
const MAX_HEADER: usize = 64 * 1024;

/// Columns of a stanza's body.
const COLUMNS: usize = 64;

/// Why a file does not open.
#[derive(Debug)]
pub enum Refused {
    /// It is no such file.
    Foreign,
    /// It is none any more.
    Damaged(&'static str),
    /// Not with this passphrase or key.
    Secret,
    /// It is for a key and a passphrase was given, or the other way round.
    Kind,
    /// It cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Damaged("it ends too early") } else { Self::Io(error) }
    }
}

/// Whom a file is encrypted to.
pub enum Recipient<'a> {
    /// A passphrase, and scrypt's work.
    Passphrase(&'a str, u8),
    /// The owners of these keys, each of whom can open it.
    Keys(&'a [PublicKey]),
}

/// What a file is opened with.
pub enum Opener<'a> {
    /// A passphrase.
    Passphrase(&'a str),
    /// One of these keys.
    Keys(&'a [StaticSecret]),
}

/// A recipient as it is written: `age1…`.
pub fn recipient(text: &str) -> Option<PublicKey> {
    let (hrp, bytes) = bech32::decode(text).ok()?;
    let bytes: [u8; SHARE_LEN] = bytes.try_into().ok()?;
    // Upper and lower case are both right, and the other kind of checksum is not.
    let again = bech32::encode::<Bech32>(Hrp::parse(RECIPIENT_HRP).ok()?, &bytes).ok()?;
    (hrp.as_str() == RECIPIENT_HRP && again == text).then(|| PublicKey::from(bytes))
}

/// A key as it is written: `AGE-SECRET-KEY-1…`.
pub fn identity(text: &str) -> Option<StaticSecret> {
    let (hrp, bytes) = bech32::decode(text).ok()?;
    let bytes = Zeroizing::new(bytes);
    let secret: Zeroizing<[u8; SHARE_LEN]> = Zeroizing::new(bytes.as_slice().try_into().ok()?);
    let again = Zeroizing::new(bech32::encode_upper::<Bech32>(Hrp::parse(IDENTITY_HRP).ok()?, &*secret).ok()?);
    (hrp.to_lowercase() == IDENTITY_HRP && *again == text).then(|| StaticSecret::from(*secret))
}

/// A key that was drawn now, as it is written, and the recipient that belongs to it.
pub fn new_identity() -> Option<(Zeroizing<String>, String)> {
    let secret = StaticSecret::from(*Zeroizing::new(rng::bytes::<SHARE_LEN>()));
    let bytes = Zeroizing::new(secret.to_bytes());
    let text = bech32::encode_upper::<Bech32>(Hrp::parse(IDENTITY_HRP).ok()?, &*bytes).ok()?;
    let public = PublicKey::from(&secret);
    let public = bech32::encode::<Bech32>(Hrp::parse(RECIPIENT_HRP).ok()?, public.as_bytes()).ok()?;
    Some((Zeroizing::new(text), public))
}

type Secret32 = Zeroizing<[u8; 32]>;

fn derive(secret: &[u8], salt: &[u8], label: &[u8]) -> Secret32 {
    let mut out = Zeroizing::new([0; 32]);
    // 32 bytes are no more than HKDF gives.
    let _ = Hkdf::<Sha256>::new(Some(salt), secret).expand(label, &mut *out);
    out
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&Key::from(*key))
}

/// The key that a passphrase gives.
fn stretch(passphrase: &str, salt: &[u8], work: u8) -> Result<Secret32, Refused> {
    let params = scrypt::Params::new(work, 8, 1).map_err(|_| Refused::Damaged("its header asks for no work"))?;
    let mut key = Zeroizing::new([0; 32]);
    let salt = [SCRYPT_LABEL, salt].concat();
    scrypt::scrypt(passphrase.as_bytes(), &salt, &params, &mut *key).map_err(|_| Refused::Damaged("its header"))?;
    Ok(key)
}

/// The key that two shares give; none for a share that gives the same key with every secret.
fn agree(secret: &StaticSecret, share: &PublicKey, salt: &[u8]) -> Option<Secret32> {
    let shared = secret.diffie_hellman(share);
    shared.was_contributory().then(|| derive(shared.as_bytes(), salt, X25519_LABEL))
}

fn mac(file_key: &[u8], header: &[u8]) -> Hmac<Sha256> {
    // HMAC fills a short key up with zeros.
    let mut block = Zeroizing::new([0; HMAC_BLOCK]);
    block[..32].copy_from_slice(&*derive(file_key, &[], b"header"));
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(header);
    mac
}

fn no_header() -> io::Error {
    io::Error::other("the header cannot be made with this key")
}

/// One recipient's part of a header.
struct Stanza {
    arguments: Vec<String>,
    body: Vec<u8>,
}

impl Stanza {
    fn for_passphrase(passphrase: &str, work: u8, file_key: &[u8]) -> io::Result<Self> {
        let salt = rng::bytes::<SALT_LEN>();
        let key = stretch(passphrase, &salt, work).map_err(|_| no_header())?;
        Self::wrap(vec![SCRYPT.to_owned(), BASE64_NOPAD.encode(&salt), work.to_string()], &key, file_key)
    }

    fn for_key(theirs: &PublicKey, file_key: &[u8]) -> io::Result<Self> {
        let ours = StaticSecret::from(*Zeroizing::new(rng::bytes::<SHARE_LEN>()));
        let share = PublicKey::from(&ours);
        let salt = [*share.as_bytes(), *theirs.as_bytes()].concat();
        let key = agree(&ours, theirs, &salt).ok_or_else(no_header)?;
        Self::wrap(vec![X25519.to_owned(), BASE64_NOPAD.encode(share.as_bytes())], &key, file_key)
    }

    fn wrap(arguments: Vec<String>, key: &Secret32, file_key: &[u8]) -> io::Result<Self> {
        // The key serves for this one encryption.
        let body = cipher(key).encrypt(&Nonce::default(), file_key).map_err(|_| no_header())?;
        Ok(Self { arguments, body })
    }

    fn kind(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("-> {}\n", self.arguments.join(" ")).as_bytes());
        let body = BASE64_NOPAD.encode(&self.body);
        for line in body.as_bytes().chunks(COLUMNS) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        // The last line of a body is not full.
        if body.len().is_multiple_of(COLUMNS) {
            out.push(b'\n');
        }
    }

    fn unwrap_with(&self, key: &Secret32) -> Option<Zeroizing<Vec<u8>>> {
        cipher(key).decrypt(&Nonce::default(), self.body.as_slice()).ok().map(Zeroizing::new)
    }

    fn argument<const N: usize>(&self, index: usize) -> Result<[u8; N], Refused> {
        let wrong = || Refused::Damaged("its header names no share or salt");
        let text = self.arguments.get(index).ok_or_else(wrong)?;
        BASE64_NOPAD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)
    }

    fn must_hold_a_key(&self, arguments: usize) -> Result<(), Refused> {
        let fits = self.arguments.len() == arguments && self.body.len() == BODY_LEN;
        if fits { Ok(()) } else { Err(Refused::Damaged("its header")) }
    }

    /// The file key, if it is for this passphrase.
    fn open_by_passphrase(&self, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
        self.must_hold_a_key(3)?;
        let salt = self.argument::<SALT_LEN>(1)?;
        let work = &self.arguments[2];
        let number = work.parse::<u8>().ok().filter(|number| *number > 0 && number.to_string() == *work);
        let Some(number) = number.filter(|number| *number <= WORK) else {
            return Err(Refused::Damaged("it asks for more work than a backup needs"));
        };
        self.unwrap_with(&stretch(passphrase, &salt, number)?).ok_or(Refused::Secret)
    }

    /// The file key, if it is for this key.
    fn open_by_key(&self, key: &StaticSecret) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        self.must_hold_a_key(2)?;
        let share = self.argument::<SHARE_LEN>(1)?;
        let salt = [share, *PublicKey::from(key).as_bytes()].concat();
        let wrap = agree(key, &PublicKey::from(share), &salt).ok_or(Refused::Damaged("its header has a bad share"))?;
        Ok(self.unwrap_with(&wrap))
    }
}

/// A header as it was read.
struct Header {
    stanzas: Vec<Stanza>,
    /// All bytes before the HMAC.
    bytes: Vec<u8>,
    mac: Vec<u8>,
}

impl Header {
    fn read(input: &mut impl Read) -> Result<Self, Refused> {
        let mut bytes = Vec::new();
        match line(input, &mut bytes) {
            Ok(first) if first == VERSION_LINE => {}
            Ok(_) | Err(Refused::Damaged(_)) => return Err(Refused::Foreign),
            Err(error) => return Err(error),
        }
        let mut stanzas = Vec::new();
        loop {
            let before = bytes.len();
            let head = text(line(input, &mut bytes)?)?;
            if let Some(mac) = head.strip_prefix("--- ") {
                bytes.truncate(before + b"---".len());
                let mac = decode(mac)?;
                return Ok(Self { stanzas, bytes, mac });
            }
            let arguments = head.strip_prefix("-> ").ok_or(Refused::Damaged("its header"))?;
            let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
            let is_good =
                |argument: &String| !argument.is_empty() && argument.bytes().all(|byte| (33..=126).contains(&byte));
            if !arguments.iter().all(is_good) {
                return Err(Refused::Damaged("its header"));
            }
            let mut body = Vec::new();
            loop {
                let part = text(line(input, &mut bytes)?)?;
                if part.len() > COLUMNS {
                    return Err(Refused::Damaged("its header"));
                }
                body.extend_from_slice(&decode(&part)?);
                if part.len() < COLUMNS {
                    break;
                }
            }
            stanzas.push(Stanza { arguments, body });
        }
    }

    fn file_key(&self, opener: &Opener<'_>) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let by_passphrase = self.stanzas.iter().any(|stanza| stanza.kind() == SCRYPT);
        let found = match (opener, self.stanzas.as_slice()) {
            (Opener::Passphrase(passphrase), [one]) if by_passphrase => Some(one.open_by_passphrase(passphrase)?),
            // A passphrase stands alone: else its holder could not tell who else reads.
            _ if by_passphrase && self.stanzas.len() > 1 => return Err(Refused::Damaged("its header")),
            (Opener::Passphrase(_), _) => return Err(Refused::Kind),
            (Opener::Keys(_), _) if by_passphrase => return Err(Refused::Kind),
            (Opener::Keys(keys), stanzas) => {
                let mut found = None;
                for stanza in stanzas.iter().filter(|stanza| stanza.kind() == X25519) {
                    for key in *keys {
                        found = found.or(stanza.open_by_key(key)?);
                    }
                }
                found
            }
        };
        let found = found.ok_or(Refused::Secret)?;
        if found.len() != FILE_KEY_LEN {
            return Err(Refused::Damaged("its header"));
        }
        mac(&found, &self.bytes).verify_slice(&self.mac).map_err(|_| Refused::Damaged("its header was changed"))?;
        Ok(found)
    }
}

/// The next line of a header, which is added to its bytes.
fn line(input: &mut impl Read, header: &mut Vec<u8>) -> Result<Vec<u8>, Refused> {
    let start = header.len();
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        header.push(byte[0]);
        if byte[0] == b'\n' {
            return Ok(header[start..header.len() - 1].to_vec());
        }
        if header.len() > MAX_HEADER {
            return Err(Refused::Damaged("its header does not end"));
        }
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Refused> {
    String::from_utf8(bytes).map_err(|_| Refused::Damaged("its header"))
}

fn decode(text: &str) -> Result<Vec<u8>, Refused> {
    BASE64_NOPAD.decode(text.as_bytes()).map_err(|_| Refused::Damaged("its header"))
}

/// Numbers chunks.
#[derive(Default)]
struct Counter(u64);

impl Counter {
    fn next(&mut self, last: bool) -> io::Result<Nonce> {
        let mut nonce = [0; 12];
        // Eleven bytes of counter, of which eight are used: more chunks than any disk holds.
        nonce[3..11].copy_from_slice(&self.0.to_be_bytes());
        nonce[11] = u8::from(last);
        self.0 = self.0.checked_add(1).ok_or_else(|| io::Error::other("too many chunks"))?;
        Ok(Nonce::from(nonce))
    }
}

/// Encrypts what is written. [`finish`](Self::finish) has to be called: without it the file is one that ends too early.
pub struct Encrypting<W> {
    out: W,
    cipher: ChaCha20Poly1305,
    counter: Counter,
    chunk: Zeroizing<Vec<u8>>,
}

impl<W: Write> Encrypting<W> {
    /// Writes the header.
    pub fn begin(mut out: W, to: &Recipient<'_>) -> io::Result<Self> {
        let file_key = Zeroizing::new(rng::bytes::<FILE_KEY_LEN>());
        let mut header = [VERSION_LINE, b"\n"].concat();
        match to {
            Recipient::Passphrase(passphrase, work) => {
                Stanza::for_passphrase(passphrase, *work, &*file_key)?.write(&mut header);
            }
            Recipient::Keys(keys) => {
                keys.iter()
                    .try_for_each(|key| Stanza::for_key(key, &*file_key).map(|stanza| stanza.write(&mut header)))?;
            }
        }
        header.extend_from_slice(b"---");
        let mac = mac(&*file_key, &header).finalize().into_bytes();
        header.extend_from_slice(format!(" {}\n", BASE64_NOPAD.encode(&mac)).as_bytes());
        let nonce = rng::bytes::<NONCE_LEN>();
        out.write_all(&header)?;
        out.write_all(&nonce)?;
        let cipher = cipher(&derive(&*file_key, &nonce, b"payload"));
        Ok(Self { out, cipher, counter: Counter::default(), chunk: Zeroizing::new(Vec::with_capacity(CHUNK)) })
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = self.counter.next(last)?;
        let sealed = self.cipher.encrypt(&nonce, self.chunk.as_slice());
        self.chunk.zeroize();
        self.out.write_all(&sealed.map_err(|_| io::Error::other("encrypting failed"))?)
    }

    /// Writes the last chunk, and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Encrypting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A chunk that is full goes out once more comes: the last one says that it is.
        if self.chunk.len() == CHUNK {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Decrypts what is read. Nothing of a chunk is given out before its tag fitted; where the last chunk is missing, or something follows it,
/// the read that comes to it fails with [`io::ErrorKind::InvalidData`].
pub struct Decrypting<R> {
    input: R,
    cipher: ChaCha20Poly1305,
    counter: Counter,
    chunk: Zeroizing<Vec<u8>>,
    given: usize,
    last: bool,
}

impl<R: Read> Decrypting<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// All of [`Refused`].
    pub fn begin(mut input: R, opener: &Opener<'_>) -> Result<Self, Refused> {
        let header = Header::read(&mut input)?;
        let file_key = header.file_key(opener)?;
        let mut nonce = [0; NONCE_LEN];
        input.read_exact(&mut nonce)?;
        let cipher = cipher(&derive(&file_key, &nonce, b"payload"));
        let (counter, chunk) = (Counter::default(), Zeroizing::new(Vec::new()));
        Ok(Self { input, cipher, counter, chunk, given: 0, last: false })
    }

    fn open_next(&mut self) -> io::Result<()> {
        let damaged = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut sealed = Vec::with_capacity(CHUNK + TAG_LEN);
        self.input.by_ref().take((CHUNK + TAG_LEN) as u64).read_to_end(&mut sealed)?;
        let full = sealed.len() == CHUNK + TAG_LEN;
        let first = self.counter.0 == 0;
        // What is shorter can only be the last. A full one is, if it opens as that.
        let mut counter = Counter(self.counter.0);
        let opened = match full.then(|| counter.next(false)).transpose()? {
            Some(nonce) => self.cipher.decrypt(&nonce, sealed.as_slice()).ok(),
            None => None,
        };
        self.last = opened.is_none();
        let nonce = self.counter.next(self.last)?;
        let opened = match opened {
            Some(opened) => opened,
            None => {
                let why = if full { "a part of it was changed" } else { "it ends too early, or was changed" };
                self.cipher.decrypt(&nonce, sealed.as_slice()).map_err(|_| damaged(why))?
            }
        };
        if self.last && opened.is_empty() && !first {
            return Err(damaged("its end is not as it was written"));
        }
        if self.last && self.input.read(&mut [0])? != 0 {
            return Err(damaged("something follows its end"));
        }
        (self.chunk, self.given) = (Zeroizing::new(opened), 0);
        Ok(())
    }
}

impl<R: Read> Read for Decrypting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.chunk.len() {
            if self.last {
                return Ok(0);
            }
            self.open_next()?;
        }
        let given = into.len().min(self.chunk.len() - self.given);
        into[..given].copy_from_slice(&self.chunk[self.given..self.given + given]);
        self.given += given;
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_chunk_behind_full_ones_is_no_end() {
        let sealed = |last_is_empty: bool| {
            let mut encrypting = Encrypting::begin(Vec::new(), &Recipient::Passphrase("p", 1)).unwrap();
            encrypting.write_all(&[1; CHUNK]).unwrap();
            if last_is_empty {
                encrypting.seal(false).unwrap();
                encrypting.chunk.clear();
            }
            encrypting.finish().unwrap()
        };
        let open = |sealed: Vec<u8>| {
            let mut opened = Decrypting::begin(sealed.as_slice(), &Opener::Passphrase("p")).unwrap();
            opened.read_to_end(&mut Vec::new()).map_err(|error| error.kind())
        };
        assert_eq!(open(sealed(false)), Ok(CHUNK));
        assert_eq!(open(sealed(true)), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn of_a_header_without_an_end_no_more_is_read_than_one_may_have() {
        for endless in [&b"-"[..], b"-> x\n\n"] {
            let text = [b"age-encryption.org/v1\n", endless.repeat(4 * MAX_HEADER).as_slice()].concat();
            let mut left = text.as_slice();
            assert!(matches!(Header::read(&mut left), Err(Refused::Damaged(_))));
            assert!(text.len() - left.len() <= MAX_HEADER + 1);
        }
    }
}
