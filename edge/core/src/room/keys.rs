//! Keys of repeated sends (M2). Memory holds a hash of each; storage holds them in the messages' own rows and, for all but
//! the newest, in bundles of hashes, because an index would be a row written with every message.

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};
use wire::{RoomId, Timestamp, UserId};

use super::{RECENT, Stored};
use crate::limits;
use crate::sql::{self, Rows, Statement};

/// What is above the newest bundle must be among the messages that a start loads.
const _: () = assert!(limits::KEYS_BUNDLE <= RECENT);

/// The keys of the last [`limits::DEDUPE_MS`], at most [`limits::DEDUPE_KEYS`] and some.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Seq of the newest message with this hash. Different keys may share one: the message itself decides.
    seqs: BTreeMap<u64, u64>,
    bundles: VecDeque<Bundle>,
}

/// A stored bundle: its newest message.
#[derive(Debug)]
struct Bundle {
    last_seq: u64,
    sent_at: Timestamp,
}

impl Keys {
    /// From rows of `last_seq, sent_at, keys`, oldest first; `None` when one is not what it must be.
    pub(super) fn from_bundles(rows: &Rows) -> Option<Self> {
        let mut keys = Self::default();
        for row in rows {
            let [last_seq, sent_at, hashes] = row.as_slice() else { return None };
            let (pairs, []) = hashes.as_blob()?.as_chunks::<8>() else { return None };
            let (pairs, []) = pairs.as_chunks::<2>() else { return None };
            keys.seqs.extend(pairs.iter().map(|[hash, seq]| (u64::from_le_bytes(*hash), u64::from_le_bytes(*seq))));
            keys.bundles.push_back(Bundle { last_seq: last_seq.as_u64()?, sent_at: Timestamp(sent_at.as_u64()?) });
        }
        Some(keys)
    }

    /// The message that may be the one that `sender` sent with this key.
    pub(super) fn seq_of(&self, sender: UserId, key: &str) -> Option<u64> {
        self.seqs.get(&hash(sender, key)).copied()
    }

    pub(super) fn insert(&mut self, row: &Stored) {
        if let Some(hash) = row.key_hash() {
            self.seqs.insert(hash, row.seq);
        }
    }

    /// What is to be stored with the newest of `recent`: a bundle, when one is full, and the end of those that are too old.
    pub(super) fn bundle(&mut self, room: RoomId, recent: &VecDeque<Stored>, now: Timestamp) -> Vec<Statement> {
        let bundled = self.bundles.back().map_or(0, |bundle| bundle.last_seq);
        let above = recent.range(recent.partition_point(|row| row.seq <= bundled)..);
        let Some(newest) = recent.back().filter(|_| above.len() >= limits::KEYS_BUNDLE) else { return Vec::new() };
        let hashes = above.filter_map(|row| Some([row.key_hash()?.to_le_bytes(), row.seq.to_le_bytes()]));
        let mut statements =
            vec![sql::room::insert_keys(room, newest.seq, newest.created_at, hashes.flatten().flatten().collect())];
        self.bundles.push_back(Bundle { last_seq: newest.seq, sent_at: newest.created_at });
        statements.extend(self.forget(now).map(|last_seq| sql::room::delete_keys(room, last_seq)));
        statements
    }

    /// Forgets what is too old or too much, and says up to where.
    fn forget(&mut self, now: Timestamp) -> Option<u64> {
        let most = limits::DEDUPE_KEYS / limits::KEYS_BUNDLE;
        let mut forgotten = None;
        while let Some(oldest) = self.bundles.front()
            && (self.bundles.len() > most || now.since(oldest.sent_at) > limits::DEDUPE_MS)
            && self.bundles.len() > 1
        {
            forgotten = Some(oldest.last_seq);
            self.bundles.pop_front();
        }
        if let Some(last_seq) = forgotten {
            self.seqs.retain(|_, seq| *seq > last_seq);
        }
        forgotten
    }
}

impl Stored {
    fn key_hash(&self) -> Option<u64> {
        Some(hash(self.sender?, self.client_id.as_deref()?))
    }
}

/// Whoever makes two keys meet can only make his own.
fn hash(sender: UserId, key: &str) -> u64 {
    let digest: [u8; 32] = Sha256::new().chain_update(sender.0.as_bytes()).chain_update(key).finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
