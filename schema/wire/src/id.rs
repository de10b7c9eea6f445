//! Ids as newtypes. All are UUIDs in text form on the wire (`chatcall` dialect); other forms are projections.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Reads the hyphenated form only: one id has one spelling.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != 36 {
                    return None;
                }
                Uuid::try_parse(text).ok().map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.as_hyphenated())
            }
        }
    )+};
}

ids! {
    /// A person.
    UserId,
    /// A conversation; its Room object is named by it.
    RoomId,
    /// A message; rising within its conversation.
    MessageId,
    /// A signed-in session; the `sid` claim.
    SessionId,
}

/// Assembles a UUIDv7: 48 bits of milliseconds, 12 bits `counter`, 62 bits `tail`.
#[must_use]
pub fn uuid_v7(unix_ms: u64, counter: u16, tail: u64) -> Uuid {
    let high = (unix_ms & 0xffff_ffff_ffff) << 16 | 0x7000 | u64::from(counter & 0x0fff);
    let low = 0x8000_0000_0000_0000 | (tail & 0x3fff_ffff_ffff_ffff);
    Uuid::from_u64_pair(high, low)
}
