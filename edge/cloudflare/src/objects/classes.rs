//! The classes that wrangler.toml binds.

use std::rc::Rc;

use edge_core::object::Kind;
use worker::{
    DurableObject, Env, Error, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, durable_object, wasm_bindgen,
};

use super::Host;

/// Holds sockets: `gw-<n>`.
#[durable_object]
pub struct Gateway {
    host: Rc<Host>,
}

/// Single writer of a conversation.
#[durable_object]
pub struct Room {
    host: Rc<Host>,
}

/// Registrar of a user's sockets.
#[durable_object]
pub struct User {
    host: Rc<Host>,
}

macro_rules! hosted {
    ($name:ident) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.host.id()).finish()
            }
        }

        impl DurableObject for $name {
            fn new(state: State, env: Env) -> Self {
                Self { host: Host::new(state, env, Kind::$name) }
            }

            async fn fetch(&self, req: Request) -> Result<Response> {
                let answer = self.host.fetch(req).await;
                self.host.sleep_if_told();
                answer
            }

            async fn alarm(&self) -> Result<Response> {
                let done = self.host.alarm();
                self.host.sleep_if_told();
                done
            }

            async fn websocket_message(&self, ws: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
                let done = self.host.message(&ws, message);
                self.host.sleep_if_told();
                done
            }

            async fn websocket_close(&self, ws: WebSocket, code: usize, _reason: String, _clean: bool) -> Result<()> {
                let done = self.host.closed(&ws, Some(code));
                self.host.sleep_if_told();
                done
            }

            async fn websocket_error(&self, ws: WebSocket, _error: Error) -> Result<()> {
                let done = self.host.closed(&ws, None);
                self.host.sleep_if_told();
                done
            }
        }
    };
}

hosted!(Gateway);
hosted!(Room);
hosted!(User);
