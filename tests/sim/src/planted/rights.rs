//! Bugs of what is found, seen and allowed: the search index, sessions, presence, blocks, memberships, marks in time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use edge_core::object::{Frame, Input, Kind, Output, SocketId};
use edge_core::objects::{LiveEvent, Message, PresenceState};
use wire::{Timestamp, UserId};

use super::Twist;

/// One batch for the search index in three is empty, and moves its cursor all the same.
pub(super) struct IndexBatchLost(pub(super) u64);

impl Twist for IndexBatchLost {
    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Project { key, statement, .. } = &mut output
            && key.starts_with("index:")
        {
            self.0 += 1;
            if let Some(messages) = statement.params.last_mut().filter(|_| self.0.is_multiple_of(3)) {
                *messages = "[]".into();
            }
        }
        out.push_back(output);
    }
}

/// Whoever shows what a session is recovered by is taken for the person whose session it is.
#[derive(Default)]
pub(super) struct SessionOfAnother {
    tokens: BTreeMap<SocketId, serde_json::Value>,
    owners: BTreeMap<String, serde_json::Value>,
}

fn connect_of(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(text.strip_prefix("40")?).ok()
}

impl Twist for SessionOfAnother {
    fn input(&mut self, input: Input, _: Timestamp) -> Input {
        let Input::Frame { socket, frame: Frame::Text(text) } = &input else { return input };
        let Some(mut auth) = connect_of(text) else { return input };
        let owner = auth["pid"].as_str().and_then(|pid| self.owners.get(pid)).cloned();
        auth["token"] = owner.unwrap_or_else(|| auth["token"].clone());
        self.tokens.insert(*socket, auth["token"].clone());
        Input::Frame { socket: *socket, frame: Frame::Text(format!("40{auth}")) }
    }

    fn output(&mut self, output: Output, out: &mut VecDeque<Output>) {
        if let Output::Send { sockets, frame: Frame::Text(text) } = &output
            && let Some(pid) = connect_of(text).as_ref().and_then(|connected| connected["pid"].as_str())
            && let Some(token) = sockets.first().and_then(|socket| self.tokens.get(socket))
        {
            self.owners.entry(pid.to_owned()).or_insert_with(|| token.clone());
        }
        out.push_back(output);
    }
}

/// What a Room does for whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    History,
    Pull,
    Mark,
    Change,
}

/// The Room does it as if the last person who wrote had asked: that one is a member, mostly.
pub(super) struct Unchecked(pub(super) Deed, pub(super) Option<UserId>);

impl Twist for Unchecked {
    fn input(&mut self, mut input: Input, _: Timestamp) -> Input {
        let Input::Object { msg, from, .. } = &mut input else { return input };
        let (deed, asks) = match msg {
            Message::Send { from, .. } => {
                self.1 = Some(from.id);
                return input;
            }
            Message::History { user, .. } => (Deed::History, user),
            Message::Pull { user, .. } if from.kind == Kind::Gateway => (Deed::Pull, user),
            Message::MarkRead { user, .. } => (Deed::Mark, user),
            Message::Change { user, .. } => (Deed::Change, user),
            _ => return input,
        };
        if deed == self.0 {
            *asks = self.1.unwrap_or(*asks);
        }
        input
    }
}

/// Whoever heard somebody type in a conversation hears it for ever.
#[derive(Default)]
pub(super) struct TypingKept(BTreeMap<String, BTreeSet<SocketId>>);

impl Twist for TypingKept {
    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Send { sockets, frame: Frame::Text(text) } = &mut output
            && text.starts_with("42[\"chat:typing\"")
            && let Some((_, rest)) = text.split_once("\"conversationId\":\"")
            && let Some(conversation) = rest.get(..36)
        {
            let all = self.0.entry(conversation.to_owned()).or_default();
            all.extend(sockets.iter().copied());
            *sockets = all.iter().copied().collect();
        }
        out.push_back(output);
    }
}

/// Whoever hides is only away.
pub(super) struct InvisibleSeen;

impl Twist for InvisibleSeen {
    fn input(&mut self, mut input: Input, _: Timestamp) -> Input {
        if let Input::Object { msg: Message::SetPresence { state, .. }, .. } = &mut input
            && *state == PresenceState::Invisible
        {
            *state = PresenceState::Away;
        }
        input
    }
}

/// With each device its person is gone.
pub(super) struct LastDevice;

impl Twist for LastDevice {
    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Object { msg: Message::SocketDown { sockets, .. }, .. } = &mut output {
            *sockets = 0;
        }
        out.push_back(output);
    }
}

/// A Room takes every block for its end.
pub(super) struct BlockIgnored;

impl Twist for BlockIgnored {
    fn input(&mut self, mut input: Input, _: Timestamp) -> Input {
        if let Input::Object { msg: Message::Blocked { on, .. }, .. } = &mut input {
            *on = false;
        }
        input
    }
}

/// Whom one may see, blocked or not.
pub(super) struct BlockedSeen;

impl Twist for BlockedSeen {
    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Load { statements, .. } = &mut output {
            for statement in statements.iter_mut().filter(|statement| statement.sql.contains("status='blocked'")) {
                statement.sql = statement.sql.replace("status='blocked'", "status='hated'").into();
            }
        }
        out.push_back(output);
    }
}

/// Who has read is not told: one time in three, or whenever it was put off.
pub(super) struct MarksUntold {
    pub(super) put_off: bool,
    pub(super) told: u64,
    pub(super) alarm: bool,
}

impl Twist for MarksUntold {
    fn input(&mut self, input: Input, _: Timestamp) -> Input {
        self.alarm = matches!(input, Input::Alarm);
        input
    }

    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Object { msg: Message::Deliver { live, .. }, .. } = &mut output {
            self.told += 1;
            if if self.put_off { self.alarm } else { self.told.is_multiple_of(3) } {
                live.retain(|event| !matches!(event, LiveEvent::Read { .. } | LiveEvent::Receipts { .. }));
            }
        }
        out.push_back(output);
    }
}
