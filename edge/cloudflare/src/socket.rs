//! WebSockets of a gateway: the socket's number is its tag, its attachment comes back after hibernation.

use edge_core::object::{Frame, SocketId};
use serde_bytes::ByteBuf;
use worker::js_sys::{Date, Function, Reflect};
use worker::wasm_bindgen::{JsCast, JsValue};
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

/// The socket of this number, while it is open.
pub(crate) fn find(state: &State, socket: SocketId) -> Option<WebSocket> {
    state.get_websockets_with_tag(&socket.0.to_string()).pop()
}

/// Sockets that survived, with their attachments.
pub(crate) fn survivors(state: &State) -> Vec<(SocketId, Vec<u8>)> {
    let attachment = |ws: &WebSocket| ws.deserialize_attachment::<ByteBuf>().ok().flatten().unwrap_or_default().into_vec();
    state.get_websockets().iter().filter_map(|ws| Some((id(state, ws)?, attachment(ws)))).collect()
}

/// Keeps bytes with the socket.
pub(crate) fn attach(ws: &WebSocket, data: Vec<u8>) -> Result<()> {
    ws.serialize_attachment(ByteBuf::from(data))
}

/// One frame; a socket that is closing refuses it, which its close event tells anyway.
pub(crate) fn send(ws: &WebSocket, frame: &Frame) {
    let _ = match frame {
        Frame::Text(text) => ws.send_with_str(text),
        Frame::Binary(bytes) => ws.send_with_bytes(bytes),
    };
}

/// Pongs of Engine.IO are answered by the runtime with a noop, so that they wake nobody.
/// Never `3` -> `2`: the client would answer each ping with a pong, for ever.
pub(crate) fn answer_pongs(state: &State) {
    if let Ok(pair) = WebSocketRequestResponsePair::new("3", "6") {
        state.set_websocket_auto_response(&pair);
    }
}

/// When the runtime last answered a pong of this socket, in milliseconds.
pub(crate) fn last_pong(state: &State, ws: &WebSocket) -> Option<u64> {
    let object: &JsValue = state.as_raw().as_ref();
    let ask: Function = Reflect::get(object, &JsValue::from_str("getWebSocketAutoResponseTimestamp")).ok()?.dyn_into().ok()?;
    let date: Date = ask.call1(object, ws.as_ref()).ok()?.dyn_into().ok()?;
    Some(date.get_time() as u64)
}
