//! WebSockets: the handshake, and the task that reads one socket.

use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use edge_core::error::CloseCode;
use edge_core::object::RequestHead;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use super::Body;
use super::socket::{Socket, weight};
use crate::guest::wit::Frame;
use crate::objects::{Event, Objects};

/// Grows only for larger messages.
const READ_BUFFER_BYTES: usize = 2 * 1024;
/// How long a peer has to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// How long an upgraded connection may take to arrive.
const UPGRADE_WAIT: Duration = Duration::from_secs(5);

/// Whether the request asks for a WebSocket.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The answer to a well-formed handshake, or the refusal of a malformed one. No extensions are offered.
pub(super) fn handshake(headers: &HeaderMap) -> Result<Response<Body>, Box<Response<Body>>> {
    let has = |name, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if !has(SEC_WEBSOCKET_VERSION, "13") {
        let mut response = super::text(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is needed");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(response));
    }
    let malformed = || Box::new(super::text(StatusCode::BAD_REQUEST, "not a WebSocket handshake"));
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let Some(key) = key.filter(|_| has(CONNECTION, "upgrade")) else {
        return Err(malformed());
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let mut response = super::text(StatusCode::SWITCHING_PROTOCOLS, "");
    let answer = response.headers_mut();
    answer.clear();
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, accept.map_err(|_| malformed())?);
    Ok(response)
}

/// Waits for the upgraded connection and serves it as a socket of `gateway`.
pub(super) async fn serve(
    upgrade: hyper::upgrade::OnUpgrade,
    objects: Arc<Objects>,
    gateway: Arc<str>,
    head: RequestHead,
    max_bytes: usize,
) {
    let Ok(Ok(upgraded)) = timeout(UPGRADE_WAIT, upgrade).await else { return };
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
    let shard = objects.shard_of(&gateway);
    let socket = Arc::new(Socket::new(objects.socket_id(), gateway, parts.io.into_inner()));
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(max_bytes))
        .max_frame_size(Some(max_bytes));
    let io = Io(socket.clone());
    let mut reader = WebSocket::from_partially_read(io, parts.read_buf.to_vec(), Role::Server, Some(config));
    objects.count_socket_task(true);
    objects.send(shard, Event::Open { socket: socket.clone(), head });
    let clean = run(&mut reader, &socket, &objects, shard).await;
    socket.ended(clean);
    objects.send(shard, Event::Closed { socket: socket.clone(), clean });
    let _ = rustix::net::shutdown(socket.tcp().as_fd(), rustix::net::Shutdown::Both);
    objects.count_socket_task(false);
}

/// The protocol library's view of a socket: reading never waits, writing goes through the queue.
struct Io(Arc<Socket>);

impl Read for Io {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.tcp().try_read(buffer)
    }
}

impl Write for Io {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push_raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Messages read in a row before other tasks get their turn.
const TURN: usize = 64;

/// What one round of reading came to.
enum Heard {
    /// Nothing more at the moment.
    Nothing,
    /// There may be more: the gateway is behind, or it is somebody else's turn.
    More,
    /// The peer closed, and was answered.
    Close,
    /// The peer is gone without a word.
    Gone,
    /// The peer broke a rule.
    Broken(CloseCode),
}

/// Serves until the end. Whether that was clean: a close frame came, or went.
async fn run(reader: &mut WebSocket<Io>, socket: &Arc<Socket>, objects: &Objects, shard: usize) -> bool {
    loop {
        let state = socket.state();
        if state.broken {
            return false;
        }
        if let Some(end) = state.end {
            linger(reader, socket, false).await;
            return end.clean;
        }
        if state.drained {
            objects.send(shard, Event::Drained { socket: socket.clone() });
        }
        let mut reading = socket.may_read();
        if reading {
            match hear(reader, socket, |frame| objects.send(shard, Event::Frame { socket: socket.clone(), frame })) {
                Heard::Nothing => {}
                Heard::More => {
                    reading = socket.may_read();
                    if reading {
                        // Messages may wait in the library's buffer, of which the kernel knows nothing.
                        tokio::task::yield_now().await;
                        continue;
                    }
                }
                Heard::Close => {
                    flush_out(socket).await;
                    return true;
                }
                Heard::Gone => return false,
                Heard::Broken(code) => {
                    let (code, reason) = code.frame();
                    socket.close(code, reason);
                    socket.flush();
                    linger(reader, socket, true).await;
                    return false;
                }
            }
        }
        let interest = match (reading, state.blocked) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        tokio::select! {
            ready = ready(socket, interest) => {
                let Ok(ready) = ready else { return false };
                if ready.is_writable() && state.blocked {
                    socket.write_more();
                }
            }
            () = socket.woken() => {}
        }
    }
}

async fn ready(socket: &Socket, interest: Option<Interest>) -> io::Result<tokio::io::Ready> {
    match interest {
        Some(interest) => socket.tcp().ready(interest).await,
        None => std::future::pending().await,
    }
}

/// Reads what is there, until the gateway is behind.
fn hear(reader: &mut WebSocket<Io>, socket: &Socket, mut frame: impl FnMut(Frame)) -> Heard {
    for _ in 0..TURN {
        if !socket.may_read() {
            break;
        }
        match reader.read() {
            Ok(Message::Text(text)) => send_in(socket, Frame::Text(text.as_str().to_owned()), &mut frame),
            Ok(Message::Binary(bytes)) => send_in(socket, Frame::Binary(bytes.to_vec()), &mut frame),
            Ok(Message::Close(_)) => {
                // Writes the library's answer.
                let _ = reader.flush();
                return Heard::Close;
            }
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
            Err(Error::ConnectionClosed) => return Heard::Close,
            Err(Error::Capacity(_)) => return Heard::Broken(CloseCode::TooBig),
            Err(Error::Utf8(_)) => return Heard::Broken(CloseCode::InvalidUtf8),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return Heard::Gone,
            Err(Error::Protocol(_)) => return Heard::Broken(CloseCode::ProtocolError),
            Err(_) => return Heard::Gone,
        }
    }
    Heard::More
}

fn send_in(socket: &Socket, message: Frame, frame: &mut impl FnMut(Frame)) {
    socket.sent_in(weight(&message));
    frame(message);
}

/// Waits, not for ever, until everything that was queued is out.
async fn flush_out(socket: &Socket) {
    let deadline = Instant::now() + CLOSE_WAIT;
    loop {
        let state = socket.state();
        if state.empty || state.broken {
            return;
        }
        match timeout_at(deadline, socket.tcp().writable()).await {
            Ok(Ok(())) => socket.write_more(),
            _ => return,
        }
    }
}

/// After a close frame of ours: writes it, then reads on until the peer answers or hangs up, so that it is not lost with
/// a reset. `raw`: what comes is no longer a sequence of frames.
async fn linger(reader: &mut WebSocket<Io>, socket: &Socket, raw: bool) {
    flush_out(socket).await;
    let deadline = Instant::now() + CLOSE_WAIT;
    if raw || socket.state().broken {
        let _ = rustix::net::shutdown(socket.tcp().as_fd(), rustix::net::Shutdown::Write);
    }
    while Instant::now() < deadline {
        match skip(reader, socket, raw) {
            Heard::Nothing => match timeout_at(deadline, socket.tcp().readable()).await {
                Ok(Ok(())) => {}
                _ => return,
            },
            Heard::More => tokio::task::yield_now().await,
            Heard::Close | Heard::Gone | Heard::Broken(_) => return,
        }
    }
}

/// Reads without listening.
fn skip(reader: &mut WebSocket<Io>, socket: &Socket, raw: bool) -> Heard {
    for _ in 0..TURN {
        if raw {
            match socket.tcp().try_read(&mut [0; 4096]) {
                Ok(0) => return Heard::Gone,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(_) => return Heard::Gone,
            }
        } else {
            match reader.read() {
                Ok(Message::Close(_)) => return Heard::Close,
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(_) => return Heard::Gone,
            }
        }
    }
    Heard::More
}
