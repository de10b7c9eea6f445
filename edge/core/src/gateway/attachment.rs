//! What survives a restart of the gateway with its socket: compact binary, at most [`limits::ATTACHMENT_BYTES`].
//!
//! Layout: version 3 (2 had no `pid`), flags, then strings (length byte), ids (16 bytes) and numbers (LEB128). [`DIRTY`] says that the
//! socket got events since: it must be closed, so that its client resumes by cursor.

use wire::{RoomId, SessionId, Timestamp, UserId};

use crate::limits;

/// The attachment of a socket whose cursors are behind what it got.
pub const DIRTY: &[u8] = &[0];

const VERSION: u8 = 3;
const VERSION_WITHOUT_PID: u8 = 2;
const WARNED: u8 = 1;
const RESUMED: u8 = 2;

/// The state of an authenticated socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Engine.IO id.
    pub sid: String,
    /// Socket.IO id.
    pub socket_sid: String,
    /// By which the session is recovered; empty when it cannot be.
    pub pid: String,
    pub user: UserId,
    pub username: String,
    pub session: SessionId,
    /// Of the token.
    pub version: u64,
    pub expires: Timestamp,
    /// Last sign of life before this was written.
    pub heard: Timestamp,
    /// `auth:expiring` was sent for `expires`.
    pub warned: bool,
    /// The socket has resumed once.
    pub resumed: bool,
    /// Name of the dialect.
    pub dialect: String,
    pub rooms: Vec<Held>,
}

/// What a socket holds of one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub room: RoomId,
    /// `chat:join`
    pub opened: bool,
    pub cursor: Cursor,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// Live only.
    None,
    /// The seq that comes next.
    Next { next: u64, generation: u64 },
    /// A resume was cut off: nothing until the client asks again.
    Cut,
    /// Live only, and this seq comes next at the least.
    Above { next: u64 },
}

impl Attachment {
    /// The bytes, or `None` when they would be too many.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = vec![VERSION, (u8::from(self.warned) * WARNED) | (u8::from(self.resumed) * RESUMED)];
        for text in [&self.sid, &self.socket_sid, &self.username, &self.dialect, &self.pid] {
            out.push(u8::try_from(text.len()).ok()?);
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(self.user.0.as_bytes());
        out.extend_from_slice(self.session.0.as_bytes());
        put_number(&mut out, self.version);
        put_number(&mut out, self.expires.0);
        put_number(&mut out, self.heard.0);
        put_number(&mut out, self.rooms.len() as u64);
        for held in &self.rooms {
            out.extend_from_slice(held.room.0.as_bytes());
            let kind = match held.cursor {
                Cursor::None => 0,
                Cursor::Next { .. } => 1,
                Cursor::Cut => 2,
                Cursor::Above { .. } => 3,
            };
            out.push(kind << 1 | u8::from(held.opened));
            if let Cursor::Next { next, generation } = held.cursor {
                put_number(&mut out, next);
                put_number(&mut out, generation);
            }
            if let Cursor::Above { next } = held.cursor {
                put_number(&mut out, next);
            }
            if out.len() > limits::ATTACHMENT_BYTES {
                return None;
            }
        }
        (out.len() <= limits::ATTACHMENT_BYTES).then_some(out)
    }

    /// The inverse; `None` for [`DIRTY`] and for anything this version did not write.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let version_of_layout = reader.byte()?;
        if !matches!(version_of_layout, VERSION | VERSION_WITHOUT_PID) {
            return None;
        }
        let flags = reader.byte()?;
        let (sid, socket_sid, username, dialect) = (reader.sid()?, reader.sid()?, reader.text()?, reader.text()?);
        let pid = if version_of_layout == VERSION { reader.sid()? } else { String::new() };
        let (user, session) = (UserId(reader.uuid()?), SessionId(reader.uuid()?));
        let (version, expires) = (reader.number()?, Timestamp(reader.number()?));
        let heard = Timestamp(reader.number()?);
        let count = usize::try_from(reader.number()?).ok()?;
        // Each takes at least 17 bytes: a forged count allocates nothing.
        let mut rooms = Vec::with_capacity(count.min(reader.0.len() / 17));
        for _ in 0..count {
            let room = RoomId(reader.uuid()?);
            let kind = reader.byte()?;
            let cursor = match kind >> 1 {
                0 => Cursor::None,
                // Seqs begin at 1: before the first there is nothing to catch up with.
                1 => Cursor::Next { next: reader.number().filter(|next| *next > 0)?, generation: reader.number()? },
                2 => Cursor::Cut,
                3 => Cursor::Above { next: reader.number()? },
                _ => return None,
            };
            rooms.push(Held { room, opened: kind & 1 == 1, cursor });
        }
        let (warned, resumed) = (flags & WARNED != 0, flags & RESUMED != 0);
        reader.0.is_empty().then_some(Self {
            sid,
            socket_sid,
            pid,
            user,
            username,
            session,
            version,
            expires,
            heard,
            warned,
            resumed,
            dialect,
            rooms,
        })
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<String> {
        let len = usize::from(self.byte()?);
        std::str::from_utf8(self.take(len)?).ok().map(str::to_owned)
    }

    /// One of ours, which stands in packets as it is.
    fn sid(&mut self) -> Option<String> {
        self.text().filter(|sid| sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)))
    }

    fn uuid(&mut self) -> Option<uuid::Uuid> {
        uuid::Uuid::from_slice(self.take(16)?).ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rooms: usize) -> Attachment {
        let room = |n| RoomId(wire::uuid_v7(1_772_357_400_000, 1, n));
        let cursors = [Cursor::None, Cursor::Next { next: 42, generation: 1 }, Cursor::Cut, Cursor::Above { next: 300 }];
        Attachment {
            sid: "0.abcdefghijklmnopqrstuv".into(),
            socket_sid: "ABCDEFGHIJKLMNOPQRST".into(),
            pid: "0.vutsrqponmlkjihgfedcba".into(),
            user: UserId(wire::uuid_v7(1, 2, 3)),
            username: "änn".into(),
            session: SessionId(wire::uuid_v7(4, 5, 6)),
            version: 7,
            expires: Timestamp(1_772_357_400_000),
            heard: Timestamp(1_772_357_300_000),
            warned: true,
            resumed: false,
            dialect: "chatcall".into(),
            rooms: (0..rooms)
                .map(|n| Held { room: room(n as u64), opened: n % 2 == 0, cursor: cursors[n % 4] })
                .collect(),
        }
    }

    #[test]
    fn attachments_survive_the_round_trip() {
        for rooms in [0, 1, 3, 500] {
            let attachment = sample(rooms);
            let bytes = attachment.encode().expect("fits");
            assert_eq!(Attachment::decode(&bytes), Some(attachment));
        }
    }

    #[test]
    fn attachments_of_the_version_before_have_no_pid() {
        let mut attachment = sample(2);
        let bytes = attachment.encode().expect("fits");
        let pid = attachment.pid.len() + 1;
        let at = bytes.windows(pid - 1).position(|part| part == attachment.pid.as_bytes()).expect("there") - 1;
        let mut older = [&bytes[..at], &bytes[at + pid..]].concat();
        older[0] = VERSION_WITHOUT_PID;
        attachment.pid.clear();
        assert_eq!(Attachment::decode(&older), Some(attachment));
    }

    #[test]
    fn more_than_the_host_keeps_is_not_encoded() {
        let mut many = sample(1_200);
        assert_eq!(many.encode(), None);
        many.rooms.truncate(500);
        assert!(many.encode().is_some_and(|bytes| bytes.len() <= limits::ATTACHMENT_BYTES));
    }

    #[test]
    fn damaged_attachments_are_refused() {
        let bytes = sample(3).encode().expect("fits");
        assert_eq!(Attachment::decode(DIRTY), None);
        for cut in 0..bytes.len() {
            assert_eq!(Attachment::decode(&bytes[..cut]), None, "{cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Attachment::decode(&longer), None);
        let mut odd = sample(0);
        odd.rooms.push(Held { room: RoomId(odd.user.0), opened: true, cursor: Cursor::Next { next: 0, generation: 1 } });
        assert_eq!(Attachment::decode(&odd.encode().expect("fits")), None);
        for sid in ["", "0.\"", "0.\n", "é"] {
            let odd = Attachment { socket_sid: sid.into(), ..sample(1) }.encode().expect("fits");
            assert_eq!(Attachment::decode(&odd).is_some(), sid.is_empty(), "{sid:?}");
        }
    }
}
