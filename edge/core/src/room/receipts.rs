//! Whoever turned read receipts off neither sends nor sees read marks (contract 7). The mark itself is kept: it is what
//! one's own devices show, and what everybody sees once receipts are on again.

use wire::{Member, UserId};

use super::{Ready, Seat};
use crate::objects::{LiveEvent, Marks};

impl Seat {
    /// The column `blocks`: 1 for a block, 2 without receipts, and above these the version of the block.
    pub(crate) fn flags(&self) -> u64 {
        u64::from(self.blocks) | u64::from(!self.receipts) << 1 | self.blocks_version << 2
    }
}

impl Ready {
    fn sends_marks(&self, user: UserId) -> bool {
        self.members.get(&user).is_some_and(|seat| seat.receipts)
    }

    /// Whether `viewer` may know how far `user` has read.
    pub(super) fn shows_reading(&self, user: UserId, viewer: UserId) -> bool {
        user == viewer || (self.sends_marks(user) && self.sends_marks(viewer))
    }

    /// Members as `viewer` sees them, or somebody who has just come.
    pub(super) fn veil_members(&self, viewer: Option<UserId>, members: &mut [Member]) {
        for member in members {
            let shown = viewer.map_or_else(|| self.sends_marks(member.id), |viewer| self.shows_reading(member.id, viewer));
            if !shown {
                member.read_seq = 0;
            }
        }
    }

    /// Marks as `viewer` sees them.
    pub(super) fn veil_marks(&self, viewer: UserId, marks: &mut [Marks]) {
        for one in marks {
            if !self.shows_reading(one.user, viewer) {
                one.read_seq = 0;
            }
        }
    }

    /// E-009 and E-034 for those who may know.
    pub(super) fn veiled(&self, event: LiveEvent) -> Vec<LiveEvent> {
        let (LiveEvent::Read { user, .. } | LiveEvent::Receipts { user, .. }) = &event else { return vec![event] };
        let user = *user;
        let without = |seat: &Seat| seat.is_member() && !seat.receipts;
        let private = self.members.get(&user).is_some_and(without);
        let blind: Vec<UserId> =
            self.members.iter().filter(|(id, seat)| **id != user && without(seat)).map(|(id, _)| *id).collect();
        if !private && blind.is_empty() {
            return vec![event];
        }
        // Some see it whole; of a delivery, the others see the delivery.
        let (these, only) = if private { (vec![user], true) } else { (blind, false) };
        let rest = match &event {
            LiveEvent::Receipts { delivered_seq, .. } => {
                Some(LiveEvent::Receipts { user, delivered_seq: *delivered_seq, read_seq: 0 })
            }
            _ => None,
        };
        let whole = LiveEvent::For { these: these.clone(), only, event: Box::new(event) };
        let rest = rest.map(|event| LiveEvent::For { these, only: !only, event: Box::new(event) });
        std::iter::once(whole).chain(rest).collect()
    }
}
