//! Rates of what one user or one address may do here (`guarantees.md` 3.3). All off with `RATE_LIMITS=off`.

use std::collections::BTreeMap;
use std::rc::Rc;

use wire::{Timestamp, UserId};

use super::Gateway;
use super::conn::ConnId;
use crate::error::Failure;
use crate::limits;
use crate::rate::Bucket;

/// Buckets of users and addresses. They outlive the sockets, so that reconnecting resets nothing.
#[derive(Debug, Default)]
pub(super) struct Rates {
    users: BTreeMap<UserId, UserRates>,
    addresses: BTreeMap<Rc<str>, Address>,
    connects: Option<Bucket>,
}

#[derive(Debug)]
struct UserRates {
    messages: Bucket,
    joins: Bucket,
    presence: Bucket,
}

#[derive(Debug)]
struct Address {
    /// Connections that are not authenticated yet.
    pending: usize,
    /// Tokens that were refused.
    failed: Bucket,
    /// Connections that ended without authentication.
    anonymous: Bucket,
}

impl Address {
    fn new(now: Timestamp) -> Self {
        Self {
            pending: 0,
            failed: Bucket::new(limits::FAILED_AUTH_PER_MINUTE, 60_000, now),
            anonymous: Bucket::new(limits::ANONYMOUS_CONNECTS_PER_MINUTE, 60_000, now),
        }
    }
}

impl Rates {
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.addresses.is_empty()
    }

    /// Forgets what is as if nothing had happened.
    pub(super) fn purge(&mut self, now: Timestamp) {
        self.users.retain(|_, rates| !(rates.messages.is_full(now) && rates.joins.is_full(now) && rates.presence.is_full(now)));
        self.addresses.retain(|_, address| {
            address.pending > 0 || !(address.failed.is_full(now) && address.anonymous.is_full(now))
        });
    }
}

/// What a bucket would say, without taking anything.
fn peek(bucket: &Bucket, now: Timestamp) -> Result<(), u64> {
    let mut copy = *bucket;
    copy.take(now)
}

impl Gateway {
    /// One more connect of this gateway per second.
    pub(super) fn admit_connect(&mut self, now: Timestamp) -> bool {
        let per_second = limits::GATEWAY_CONNECTS_PER_SECOND;
        let bucket = self.rates.connects.get_or_insert_with(|| Bucket::new(per_second, 1_000, now));
        !self.settings.rate_limits || bucket.take(now).is_ok()
    }

    /// A new connection of this address, not authenticated yet. `false`: refused.
    pub(super) fn admit_address(&mut self, address: &Rc<str>, now: Timestamp) -> bool {
        // The test application knows no authentication.
        if !self.settings.rate_limits || self.is_test() {
            return true;
        }
        let known = self.rates.addresses.entry(address.clone()).or_insert_with(|| Address::new(now));
        if known.pending >= limits::UNAUTHENTICATED_PER_ADDRESS || peek(&known.anonymous, now).is_err() {
            return false;
        }
        known.pending += 1;
        true
    }

    /// A connection of this address is no longer waiting: it was authenticated, or it ended without.
    pub(super) fn address_settled(&mut self, address: &Rc<str>, authenticated: bool, now: Timestamp) {
        if let Some(known) = self.rates.addresses.get_mut(address) {
            known.pending = known.pending.saturating_sub(1);
            if !authenticated {
                let _ = known.anonymous.take(now);
            }
        }
    }

    /// The connection is anonymous again: it counts for its address.
    pub(super) fn address_pending(&mut self, address: &Rc<str>, now: Timestamp) {
        if self.settings.rate_limits {
            self.rates.addresses.entry(address.clone()).or_insert_with(|| Address::new(now)).pending += 1;
        }
    }

    /// Whether this address may try another token.
    pub(super) fn may_authenticate(&self, address: &Rc<str>, now: Timestamp) -> Result<(), Failure> {
        let Some(known) = self.rates.addresses.get(address) else { return Ok(()) };
        peek(&known.failed, now).map_err(Failure::rate_limited)
    }

    pub(super) fn authentication_failed(&mut self, address: &Rc<str>, now: Timestamp) {
        if let Some(known) = self.rates.addresses.get_mut(address) {
            let _ = known.failed.take(now);
        }
    }

    /// V-27, per user and gateway.
    pub(super) fn may_send(&mut self, user: UserId, now: Timestamp) -> Result<(), Failure> {
        self.user_rates(user, now).map_or(Ok(()), |rates| rates.messages.take(now).map_err(Failure::rate_limited))
    }

    /// E-002 per user and gateway.
    pub(super) fn may_join(&mut self, user: UserId, now: Timestamp) -> Result<(), Failure> {
        self.user_rates(user, now).map_or(Ok(()), |rates| rates.joins.take(now).map_err(Failure::rate_limited))
    }

    /// E-053 per user and gateway.
    pub(super) fn may_set_presence(&mut self, user: UserId, now: Timestamp) -> Result<(), Failure> {
        self.user_rates(user, now).map_or(Ok(()), |rates| rates.presence.take(now).map_err(Failure::rate_limited))
    }

    fn user_rates(&mut self, user: UserId, now: Timestamp) -> Option<&mut UserRates> {
        self.settings.rate_limits.then(|| {
            self.rates.users.entry(user).or_insert_with(|| UserRates {
                messages: Bucket::new(limits::MESSAGES_PER_MINUTE, 60_000, now),
                joins: Bucket::new(limits::JOINS_PER_MINUTE, 60_000, now),
                presence: Bucket::new(limits::PRESENCE_SETS_PER_MINUTE, 60_000, now),
            })
        })
    }

    /// Any event of one socket.
    pub(super) fn may_speak(&mut self, id: ConnId, now: Timestamp) -> Result<(), Failure> {
        if !self.settings.rate_limits {
            return Ok(());
        }
        let Some(live) = self.conns.live_mut(id) else { return Ok(()) };
        let capacity = limits::SOCKET_EVENTS_PER_SECOND * 2;
        let bucket = live.events.get_or_insert_with(|| Bucket::new(capacity, 2_000, now));
        bucket.take(now).map_err(Failure::rate_limited)
    }
}
