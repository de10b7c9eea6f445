//! Calls between objects, and from handlers: the message is the body, who calls stands in the headers; answered by the
//! object's reply.

use std::collections::VecDeque;
use std::rc::Rc;

use edge_core::map::Map;
use edge_core::object::{CallError, CallKey, Input, ObjectId};
use edge_core::objects::Message;
use futures_channel::oneshot;
use worker::{Env, Request, Result, Stub};

use wire::Timestamp;

use super::{Host, now};
use crate::{config, frontend};

/// A call whose body was read.
pub(super) struct Arrived {
    call: CallKey,
    msg: Message,
    sender: Option<oneshot::Sender<Message>>,
}

/// The order in which calls of each caller came.
#[derive(Default)]
pub(super) struct Turns {
    taken: u64,
    callers: Map<ObjectId, VecDeque<Turn>>,
}

/// A caller that is gone may leave a body that never comes: after this time nobody waits for it.
const BODY_MS: u64 = 2_000;

enum Turn {
    Reading(u64, Timestamp),
    /// None: the body broke off.
    Read(Option<Arrived>),
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    fn take(&mut self, from: &ObjectId) -> u64 {
        self.taken += 1;
        self.callers.or_default(from.clone()).push_back(Turn::Reading(self.taken, now()));
        self.taken
    }

    fn fill(&mut self, from: &ObjectId, turn: u64, arrived: Option<Arrived>) {
        let mut turns = self.callers.get_mut(from).into_iter().flatten();
        if let Some(place) = turns.find(|place| matches!(place, Turn::Reading(number, _) if *number == turn)) {
            *place = Turn::Read(arrived);
        }
    }

    /// The next call of this caller, if it has been read.
    fn next(&mut self, from: &ObjectId) -> Option<Arrived> {
        let turns = self.callers.get_mut(from)?;
        let over = |turn: &mut Turn| match turn {
            Turn::Reading(_, since) => now().since(*since) > BODY_MS,
            Turn::Read(_) => true,
        };
        while let Some(turn) = turns.pop_front_if(over) {
            if let Turn::Read(Some(arrived)) = turn {
                return Some(arrived);
            }
        }
        if turns.is_empty() {
            self.callers.remove(from);
        }
        None
    }
}

impl Host {
    /// Calls another object; its answer comes as an input.
    pub(super) fn call(self: &Rc<Self>, to: ObjectId, call: CallKey, msg: Message) {
        self.meter.count("call", 1);
        let (host, from) = (self.clone(), self.id());
        let stub = self.stub(&to);
        self.spawn(async move {
            let result = match stub {
                Ok(stub) => frontend::call(&stub, &to, &from, call, &msg).await,
                Err(_) => Err(CallError::Lost),
            };
            if matches!(result, Err(CallError::Lost)) {
                // A broken stub stays broken.
                host.inner.borrow_mut().stubs.remove(&to);
            }
            if call != CallKey::NONE {
                host.give(Input::Reply { call, result });
            }
        });
    }

    fn stub(&self, to: &ObjectId) -> Result<Rc<Stub>> {
        if let Some(stub) = self.inner.borrow().stubs.get(to) {
            return Ok(stub.clone());
        }
        let stub = Rc::new(stub(&self.env, to)?);
        self.inner.borrow_mut().stubs.insert(to.clone(), stub.clone());
        Ok(stub)
    }

    /// A call has arrived: answers it when the object does. Its turn is taken before its body is read, because bodies of
    /// one caller may arrive in another order than its calls were made.
    pub(super) async fn called(self: &Rc<Self>, req: &mut Request) -> Result<worker::Response> {
        let (from, call) = frontend::caller(req.headers())?;
        let turn = self.turns.borrow_mut().take(&from);
        let body = req.bytes().await;
        let msg = body.as_ref().ok().map(|body| Message::from_bytes(body));
        let answer = (call != CallKey::NONE && msg.is_some()).then(oneshot::channel);
        let (sender, receiver) = answer.unzip();
        self.turns.borrow_mut().fill(&from, turn, msg.map(|msg| Arrived { call, msg, sender }));
        loop {
            let next = self.turns.borrow_mut().next(&from);
            let Some(Arrived { call, msg, sender }) = next else { break };
            self.start()?;
            if let Some(sender) = sender {
                self.inner.borrow_mut().answers.insert((from.clone(), call), sender);
            }
            self.give(Input::Object { from: from.clone(), call, msg });
        }
        body?;
        let Some(receiver) = receiver else { return frontend::replied(&Message::Done) };
        match receiver.await {
            Ok(msg) => frontend::replied(&msg),
            Err(_) => frontend::not_replied(CallError::Failed),
        }
    }
}

/// The way to an object.
pub(crate) fn stub(env: &Env, to: &ObjectId) -> Result<Stub> {
    env.durable_object(config::binding(to.kind))?.get_by_name(&to.name)
}
