//! Sockets between gateways and clients: reliable and ordered while they live, cut at any moment.

use std::collections::BTreeMap;
use std::rc::Rc;

use edge_core::error::CloseCode;
use edge_core::limits;
use edge_core::object::{Frame, Input, RequestHead, SocketId};
use edge_core::objects;
use wire::Timestamp;

use crate::packet::Packet;
use crate::world::{Event, World, tell};

/// A WebSocket, both ends.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) client: usize,
    pub(crate) gateway: usize,
    /// The client's end.
    pub(crate) at_client: bool,
    /// The host's end: accepted and given to the gateway.
    opened: bool,
    at_server: bool,
    /// Frames go nowhere any more, and nobody has been told.
    cut: bool,
    attachment: Vec<u8>,
    /// The gateway has closed it: nothing of it comes in, and no life gets it.
    closing: bool,
    /// When the host last answered a pong by itself.
    pub(crate) heard: Option<Timestamp>,
    queued_bytes: usize,
    queued_frames: usize,
    drain_wanted: bool,
    /// When the link is free for the next frame.
    link_free_us: u64,
    last_out_us: u64,
    last_in_us: u64,
}

impl World {
    /// Opens a socket to a random gateway; `None` while the host is down.
    pub(crate) fn open_socket(&mut self, client: usize) -> Option<SocketId> {
        if self.now_us < self.host_up_at_us {
            return None;
        }
        let n = self.rng.below(u64::from(self.scenario.gateways)) as u32;
        let gateway = self.find_object(&objects::gateway(n));
        let id = SocketId(self.next_socket);
        self.next_socket += 1;
        let socket = Socket {
            client,
            gateway,
            at_client: true,
            opened: false,
            at_server: true,
            cut: false,
            attachment: Vec::new(),
            closing: false,
            heard: None,
            queued_bytes: 0,
            queued_frames: 0,
            drain_wanted: false,
            link_free_us: 0,
            last_out_us: 0,
            last_in_us: 0,
        };
        self.sockets.insert(id, socket);
        let at = self.now_us + self.latency(client);
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.last_in_us = at;
        }
        self.queue.push(at, Event::SocketUp { socket: id });
        Some(id)
    }

    /// Whether both ends are there and nothing was cut between them.
    pub(crate) fn is_whole(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_some_and(|socket| socket.at_client && socket.at_server && !socket.cut)
    }

    fn latency(&mut self, client: usize) -> u64 {
        let base = self.clients[client].latency_us;
        base + self.rng.below(base / 4 + 10)
    }

    pub(crate) fn socket_up(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| socket.at_server && !socket.cut) else { return };
        socket.opened = true;
        let (gateway, client) = (socket.gateway, socket.client);
        let head = RequestHead {
            method: "GET".to_owned(),
            path: "/socket.io/".to_owned(),
            query: "EIO=4&transport=websocket".to_owned(),
            origin: None,
            content_type: None,
            address: format!("10.0.{}.{}", client / 250, client % 250 + 1),
            upgrades: true,
        };
        // A gateway that starts for this socket is told of it by SocketOpened alone.
        if !self.is_live(gateway) {
            if let Some(socket) = self.sockets.get_mut(&id) {
                socket.opened = false;
            }
            self.input(gateway, Input::SocketOpened { socket: id, head });
            if let Some(socket) = self.sockets.get_mut(&id) {
                socket.opened = true;
            }
        } else {
            self.input(gateway, Input::SocketOpened { socket: id, head });
        }
    }

    /// The client writes a frame.
    pub(crate) fn client_sends(&mut self, id: SocketId, text: String) {
        let Some(socket) = self.sockets.get(&id) else { return };
        let client = socket.client;
        let latency = self.latency(client);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.last_in_us = (self.now_us + latency).max(socket.last_in_us + 1);
        let at = socket.last_in_us;
        self.queue.push(at, Event::FrameIn { socket: id, frame: Frame::Text(text) });
    }

    pub(crate) fn frame_in(&mut self, id: SocketId, frame: Frame) {
        let Some(socket) = self.sockets.get(&id).filter(|socket| socket.at_server && socket.opened && !socket.cut) else {
            return;
        };
        if socket.closing {
            return;
        }
        if self.sleeps() && matches!(&frame, Frame::Text(text) if text == "3") {
            return self.answer_pong(id);
        }
        self.input(socket.gateway, Input::Frame { socket: id, frame });
    }

    /// A gateway writes one frame to many sockets.
    pub(crate) fn send(&mut self, slot: usize, ids: &[SocketId], frame: &Frame) {
        let packet = match frame {
            Frame::Text(text) => Rc::new(Packet::parse(text)),
            Frame::Binary(_) => Rc::new(Packet::Odd("binary".to_owned())),
        };
        if let Packet::Odd(text) = &*packet {
            self.breach(format!("{} sends an odd frame: {text}", self.slots[slot].id));
        }
        for id in ids {
            let Some(socket) = self.sockets.get(id).filter(|socket| socket.at_server && socket.gateway == slot) else {
                continue;
            };
            let client = socket.client;
            let latency = self.latency(client);
            let bytes = frame.len() + 8;
            let per_second = self.clients[client].bytes_per_second;
            let (now, counted) = (self.now_us, !self.sleeps());
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            socket.queued_bytes += bytes;
            socket.queued_frames += 1;
            let full = socket.queued_bytes > limits::SOCKET_QUEUE_BYTES || socket.queued_frames > limits::SOCKET_QUEUE_FRAMES;
            if counted && full {
                tell!(self, "socket {} is a slow consumer", id.0);
                let (code, reason) = CloseCode::SlowConsumer.frame();
                self.end_socket(*id, code, reason, false);
                continue;
            }
            socket.link_free_us = socket.link_free_us.max(now) + bytes as u64 * 1_000_000 / per_second;
            socket.last_out_us = (socket.link_free_us + latency).max(socket.last_out_us + 1);
            if !socket.cut {
                let at = socket.last_out_us;
                self.queue.push(at, Event::FrameOut { socket: *id, packet: packet.clone(), bytes });
            }
        }
    }

    pub(crate) fn frame_out(&mut self, id: SocketId, packet: &Rc<Packet>, bytes: usize) {
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| !socket.cut) else { return };
        socket.queued_bytes = socket.queued_bytes.saturating_sub(bytes);
        socket.queued_frames = socket.queued_frames.saturating_sub(1);
        let (client, at_client) = (socket.client, socket.at_client);
        if socket.drain_wanted && socket.at_server && socket.queued_bytes < limits::DRAINED_BYTES {
            socket.drain_wanted = false;
            let gateway = socket.gateway;
            self.input(gateway, Input::Drained { socket: id });
        }
        if !at_client {
            return;
        }
        if matches!(**packet, Packet::Ack(..)) && self.rng.chance(self.faults.lost_ack) {
            tell!(self, "an ack to socket {} is lost with its connection", id.0);
            self.cut(id);
            return;
        }
        self.client_receives(client, id, packet);
    }

    pub(crate) fn drain(&mut self, id: SocketId) {
        let sleeps = self.sleeps();
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| socket.at_server) else { return };
        socket.drain_wanted = true;
        // Where objects sleep the runtime queues without telling how much.
        if sleeps || socket.queued_bytes < limits::DRAINED_BYTES {
            socket.drain_wanted = false;
            let (slot, input) = (socket.gateway, Input::Drained { socket: id });
            self.queue_for(slot, input);
        }
    }

    /// From inside the outputs of the gateway: its next input, not a nested one.
    fn queue_for(&mut self, slot: usize, input: Input) {
        let life = self.life_of(slot);
        self.inner_after(0, slot, life, input);
    }

    pub(crate) fn attach(&mut self, id: SocketId, data: Vec<u8>) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.attachment = data;
        }
    }

    /// The gateway closes a socket.
    pub(crate) fn close(&mut self, slot: usize, id: SocketId, code: u16, reason: &str) {
        if self.sockets.get(&id).is_some_and(|socket| socket.gateway == slot && socket.at_server) {
            if self.sleeps()
                && let Some(socket) = self.sockets.get_mut(&id)
            {
                socket.closing = true;
            }
            self.end_socket(id, code, reason, true);
        }
    }

    fn end_socket(&mut self, id: SocketId, code: u16, reason: &str, clean: bool) {
        tell!(self, "socket {} is closed with {code} {reason}", id.0);
        let Some(client) = self.sockets.get(&id).map(|socket| socket.client) else { return };
        let latency = self.latency(client);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        // Frames that wait are written before the close frame.
        let at = socket.last_out_us.max(self.now_us + latency) + 1;
        let at = if clean { at } else { self.now_us + latency };
        if !socket.cut {
            self.queue.push(at, Event::ClientSeesClose { socket: id });
        }
        self.after(1, Event::ServerSeesClose { socket: id, clean });
    }

    pub(crate) fn server_sees_close(&mut self, id: SocketId, clean: bool) {
        if let Some(socket) = self.sockets.get(&id).filter(|socket| socket.at_server && socket.opened)
            && self.sleeps()
            && !self.is_live(socket.gateway)
        {
            // The event that ends a sleep comes to a life that has the socket.
            self.start(socket.gateway);
        }
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| socket.at_server) else { return };
        socket.at_server = false;
        let (gateway, opened) = (socket.gateway, socket.opened);
        if opened {
            self.input(gateway, Input::SocketClosed { socket: id, clean });
        }
        self.tidy(id);
    }

    pub(crate) fn client_sees_close(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| socket.at_client) else { return };
        socket.at_client = false;
        let client = socket.client;
        self.client_lost(client, id);
        self.tidy(id);
    }

    fn tidy(&mut self, id: SocketId) {
        if self.sockets.get(&id).is_some_and(|socket| !socket.at_client && !socket.at_server) {
            self.sockets.remove(&id);
        }
    }

    /// The client closes: a close frame behind what it wrote.
    pub(crate) fn client_closes(&mut self, id: SocketId) {
        let (now, plain) = (self.now_us, !self.sleeps() && !self.scenario.relations);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.at_client = false;
        // Not before now; the seeds of fixed bugs of our own host keep their runs.
        let at = if !plain { (socket.last_in_us + 1).max(now) } else { socket.last_in_us + 1 };
        self.queue.push(at, Event::ServerSeesClose { socket: id, clean: true });
    }

    /// The network between the ends goes: what is under way is lost, and each end learns of it in its own time.
    pub(crate) fn cut(&mut self, id: SocketId) {
        let half_open = self.rng.chance(self.faults.half_open);
        let (client_us, server_us) = (self.rng.below(5_000_000), self.rng.below(2_000_000));
        self.cut_as(id, half_open, client_us, server_us);
    }

    pub(crate) fn cut_as(&mut self, id: SocketId, half_open: bool, client_us: u64, server_us: u64) {
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| !socket.cut) else { return };
        socket.cut = true;
        tell!(self, "socket {} is cut, half open: {half_open}", id.0);
        let client_us = if half_open { client_us * 8 } else { client_us / 5 };
        self.after(client_us, Event::ClientSeesClose { socket: id });
        if !half_open {
            self.after(server_us, Event::ServerSeesClose { socket: id, clean: false });
        }
    }

    /// The host process is gone, or that of one gateway.
    pub(crate) fn drop_sockets(&mut self, gateway: Option<usize>) {
        let lost = self.sockets.iter().filter(|(_, socket)| gateway.is_none_or(|gateway| socket.gateway == gateway));
        let ids: Vec<SocketId> = lost.map(|(id, _)| *id).collect();
        for id in ids {
            let us = self.rng.below(100_000);
            if let Some(socket) = self.sockets.get_mut(&id) {
                socket.at_server = false;
                socket.cut = true;
            }
            self.after(us, Event::ClientSeesClose { socket: id });
            self.tidy(id);
        }
    }

    /// Pongs of the sockets of a gateway that the host has answered.
    pub(crate) fn pongs_of(&self, slot: usize) -> Vec<(SocketId, Timestamp)> {
        let own = self.sockets.iter().filter(|(_, socket)| socket.gateway == slot && socket.at_server && !socket.closing);
        own.filter_map(|(id, socket)| Some((*id, socket.heard?))).collect()
    }

    /// Sockets that a gateway gets in `Started`.
    pub(crate) fn sockets_of(&self, slot: usize) -> Vec<(SocketId, Vec<u8>)> {
        let kept: &BTreeMap<SocketId, Socket> = &self.sockets;
        kept.iter()
            .filter(|(_, socket)| socket.gateway == slot && socket.opened && socket.at_server && !socket.closing)
            .map(|(id, socket)| (*id, socket.attachment.clone()))
            .collect()
    }
}
