//! Many objects in one guest instance, stepped with a batch of inputs.

use std::collections::BTreeMap;
use std::rc::Rc;

use wire::Timestamp;

use crate::object::{Input, Kind, Object, ObjectId, Output};
use crate::settings::Settings;

/// The live objects of one instance. The host sends [`Input::Started`] before anything else to an object that it has
/// not started yet or that said [`Output::Idle`].
pub struct Shard {
    settings: Rc<Settings>,
    objects: BTreeMap<ObjectId, Live>,
}

struct Live {
    object: Box<dyn Object>,
    alarm: Option<Timestamp>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("objects", &self.objects.keys()).finish_non_exhaustive()
    }
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings: Rc::new(settings), objects: BTreeMap::new() }
    }

    /// Live objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether no object lives here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Applies `inputs` in order and appends every effect to `outputs`, in order.
    ///
    /// Input for an object that was never started is dropped: the host's contract forbids it, and a reply that arrives
    /// for a former life is of no use to anybody.
    pub fn step(&mut self, now: Timestamp, inputs: Vec<(ObjectId, Input)>, outputs: &mut Vec<(ObjectId, Output)>) {
        let mut alarmed = Vec::new();
        for (id, input) in inputs {
            if matches!(input, Input::Started { .. }) {
                let Some(object) = create(&id, &self.settings) else { continue };
                self.objects.insert(id.clone(), Live { object, alarm: None });
            }
            let Some(live) = self.objects.get_mut(&id) else { continue };
            let was_alarm = matches!(input, Input::Alarm);
            if was_alarm {
                live.alarm = None;
            }
            live.object.handle(input, now);
            while let Some(output) = live.object.poll_output() {
                outputs.push((id.clone(), output));
            }
            let wanted = live.object.poll_timeout();
            if wanted != live.alarm {
                live.alarm = wanted;
                outputs.push((id.clone(), Output::SetAlarm { at: wanted }));
            }
            if was_alarm {
                alarmed.push(id);
            }
        }
        for id in alarmed {
            if self.objects.get(&id).is_some_and(|live| live.object.is_idle(now)) {
                self.objects.remove(&id);
                outputs.push((id, Output::Idle));
            }
        }
    }
}

/// A fresh object of this kind, before its `Started`.
#[must_use]
pub fn create(id: &ObjectId, settings: &Rc<Settings>) -> Option<Box<dyn Object>> {
    match id.kind {
        Kind::Gateway => Some(Box::new(crate::gateway::Gateway::new(&id.name, settings.clone()))),
        Kind::Room => Some(Box::new(crate::room::Room::new(wire::RoomId::parse(&id.name)?, settings.clone()))),
        Kind::User => Some(Box::new(crate::user::User::new(wire::UserId::parse(&id.name)?, settings.clone()))),
        Kind::Call | Kind::Directory | Kind::Http => None,
    }
}
