//! What an object wants done, in its order.

use std::collections::VecDeque;
use std::rc::Rc;

use edge_core::object::{CallError, Frame, Input, Output, PersistError, SocketId, Store};
use edge_core::sql::Statement;
use worker::WebSocket;

use super::{Host, now};
use crate::hrana::People;
use crate::{socket, storage};

/// Storage refused: what stood behind it is dropped.
struct Refused(Input);

impl Host {
    /// Applies what waits, up to a Project that is not written yet. What happens at once comes back in `inputs`.
    pub(super) fn apply(self: &Rc<Self>, inputs: &mut VecDeque<Input>) {
        loop {
            let output = {
                let mut inner = self.inner.borrow_mut();
                // Rows of one decision are written together.
                if inner.holding > 0 && !matches!(inner.held.front(), Some(Output::Project { .. })) {
                    return;
                }
                inner.held.pop_front()
            };
            let Some(output) = output else { return };
            if let Err(Refused(input)) = self.apply_one(output, inputs) {
                inputs.clear();
                self.fail(input);
                return;
            }
        }
    }

    fn apply_one(self: &Rc<Self>, output: Output, inputs: &mut VecDeque<Input>) -> Result<(), Refused> {
        match output {
            Output::Send { sockets, frame } => self.send(&sockets, &frame),
            // The runtime queues without telling how much: a replay goes on at once.
            Output::Drain { socket } => inputs.push_back(Input::Drained { socket }),
            Output::Respond { req, response } => {
                if let Some(answer) = self.inner.borrow_mut().polls.remove(&req) {
                    let _ = answer.send(response);
                }
            }
            Output::Close { socket, code, reason } => {
                let ws = {
                    let mut inner = self.inner.borrow_mut();
                    inner.fresh.remove(&socket);
                    inner.sockets.remove(&socket)
                };
                if ws.is_some() {
                    socket::close(&self.state, socket, code, &reason);
                }
                inputs.push_back(Input::SocketClosed { socket, clean: true });
            }
            Output::Attach { socket, data } => {
                if let Some(ws) = self.socket(socket) {
                    // A socket that is closing takes none, and needs none.
                    let _ = socket::attach(&ws, data);
                    self.inner.borrow_mut().fresh.remove(&socket);
                }
            }
            Output::Persist { n, statements } => match storage::persist(&self.state.storage(), statements) {
                Ok(rows) => {
                    self.meter.count("rows", rows);
                    inputs.push_back(Input::Persisted { n });
                }
                Err(error) => return Err(Refused(Input::PersistFailed { n, error })),
            },
            Output::Project { n, key, statement, hold, .. } => self.project(n, key, statement, hold, inputs),
            Output::Load { load, store: Store::Own, statements } => {
                let result = storage::load(&self.state.storage(), &statements);
                inputs.push_back(Input::Loaded { load, result });
            }
            Output::Load { load, store: Store::People, statements } => self.load_people(load, statements),
            Output::Object { to, call, msg } => self.call(to, call, msg),
            Output::Reply { to, call, msg } => {
                if let Some(answer) = self.inner.borrow_mut().answers.remove(&(to, call)) {
                    let _ = answer.send(msg);
                }
            }
            // There are no media nodes yet.
            Output::NodeRequest { request, .. } => {
                inputs.push_back(Input::NodeReply { request, result: Err(CallError::Lost) });
            }
            // The object itself is asked when it wants to be woken; the runtime decides when it sleeps.
            Output::SetAlarm { .. } | Output::Idle => {}
        }
        Ok(())
    }

    /// Nobody hears what stood behind the Persist, and the object begins again from what is stored.
    fn fail(self: &Rc<Self>, refused: Input) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.held.clear();
            if let Some(object) = inner.object.as_mut() {
                object.handle(refused, now());
                while object.poll_output().is_some() {}
            }
        }
        if let Err(error) = self.restart() {
            worker::console_error!("{:?} could not begin again: {error}", self.id());
            self.inner.borrow_mut().object = None;
        }
    }

    fn socket(&self, id: SocketId) -> Option<WebSocket> {
        self.inner.borrow().sockets.get(&id).cloned()
    }

    fn send(&self, to: &[SocketId], frame: &Frame) {
        let payload = socket::Payload::new(frame);
        let inner = self.inner.borrow();
        for ws in to.iter().filter_map(|id| inner.sockets.get(id)) {
            payload.send(ws);
        }
    }

    fn load_people(self: &Rc<Self>, load: u64, statements: Vec<Statement>) {
        self.meter.count("people", 1);
        let (host, life) = (self.clone(), self.life.get());
        self.spawn(async move {
            let result = match People::new(&host.env) {
                Ok(people) => people.read(&statements).await,
                Err(error) => Err(error),
            };
            if host.life.get() == life {
                host.give(Input::Loaded { load, result: result.map_err(|_| PersistError::Io) });
            }
        });
    }
}
