//! WebSockets of a gateway: the socket's number is its tag, its attachment comes back after hibernation.

use edge_core::object::{Frame, SocketId};
use serde_bytes::ByteBuf;
use wire::Timestamp;
use worker::js_sys::{Date, Function, Reflect, Uint8Array};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::worker_sys::web_sys;
use worker::{Result, State, WebSocket, WebSocketRequestResponsePair};

/// Numbers are below 2^53, the last number JavaScript counts to.
pub(crate) fn number(random: [u8; 32]) -> SocketId {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&random[..8]);
    SocketId(u64::from_le_bytes(bytes) >> 11)
}

/// Accepts for hibernation under this number.
pub(crate) fn accept(state: &State, server: &WebSocket, socket: SocketId) {
    state.accept_websocket_with_tags(server, &[&socket.0.to_string()]);
}

/// The number of an accepted socket.
pub(crate) fn id(state: &State, ws: &WebSocket) -> Option<SocketId> {
    state.get_tags(ws).first()?.parse().ok().map(SocketId)
}

/// Sockets that survived, with their attachments; one whose client has just closed it too, because its event comes next.
pub(crate) fn survivors(state: &State) -> Vec<(SocketId, WebSocket, Vec<u8>)> {
    let attachment = |ws: &WebSocket| ws.deserialize_attachment::<ByteBuf>().ok().flatten().unwrap_or_default().into_vec();
    state.get_websockets().into_iter().filter_map(|ws| Some((id(state, &ws)?, ws.clone(), attachment(&ws)))).collect()
}

/// Closes a socket. What was kept with it goes first, so that it does not come back if the object sleeps before the
/// client has answered.
pub(crate) fn close(state: &State, socket: SocketId, code: u16, reason: &str) {
    for ws in state.get_websockets_with_tag(&socket.0.to_string()) {
        let _ = attach(&ws, Vec::new());
        let _ = ws.close(Some(code), Some(reason));
    }
}

/// Keeps bytes with the socket.
pub(crate) fn attach(ws: &WebSocket, data: Vec<u8>) -> Result<()> {
    ws.serialize_attachment(ByteBuf::from(data))
}

/// A frame as a value of JavaScript, made once for many sockets.
pub(crate) struct Payload(JsValue);

impl Payload {
    pub(crate) fn new(frame: &Frame) -> Self {
        Self(match frame {
            Frame::Text(text) => JsValue::from_str(text),
            Frame::Binary(bytes) => Uint8Array::from(bytes.as_slice()).into(),
        })
    }

    /// A socket that is closing refuses it, which its close event tells anyway.
    pub(crate) fn send(&self, ws: &WebSocket) {
        let ws: &JsValue = AsRef::<web_sys::WebSocket>::as_ref(ws).as_ref();
        if let Ok(send) = Reflect::get(ws, &JsValue::from_str("send")).and_then(JsCast::dyn_into::<Function>) {
            let _ = send.call1(ws, &self.0);
        }
    }
}

/// Pongs of Engine.IO are answered by the runtime with a noop, so that they wake nobody.
/// Never `3` -> `2`: the client would answer each ping with a pong, for ever.
pub(crate) fn answer_pongs(state: &State) {
    if let Ok(pair) = WebSocketRequestResponsePair::new("3", "6") {
        state.set_websocket_auto_response(&pair);
    }
}

/// When the runtime last answered a pong of this socket.
pub(crate) fn last_pong(state: &State, ws: &WebSocket) -> Option<Timestamp> {
    let object: &JsValue = state.as_raw().as_ref();
    let ask: Function = Reflect::get(object, &JsValue::from_str("getWebSocketAutoResponseTimestamp")).ok()?.dyn_into().ok()?;
    let ws: &JsValue = AsRef::<web_sys::WebSocket>::as_ref(ws).as_ref();
    let date: Date = ask.call1(object, ws).ok()?.dyn_into().ok()?;
    Some(Timestamp(date.get_time() as u64))
}
