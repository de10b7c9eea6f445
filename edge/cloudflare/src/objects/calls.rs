//! Calls between objects, and from handlers: the message is the body, who calls stands in the headers; answered by the
//! object's reply.

use std::rc::Rc;

use edge_core::object::{CallError, CallKey, Input, ObjectId};
use edge_core::objects::Message;
use futures_channel::oneshot;
use worker::{Env, Request, Result, Stub};

use super::Host;
use crate::{config, frontend};

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

    /// A call has arrived: answers it when the object does.
    pub(super) async fn called(self: &Rc<Self>, req: &mut Request) -> Result<worker::Response> {
        let (from, call) = frontend::caller(req.headers())?;
        let msg = Message::from_bytes(&req.bytes().await?);
        self.start()?;
        if call == CallKey::NONE {
            self.give(Input::Object { from, call, msg });
            return frontend::replied(&Message::Done);
        }
        let (sender, receiver) = oneshot::channel();
        self.inner.borrow_mut().answers.insert((from.clone(), call), sender);
        self.give(Input::Object { from, call, msg });
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
