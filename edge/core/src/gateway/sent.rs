//! What sockets were sent and may not have got (G-17). Each event packet takes the next number of the gateway's life,
//! whoever it goes to; its text is kept once, and each socket notes numbers only.

use std::collections::VecDeque;
use std::rc::Rc;

use wire::{RoomId, Timestamp};

use crate::dialect::DialectId;
use crate::limits;

/// The texts of one event, offset included, by dialect.
pub(super) type Texts = Vec<(DialectId, Rc<str>)>;

/// The conversation of an event, and its seq there; 0 when it takes none.
pub(super) type Place = Option<(RoomId, u64)>;

/// Numbers have the gateway's above these.
const INDEX_BITS: u32 = 48;

/// The number of the gateway that gave this offset.
pub(super) fn gateway_of(offset: &str) -> Option<u32> {
    u32::try_from(u64::from_str_radix(offset, 16).ok()? >> INDEX_BITS).ok()
}

/// The newest packets of this life.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Number of the oldest packet here. Random at first, so that numbers of two gateways or lives never meet.
    first: u64,
    packets: VecDeque<Packet>,
    bytes: usize,
    /// Of the input being handled.
    pub(super) now: Timestamp,
}

#[derive(Debug)]
struct Packet {
    at: Timestamp,
    place: Place,
    texts: Texts,
}

impl Log {
    /// Of the gateway number `index`: a client's offset says which gateway spoke to it last.
    pub(super) fn new(index: u32, random: u64, now: Timestamp) -> Self {
        Self { first: (u64::from(index) << INDEX_BITS) | (random >> 17), now, ..Self::default() }
    }

    /// The number of the next packet.
    pub(super) fn next(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// The newest number that was given; before any, a number that nobody got.
    pub(super) fn last(&self) -> u64 {
        self.next().saturating_sub(1)
    }

    /// Takes a packet under [`Log::next`].
    pub(super) fn push(&mut self, texts: Texts, place: Place) {
        self.bytes += bytes(&texts);
        self.packets.push_back(Packet { at: self.now, place, texts });
        while self.bytes > limits::RECOVERY_GATEWAY_BYTES {
            self.drop_first();
        }
    }

    /// Drops what nobody will ask for any more.
    pub(super) fn trim(&mut self) {
        let kept_ms = limits::RECOVERY_MS + 2 * limits::SWEEP_MS;
        while self.packets.front().is_some_and(|packet| self.now.since(packet.at) > kept_ms) {
            self.drop_first();
        }
        if self.packets.is_empty() {
            self.packets = VecDeque::new();
        }
    }

    /// Nobody is left who could ask.
    pub(super) fn clear(&mut self) {
        *self = Self { first: self.next(), now: self.now, ..Self::default() };
    }

    fn drop_first(&mut self) {
        if let Some(packet) = self.packets.pop_front() {
            self.bytes -= bytes(&packet.texts);
            self.first += 1;
        }
    }

    /// `None` when it is not here any more; `Some(None)` when the dialect has no word for it.
    pub(super) fn text(&self, number: u64, dialect: DialectId) -> Option<Option<Rc<str>>> {
        let texts = &self.packet(number)?.texts;
        Some(texts.iter().find(|(known, _)| *known == dialect).map(|(_, text)| text.clone()))
    }

    pub(super) fn place(&self, number: u64) -> Place {
        self.packet(number)?.place
    }

    fn packet(&self, number: u64) -> Option<&Packet> {
        self.packets.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

fn bytes(texts: &Texts) -> usize {
    96 + texts.iter().map(|(_, text)| text.len()).sum::<usize>()
}

/// What one socket was sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Numbers of packets that are not known to have arrived, ascending.
    numbers: VecDeque<u64>,
    /// Everything up to here has arrived, or is forgotten.
    floor: u64,
    /// The offset of a client that got nothing of `numbers`, unless something was forgotten.
    before: Option<Box<str>>,
    /// While held: the newest number that was written.
    written: u64,
    /// The number that a pong stands for.
    pinged: u64,
    /// Packets are noted only: the connection was lost, or is written what it missed first.
    pub(super) held: bool,
}

impl Sent {
    /// Begins a session whose client has `offset`, empty for none; `last` is the newest number.
    pub(super) fn begin(offset: &str, last: u64) -> Self {
        Self { floor: last, written: last, before: Some(offset.into()), ..Self::default() }
    }

    /// The session of a life before, whose packets are gone.
    pub(super) fn restored(last: u64) -> Self {
        Self { floor: last, written: last, ..Self::default() }
    }

    pub(super) fn push(&mut self, number: u64) {
        self.numbers.push_back(number);
        if self.numbers.len() > limits::RECOVERY_PACKETS {
            self.forget_first();
        }
    }

    /// These packets are not to be sent again, whether they arrived or not.
    pub(super) fn drop_all(&mut self, these: impl Fn(u64) -> bool) {
        self.numbers.retain(|number| !these(*number));
    }

    fn forget_first(&mut self) {
        if let Some(number) = self.numbers.pop_front() {
            self.floor = number;
            self.before = None;
        }
    }

    fn forget_until(&mut self, number: u64) {
        while self.numbers.front().is_some_and(|first| *first <= number) {
            self.forget_first();
        }
        if self.numbers.is_empty() && self.numbers.capacity() > 16 {
            self.numbers = VecDeque::new();
        }
    }

    /// A ping is sent behind everything up to `last`.
    pub(super) fn ping(&mut self, last: u64) {
        self.pinged = if self.held { self.written } else { last };
    }

    /// Its pong has come: what was sent before it has arrived.
    pub(super) fn ponged(&mut self) {
        self.forget_until(self.pinged);
    }

    /// What the client with this offset has: the number up to which nothing must be sent again. `None` for an offset
    /// that was not given, or after which something is forgotten.
    pub(super) fn has(&self, offset: &str, last: u64) -> Option<u64> {
        if self.before.as_deref() == Some(offset) {
            return Some(self.floor);
        }
        u64::from_str_radix(offset, 16).ok().filter(|number| (self.floor..=last).contains(number))
    }

    /// The newest packet of this socket.
    pub(super) fn newest(&self) -> u64 {
        self.numbers.back().copied().unwrap_or(self.floor)
    }

    /// Numbers above `number`.
    pub(super) fn above(&self, number: u64) -> impl Iterator<Item = u64> {
        let from = self.numbers.partition_point(|known| *known <= number);
        self.numbers.iter().skip(from).copied()
    }

    /// While held: numbers that are to be written.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = u64> {
        self.above(self.written)
    }

    /// Everything above `number` is to be written.
    pub(super) fn hold_from(&mut self, number: u64) {
        self.forget_until(number);
        (self.held, self.written) = (true, number);
    }

    /// While held: what is to be written next. `Err`: it is forgotten.
    pub(super) fn next_unwritten(&mut self) -> Result<Option<u64>, ()> {
        if self.floor > self.written {
            return Err(());
        }
        let next = self.above(self.written).next();
        self.written = next.unwrap_or(self.written);
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_says_what_the_client_has() {
        let mut sent = Sent::begin("", 100);
        assert_eq!(sent.has("", 100), Some(100), "nothing yet");
        assert_eq!(sent.has("x", 100), None);
        for number in [103, 107, 109] {
            sent.push(number);
        }
        assert_eq!(sent.has("", 110), Some(100));
        assert_eq!(sent.has("6b", 110), Some(107));
        assert_eq!(sent.above(107).collect::<Vec<_>>(), [109]);
        assert_eq!((sent.has("63", 110), sent.has("6f", 110)), (None, None), "older than the session, or not given yet");
        sent.ping(107);
        sent.push(111);
        sent.ponged();
        assert_eq!((sent.has("", 111), sent.has("67", 111)), (None, None), "what has arrived is forgotten");
        assert_eq!(sent.has("6b", 111), Some(107));
        assert_eq!(sent.above(107).collect::<Vec<_>>(), [109, 111]);
    }

    #[test]
    fn a_socket_notes_a_bounded_number_of_packets() {
        let mut sent = Sent::begin("", 0);
        for number in 1..=limits::RECOVERY_PACKETS as u64 + 5 {
            sent.push(number);
        }
        assert_eq!(sent.above(0).count(), limits::RECOVERY_PACKETS);
        assert_eq!((sent.has("", 2_000), sent.has("4", 2_000), sent.has("5", 2_000)), (None, None, Some(5)));
        sent.hold_from(5);
        sent.push(3_000);
        assert_eq!(sent.next_unwritten(), Err(()), "a hole is never written over");
    }

    #[test]
    fn the_gateway_keeps_a_bounded_number_of_bytes_for_a_bounded_time() {
        let mut log = Log::new(3, u64::MAX, Timestamp(0));
        assert_eq!(gateway_of(&format!("{:x}", log.next() + 1_000_000)), Some(3));
        let text: Rc<str> = "x".repeat(1024 * 1024).into();
        let first = log.next();
        for _ in 0..12 {
            log.push(vec![(DialectId::DEFAULT, text.clone())], None);
        }
        assert!(log.bytes <= limits::RECOVERY_GATEWAY_BYTES && log.packets.len() == 7);
        assert_eq!(log.text(first, DialectId::DEFAULT), None);
        assert_eq!(log.text(log.last(), DialectId::DEFAULT), Some(Some(text)));
        let next = log.next();
        log.now = Timestamp(limits::RECOVERY_MS + 2 * limits::SWEEP_MS + 1);
        log.trim();
        assert_eq!((log.bytes, log.packets.len(), log.next()), (0, 0, next));
    }
}
