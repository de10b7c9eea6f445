//! One WebSocket as the rest of the host sees it: frames go in from the shard's thread, its task carries on what the
//! kernel did not take at once.
//!
//! The server never masks, so a frame is the same bytes for every socket: it is encoded once and shared.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut as _, Bytes, BytesMut};
use edge_core::error::CloseCode;
use edge_core::limits::{DRAINED_BYTES, SOCKET_QUEUE_BYTES, SOCKET_QUEUE_FRAMES};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::guest::wit;

/// What may be on its way from one socket to the gateway, in units of [`weight`]: one that floods waits, the others do
/// not.
const IN_FLIGHT: u32 = 16;
/// Frames given to the kernel in one call.
const SLICES: usize = 64;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for [`Socket::flush`]; `first` since the last one.
    Queued { first: bool },
    /// It was one too many: the socket is being closed as a slow consumer.
    Overflow,
    /// The socket is closing; the frame is dropped.
    Closed,
}

/// A WebSocket (see the module).
#[derive(Debug)]
pub struct Socket {
    id: u64,
    gateway: Arc<str>,
    tcp: TcpStream,
    outbox: Mutex<Outbox>,
    /// Wakes the task: something to write, close or read.
    wake: Notify,
    in_flight: AtomicU32,
    reading: AtomicBool,
}

impl Socket {
    /// A socket of `gateway` over an upgraded connection.
    #[must_use]
    pub fn new(id: u64, gateway: Arc<str>, tcp: TcpStream) -> Self {
        Self {
            id,
            gateway,
            tcp,
            outbox: Mutex::default(),
            wake: Notify::new(),
            in_flight: AtomicU32::new(0),
            reading: AtomicBool::new(true),
        }
    }

    /// Its number, never used twice.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// `gateway/<name>`.
    #[must_use]
    pub fn gateway(&self) -> &Arc<str> {
        &self.gateway
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Queues an encoded frame.
    pub fn push(&self, frame: &Bytes) -> Pushed {
        let mut outbox = self.outbox();
        if outbox.end.is_some() {
            return Pushed::Closed;
        }
        if outbox.is_full() {
            // Perhaps nobody has tried to write since the queue began to grow.
            self.write(&mut outbox);
            if outbox.is_full() {
                let (code, reason) = CloseCode::SlowConsumer.frame();
                outbox.drop_waiting();
                outbox.push(close_frame(code, reason));
                outbox.end = Some(End { clean: false });
                self.wake.notify_one();
                return Pushed::Overflow;
            }
        }
        let first = !std::mem::replace(&mut outbox.dirty, true);
        outbox.push(frame.clone());
        Pushed::Queued { first }
    }

    /// Gives the kernel what it takes; the task writes the rest.
    pub fn flush(&self) {
        let mut outbox = self.outbox();
        outbox.dirty = false;
        self.write(&mut outbox);
    }

    /// Sends a close frame behind what waits. Later frames are dropped.
    pub fn close(&self, code: u16, reason: &str) {
        let mut outbox = self.outbox();
        if outbox.end.is_none() {
            outbox.push(close_frame(code, reason));
            outbox.end = Some(End { clean: true });
            self.wake.notify_one();
        }
    }

    /// Whether the queue is short enough now. Otherwise the task says when it is.
    pub fn drain(&self) -> bool {
        let mut outbox = self.outbox();
        self.write(&mut outbox);
        let short = outbox.bytes < DRAINED_BYTES || outbox.end.is_some();
        outbox.drain_wanted = !short;
        short
    }

    /// Bytes that the kernel has not taken yet.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.outbox().bytes
    }

    /// The gateway has seen a frame of this weight.
    pub fn consumed(&self, weight: u32) {
        let before = self.in_flight.fetch_sub(weight, Ordering::AcqRel);
        if before >= IN_FLIGHT && before - weight < IN_FLIGHT && !self.reading.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// A frame is on its way to the gateway.
    pub(super) fn sent_in(&self, weight: u32) {
        self.in_flight.fetch_add(weight, Ordering::AcqRel);
    }

    /// Whether another frame may be read. If not, the task is woken when it may.
    pub(super) fn may_read(&self) -> bool {
        if self.in_flight.load(Ordering::Acquire) < IN_FLIGHT {
            return true;
        }
        self.reading.store(false, Ordering::Release);
        // The gateway may have caught up between the two lines.
        let caught_up = self.in_flight.load(Ordering::Acquire) < IN_FLIGHT;
        if caught_up {
            self.reading.store(true, Ordering::Release);
        }
        caught_up
    }

    /// What the task has to do about the queue.
    pub(super) fn state(&self) -> State {
        let mut outbox = self.outbox();
        let drained = outbox.drain_wanted && outbox.bytes < DRAINED_BYTES;
        if drained {
            outbox.drain_wanted = false;
        }
        State { blocked: outbox.blocked, empty: outbox.bytes == 0, broken: outbox.broken, drained, end: outbox.end }
    }

    /// The kernel may take more.
    pub(super) fn write_more(&self) {
        let mut outbox = self.outbox();
        outbox.blocked = false;
        self.write(&mut outbox);
    }

    /// Bytes of the protocol library: pongs and its answer to a close frame. Nothing follows a close of ours.
    pub(super) fn push_raw(&self, bytes: &[u8]) {
        if matches!(self.push(&Bytes::copy_from_slice(bytes)), Pushed::Queued { .. }) {
            self.flush();
        }
    }

    /// Nothing is taken any more.
    pub(super) fn ended(&self, clean: bool) {
        let mut outbox = self.outbox();
        outbox.end.get_or_insert(End { clean });
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, outbox: &mut Outbox) {
        if outbox.blocked || outbox.broken {
            return;
        }
        match outbox.write_to(|slices| self.tcp.try_write_vectored(slices)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                outbox.blocked = true;
                self.wake.notify_one();
            }
            Err(_) => {
                outbox.broken = true;
                outbox.clear();
                self.wake.notify_one();
            }
        }
        if outbox.drain_wanted && outbox.bytes < DRAINED_BYTES {
            self.wake.notify_one();
        }
    }
}

/// A snapshot for the task.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// Frames wait until the kernel takes more.
    pub(super) blocked: bool,
    pub(super) empty: bool,
    /// Writing failed: the peer is gone.
    pub(super) broken: bool,
    /// The gateway wants to know that the queue is short.
    pub(super) drained: bool,
    pub(super) end: Option<End>,
}

/// The socket is being closed from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) clean: bool,
}

/// Frames that the kernel has not taken yet.
#[derive(Debug, Default)]
struct Outbox {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Part of the first frame is out already.
    partial: bool,
    dirty: bool,
    blocked: bool,
    broken: bool,
    drain_wanted: bool,
    end: Option<End>,
}

impl Outbox {
    fn is_full(&self) -> bool {
        self.bytes > SOCKET_QUEUE_BYTES || self.frames.len() >= SOCKET_QUEUE_FRAMES
    }

    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    fn clear(&mut self) {
        self.frames = VecDeque::new();
        self.bytes = 0;
    }

    /// Keeps only the rest of a frame that is partly out.
    fn drop_waiting(&mut self) {
        let partial = self.frames.pop_front().filter(|_| self.partial);
        self.clear();
        if let Some(rest) = partial {
            self.push(rest);
        }
    }

    /// Writes until everything is out or `write` fails.
    fn write_to(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        while !self.frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.frames.len().min(SLICES);
            for (slice, frame) in slices.iter_mut().zip(&self.frames) {
                *slice = IoSlice::new(frame);
            }
            let written = match write(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.advance(written);
        }
        // An idle socket keeps no memory for frames.
        if self.frames.capacity() > 8 {
            self.frames = VecDeque::new();
        }
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        while let Some(front) = self.frames.front_mut() {
            if written < front.len() {
                self.partial = self.partial || written > 0;
                bytes::Buf::advance(front, written);
                return;
            }
            written -= front.len();
            self.partial = false;
            self.frames.pop_front();
            if written == 0 {
                return;
            }
        }
    }
}

/// How much of [`IN_FLIGHT`] a received message takes.
#[must_use]
pub fn weight(frame: &wit::Frame) -> u32 {
    let bytes = match frame {
        wit::Frame::Text(text) => text.len(),
        wit::Frame::Binary(bytes) => bytes.len(),
    };
    1 + (bytes / (8 * 1024)) as u32
}

/// One message as one frame of RFC 6455, unmasked.
#[must_use]
pub fn encode(frame: &wit::Frame) -> Bytes {
    match frame {
        wit::Frame::Text(text) => encoded(0x81, text.as_bytes()),
        wit::Frame::Binary(bytes) => encoded(0x82, bytes),
    }
}

fn close_frame(code: u16, reason: &str) -> Bytes {
    // 1005 means "no code"; the reason may take 123 bytes.
    if code == 1005 {
        return encoded(0x88, &[]);
    }
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.get(..end).unwrap_or_default();
    encoded(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

fn encoded(first: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(first);
    match payload.len() {
        short @ 0..=125 => frame.put_u8(short as u8),
        medium @ 126..=0xffff => {
            frame.put_u8(126);
            frame.put_u16(medium as u16);
        }
        long => {
            frame.put_u8(127);
            frame.put_u64(long as u64);
        }
    }
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taking(mut room: usize, out: &mut Vec<u8>) -> impl FnMut(&[IoSlice<'_>]) -> io::Result<usize> {
        move |slices| {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let taken = all.len().min(room).min(7);
            if taken == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            room -= taken;
            out.extend(&all[..taken]);
            Ok(taken)
        }
    }

    #[test]
    fn frames_leave_whole_and_in_order_however_little_the_kernel_takes() {
        let mut outbox = Outbox::default();
        for n in 0..100_u8 {
            outbox.push(encoded(0x82, &vec![n; usize::from(n)]));
        }
        let wanted: Vec<u8> = outbox.frames.iter().flatten().copied().collect();
        let mut out = Vec::new();
        while let Err(error) = outbox.write_to(taking(50, &mut out)) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        assert_eq!((out, outbox.bytes), (wanted, 0));
    }

    #[test]
    fn a_frame_that_is_partly_out_is_finished_before_the_close_frame() {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"first"));
        outbox.push(Bytes::from_static(b"second"));
        let mut out = Vec::new();
        assert!(outbox.write_to(taking(2, &mut out)).is_err());
        outbox.drop_waiting();
        outbox.push(Bytes::from_static(b"close"));
        outbox.write_to(taking(100, &mut out)).unwrap();
        assert_eq!(out, b"firstclose");

        outbox.push(Bytes::from_static(b"third"));
        outbox.drop_waiting();
        assert_eq!((outbox.frames.len(), outbox.bytes), (0, 0));
    }

    #[test]
    fn lengths_are_encoded_as_the_standard_says() {
        assert_eq!(&encoded(0x81, b"hi")[..], [0x81, 2, b'h', b'i']);
        assert_eq!(encoded(0x82, &[0; 126])[..4], [0x82, 126, 0, 126]);
        assert_eq!(encoded(0x82, &[0; 65_536])[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(&close_frame(1012, "x")[..], [0x88, 3, 0x03, 0xf4, b'x']);
        assert_eq!(&close_frame(1005, "dropped")[..], [0x88, 0]);
        assert_eq!(close_frame(4000, &"é".repeat(100)).len(), 2 + 2 + 122);
    }
}
