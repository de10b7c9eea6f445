//! Who reacted to a message with what: as stored, and as people see it.

use wire::{Reaction, UserId};

/// Emoji and who used it, in order of first use.
pub(super) type Reactions = Vec<(String, Vec<UserId>)>;

/// The bytes of the column `reactions`; `None` when there is none.
pub(crate) fn pack(reactions: &Reactions) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for (emoji, users) in reactions {
        bytes.push(u8::try_from(emoji.len()).unwrap_or_default());
        bytes.extend_from_slice(emoji.as_bytes());
        bytes.extend_from_slice(&u32::try_from(users.len()).unwrap_or_default().to_le_bytes());
        users.iter().for_each(|user| bytes.extend_from_slice(user.0.as_bytes()));
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// The inverse of [`pack`]; `None` for bytes that it does not write.
pub(super) fn unpack(mut bytes: &[u8]) -> Option<Reactions> {
    let mut reactions = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (emoji, rest) = rest.split_at_checked(usize::from(*length))?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (ids, rest) = rest.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(16)?)?;
        let users = ids.as_chunks::<16>().0.iter().map(|id| UserId(uuid::Uuid::from_bytes(*id))).collect();
        reactions.push((std::str::from_utf8(emoji).ok()?.to_owned(), users));
        bytes = rest;
    }
    Some(reactions)
}

/// All of them, nobody's in particular.
pub(super) fn listed(reactions: &Reactions) -> Vec<Reaction> {
    let one = |(emoji, users): &(String, Vec<UserId>)| Reaction {
        emoji: emoji.clone(),
        count: u32::try_from(users.len()).unwrap_or(u32::MAX),
        user_ids: users.clone(),
        me: false,
    };
    reactions.iter().map(one).collect()
}
