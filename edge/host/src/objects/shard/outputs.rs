//! What objects want done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use edge_core::object::CallError;

use super::{Caller, Instances, PollAnswer, Shard};
use crate::frontend::socket::{Pushed, encode};
use crate::guest::wit::{self, Input, Output};
use crate::objects::Event;
use crate::objects::hold::Unit;
use crate::storage::Job;

impl<I: Instances + 'static> Shard<I> {
    /// The outputs of one step, in order.
    pub(super) fn apply(&mut self, outputs: Vec<(String, Output)>) {
        for (object, output) in outputs {
            let Some((name, _)) = self.lives.get_key_value(object.as_str()) else { continue };
            let name = name.clone();
            if matches!(output, Output::Idle) {
                self.close_unit(&name);
                self.idle(&name);
                continue;
            }
            let Some(entry) = self.lives.get_mut(&name).filter(|entry| entry.is_live()) else { continue };
            let stores = matches!(output, Output::Persist(_) | Output::Project(_));
            let due = entry.hold.push(output);
            if let Some(unit) = due.unit {
                self.submit(&name, unit);
            }
            if let Some(output) = due.output {
                self.perform(&name, output);
            }
            if stores {
                self.open_units.push(name);
            }
        }
        for name in std::mem::take(&mut self.open_units) {
            self.close_unit(&name);
        }
    }

    fn close_unit(&mut self, name: &Arc<str>) {
        if let Some(unit) = self.lives.get_mut(name).and_then(|entry| entry.hold.close()) {
            self.submit(name, unit);
        }
    }

    fn submit(&mut self, name: &Arc<str>, unit: Unit) {
        let Some(entry) = self.lives.get_mut(name) else { return };
        entry.storing += 1;
        let Unit { unit, statements } = unit;
        self.storage.submit(self.index, Job { object: name.clone(), life: entry.life, unit, statements });
    }

    /// Applies an output that waits for nothing.
    pub(super) fn perform(&mut self, name: &Arc<str>, output: Output) {
        match output {
            Output::Send(wit::SendTo { sockets, frame }) => self.send_frame(&sockets, &frame),
            Output::Drain(socket) => {
                if let Some(held) = self.sockets.get(&socket)
                    && held.socket.drain()
                {
                    self.deliver(name, Input::Drained(socket), false);
                }
            }
            Output::Respond(wit::Respond { req, status, headers, body }) => {
                if let Some((_, answer)) = self.polls.remove(&req) {
                    let _ = answer.send(PollAnswer { status, headers, body });
                }
            }
            Output::Close(wit::Close { socket, code, reason }) => {
                if let Some(held) = self.sockets.get(&socket) {
                    held.socket.close(code, &reason);
                    let socket = held.socket.clone();
                    self.mark_dirty(socket);
                }
            }
            Output::Attach(wit::Attach { socket, data }) => {
                if data.len() > edge_core::limits::ATTACHMENT_BYTES {
                    tracing::error!(object = %name, bytes = data.len(), "an attachment is too large and was not taken");
                } else if let Some(held) = self.sockets.get_mut(&socket) {
                    held.attachment = data;
                }
            }
            Output::Load(load) => self.load(name, load),
            Output::Object(envelope) => self.call_out(name, envelope),
            Output::Reply(wit::Envelope { peer, call, msg }) => {
                let from = self.lives.get_mut(name).and_then(|entry| entry.inbound.answer(&peer, call));
                if let Some(from) = from {
                    self.answer(from, call, Ok(msg));
                }
            }
            Output::NodeRequest(wit::NodeRequest { request, .. }) => {
                // There is no media node to ask.
                let refused = wit::NodeReply { request, answer: Err(wit::CallError::Lost) };
                self.deliver(name, Input::NodeReply(refused), false);
            }
            Output::SetAlarm(at) => {
                if let Some(entry) = self.lives.get_mut(name) {
                    entry.alarm = at;
                    if let Some(at) = at {
                        self.alarms.set(at, name.clone());
                    }
                }
            }
            // Handled by `apply` and by the hold queue.
            Output::Persist(_) | Output::Project(_) | Output::Idle => {}
        }
    }

    fn send_frame(&mut self, sockets: &[u64], frame: &wit::Frame) {
        let bytes = encode(frame);
        let mut slow = 0;
        for id in sockets {
            let Some(held) = self.sockets.get(id) else { continue };
            match held.socket.push(&bytes) {
                Pushed::Queued { first: false } => {}
                Pushed::Queued { first: true } => self.dirty.push(held.socket.clone()),
                Pushed::Overflow => slow += 1,
                Pushed::Closed => {}
            }
        }
        if let Some(objects) = self.objects.upgrade() {
            objects.stats.frames_out.fetch_add(sockets.len() as u64, Ordering::Relaxed);
            objects.stats.slow_consumers.fetch_add(slow, Ordering::Relaxed);
        }
    }

    fn mark_dirty(&mut self, socket: Arc<crate::frontend::socket::Socket>) {
        self.dirty.push(socket);
    }

    fn load(&mut self, name: &Arc<str>, load: wit::Load) {
        let Some(entry) = self.lives.get(name) else { return };
        let (object, life, shard, objects) = (name.clone(), entry.life, self.index, self.objects.clone());
        let wit::Load { load, statements, store: _ } = load;
        let statements = statements.into_iter().map(|statement| edge_core::sql::Statement {
            sql: statement.sql.into(),
            params: statement.params.into_iter().map(super::value_in).collect(),
        });
        self.storage.load(statements.collect(), move |answer| {
            if let Some(objects) = objects.upgrade() {
                objects.send(shard, Event::Loaded { object, life, load, answer });
            }
        });
    }

    fn call_out(&mut self, name: &Arc<str>, envelope: wit::Envelope) {
        let wit::Envelope { peer, call, msg } = envelope;
        let Some(objects) = self.objects.upgrade() else { return };
        let Some(entry) = self.lives.get_mut(name) else { return };
        let from = Caller { name: name.clone(), life: entry.life };
        if !objects.exists(&peer) {
            tracing::warn!(object = %name, to = %peer, "a message to an object that cannot exist");
            if call != 0 {
                let lost = wit::Replied { call, answer: Err(wit::CallError::Lost) };
                self.deliver(name, Input::Reply(lost), false);
            }
            return;
        }
        if call != 0 {
            let until = entry.outgoing.made(call, Instant::now());
            self.deadlines.push(until, from.clone(), call);
        }
        let to: Arc<str> = self.lives.get_key_value(peer.as_str()).map_or_else(|| peer.as_str().into(), |(name, _)| name.clone());
        let shard = objects.shard_of(&to);
        if shard == self.index {
            self.call_in(&to, from, call, msg);
        } else {
            objects.send(shard, Event::Call { to, from, call, msg });
        }
    }

    /// Brings an answer to whoever called an object of this shard.
    pub(super) fn answer(&mut self, from: Caller, call: u64, answer: Result<Vec<u8>, CallError>) {
        let Some(objects) = self.objects.upgrade() else { return };
        if !from.name.starts_with("http/") && objects.shard_of(&from.name) == self.index {
            self.reply_in(&from, call, answer);
        } else {
            objects.reply(from, call, answer);
        }
    }
}
