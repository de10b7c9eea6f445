//! Message ids: UUIDv7 that rise within a conversation, with 30 bits that name the conversation.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use wire::{MessageId, RoomId, Timestamp, uuid_v7};

/// Gives the next id. The clock may stand still or go back: ids rise all the same.
#[derive(Debug)]
pub(super) struct MessageIds {
    ms: u64,
    counter: u16,
    room: u32,
    rng: ChaCha20Rng,
}

impl MessageIds {
    /// Goes on above `last`, the newest id of the conversation.
    pub(super) fn new(room: RoomId, last: Option<MessageId>, seed: [u8; 32]) -> Self {
        let (ms, counter) = last.map_or((0, 0), |id| {
            let high = id.0.as_u64_pair().0;
            (high >> 16, (high & 0x0fff) as u16)
        });
        Self { ms, counter, room: room_hash(room), rng: ChaCha20Rng::from_seed(seed) }
    }

    pub(super) fn next(&mut self, now: Timestamp) -> MessageId {
        if now.0 > self.ms {
            (self.ms, self.counter) = (now.0, 0);
        } else if self.counter < 0x0fff {
            self.counter += 1;
        } else {
            (self.ms, self.counter) = (self.ms + 1, 0);
        }
        MessageId(uuid_v7(self.ms, self.counter, u64::from(self.room) << 32 | u64::from(self.rng.next_u32())))
    }
}

/// The 30 bits of a conversation in the ids of its messages, so that a bare message id finds its Room among the
/// caller's conversations.
#[must_use]
pub(super) fn room_hash(room: RoomId) -> u32 {
    let hash = Sha256::digest(room.0.as_bytes());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) & 0x3fff_ffff
}

/// Whether `id` may be a message of `room`; all but certain where it is `true`.
pub(crate) fn may_hold(room: RoomId, id: MessageId) -> bool {
    (id.0.as_u64_pair().1 >> 32) as u32 & 0x3fff_ffff == room_hash(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_when_the_clock_does_not() {
        let room = RoomId(uuid_v7(1, 2, 3));
        let mut ids = MessageIds::new(room, None, [7; 32]);
        let mut last = ids.next(Timestamp(1_000_000));
        for step in 0..10_000u64 {
            let next = ids.next(Timestamp(1_000_000 - step % 7 * 1_000));
            assert!(next > last);
            last = next;
        }
        let mut again = MessageIds::new(room, Some(last), [8; 32]);
        assert!(again.next(Timestamp(0)) > last, "a new life goes on above the newest id");
    }

    #[test]
    fn ids_name_their_room() {
        let room = RoomId(uuid_v7(9, 9, 9));
        let id = MessageIds::new(room, None, [1; 32]).next(Timestamp(5));
        assert!(may_hold(room, id) && !may_hold(RoomId(uuid_v7(9, 9, 8)), id));
    }
}
