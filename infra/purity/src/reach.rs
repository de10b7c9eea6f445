//! The doors into edge-core: a shard that steps, and a handler that answers.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};

use edge_core::http::{Request, handle};
use edge_core::object::{CallError, Frame, Input, Kind, ObjectId, SocketId};
use edge_core::objects::Message;
use edge_core::platform::{Platform, StoreError};
use edge_core::settings::Settings;
use edge_core::shard::Shard;
use edge_core::sql::{Rows, Statement};
use wire::Timestamp;

/// Calls every door; `black_box` keeps the optimiser from knowing what comes in.
#[expect(unsafe_code, reason = "the linker finds it by this name, which nothing else has")]
#[unsafe(no_mangle)]
extern "C" fn purity_reach_everything() {
    let settings: Settings = serde_json::from_slice(black_box(b"{}")).unwrap_or_default();
    objects(settings.clone());
    handlers(&Nowhere { settings });
}

fn objects(settings: Settings) {
    let mut shard = Shard::new(settings);
    let mut outputs = Vec::new();
    for kind in [Kind::Gateway, Kind::Room, Kind::User, Kind::Call, Kind::Directory] {
        let id = ObjectId::new(kind, black_box("gw-0"));
        let inputs = vec![
            (id.clone(), Input::Started { sockets: Vec::new(), epoch: black_box(1), seed: black_box([7; 32]) }),
            (id.clone(), Input::Frame { socket: SocketId(1), frame: Frame::Text(black_box(String::new())) }),
            (id, Input::Alarm),
        ];
        shard.step(Timestamp(black_box(0)), inputs, &mut outputs);
    }
    black_box(outputs);
}

fn handlers(platform: &Nowhere) {
    let answer = pin!(handle(platform, black_box(Request::default())));
    let _ = black_box(answer.poll(&mut Context::from_waker(Waker::noop())));
}

/// A host that has nothing.
struct Nowhere {
    settings: Settings,
}

impl Platform for Nowhere {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn read(&self, _: Statement) -> Result<Rows, StoreError> {
        black_box(Ok(Rows::new()))
    }

    async fn people_batch(&self, _: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        black_box(Ok(Vec::new()))
    }

    async fn object(&self, _: Kind, _: &str, _: Message) -> Result<Message, CallError> {
        black_box(Ok(Message::Done))
    }

    fn now(&self) -> Timestamp {
        Timestamp(black_box(0))
    }

    fn random(&self) -> [u8; 32] {
        black_box([0; 32])
    }
}
