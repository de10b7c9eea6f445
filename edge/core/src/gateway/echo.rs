//! The protocol test application: what the official suites of both protocols expect. Development only.
//!
//! `/engine.io/` sends every message back; `/socket.io/` has the namespaces `/` and `/custom`.

use serde_json::{Value, json};
use wire::Timestamp;

use super::Gateway;
use super::conn::{App, ConnId};
use crate::engineio::{Config, Reason};
use crate::error::CloseCode;
use crate::socketio::packet::ROOT;
use crate::socketio::{Event, Packet, encode};

/// What the suites ask of the open packet.
pub(super) const CONFIG: Config =
    Config { ping_interval_ms: 300, ping_timeout_ms: 200, grain_ms: 1, sweep_ms: 0, max_payload_bytes: 1_000_000, upgrades: true };

/// From the open packet to the first CONNECT.
pub(super) const CONNECT_TIMEOUT_MS: u64 = 1_000;

const CUSTOM: &str = "/custom";

/// Which namespaces a connection has joined.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Namespaces {
    root: bool,
    custom: bool,
}

impl Namespaces {
    fn get_mut(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            ROOT => Some(&mut self.root),
            CUSTOM => Some(&mut self.custom),
            _ => None,
        }
    }
}

/// The arguments as JSON without the brackets.
fn join(args: &[Value]) -> String {
    let text = serde_json::to_string(args).unwrap_or_default();
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or_default().to_owned()
}

impl Gateway {
    /// A packet of the test application.
    pub(super) fn test_packet(&mut self, id: ConnId, packet: Packet, _now: Timestamp) {
        let sid = self.token(15);
        let Some(conn) = self.conns.get_mut(id) else { return };
        let App::Test(namespaces) = &mut conn.app else { return };
        let joined = namespaces.get_mut(packet.namespace());
        let connected = joined.as_ref().is_some_and(|joined| **joined);
        match (packet, joined) {
            (Packet::Connect { namespace, .. }, None) => {
                let body = json!({"message": "Invalid namespace"});
                conn.session.send(encode::connect_error(&namespace, &body), &mut self.fx);
            }
            (Packet::Connect { namespace, auth }, Some(joined)) if !connected => {
                *joined = true;
                conn.auth_until = None;
                conn.session.send(encode::connected(&namespace, &sid, None), &mut self.fx);
                let auth = Value::Object(auth.unwrap_or_default()).to_string();
                conn.session.send(encode::event(&namespace, "auth", &auth), &mut self.fx);
            }
            (Packet::Disconnect { .. }, Some(joined)) if connected => *joined = false,
            (Packet::Event(event), Some(_)) if connected => self.test_event(id, &event),
            (Packet::Ack { .. }, Some(_)) if connected => {}
            _ => conn.session.close(CloseCode::ProtocolError, Reason::Server, &mut self.fx),
        }
    }

    fn test_event(&mut self, id: ConnId, event: &Event) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if event.namespace != ROOT {
            return;
        }
        let (args, count) = (join(&event.args), event.attachments.len());
        let header = match (event.name.as_str(), event.id) {
            ("message", _) if count == 0 => encode::event(ROOT, "message-back", &args),
            ("message", _) => encode::binary_event(ROOT, count, "message-back", &args),
            ("message-with-ack", Some(ack)) if count == 0 => encode::ack(ROOT, ack, &args),
            ("message-with-ack", Some(ack)) => encode::binary_ack(ROOT, count, ack, &args),
            _ => return,
        };
        conn.session.send(header, &mut self.fx);
        for attachment in &event.attachments {
            conn.session.send_binary(attachment, &mut self.fx);
        }
    }
}
