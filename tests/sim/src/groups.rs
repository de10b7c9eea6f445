//! People who come and go: in each group of three or more the last member is removed, leaves and is added again, until the
//! run comes to rest with everybody in it.

use edge_core::object::CallError;
use edge_core::objects::{GroupChange, Message, Profile};
use edge_core::sql::Statement;

use crate::client::RequestKind;
use crate::history::{Id, What};
use crate::world::{Event, World};

impl World {
    pub(crate) fn profile(&self, user: usize) -> Profile {
        let person = &self.people[user];
        Profile {
            id: person.id,
            username: person.name.clone(),
            display_name: person.name.to_uppercase(),
            avatar_url: None,
            status: String::new(),
            receipts: true,
        }
    }

    /// Now and then the owner, or whoever comes and goes, changes the group. Answers whether that was it for now.
    pub(crate) fn churns(&mut self, index: usize, n: usize) -> bool {
        let user = self.clients[index].user;
        let Some(churner) = self.conversations[n].churner else { return false };
        let owns = self.conversations[n].members.first() == Some(&user);
        if !(owns || user == churner) || !self.rng.chance(0.08) {
            return false;
        }
        let change = match self.rng.below(5) {
            0 if owns => GroupChange::Update { name: Some(format!("group {}", self.next_op)), no_avatar: false },
            1 | 2 if owns => GroupChange::Remove { user: self.people[churner].id },
            _ if owns => GroupChange::Add { members: vec![self.profile(churner)] },
            0 | 1 => GroupChange::Leave,
            _ => return false,
        };
        let by = self.people[user].id;
        self.request(index, n, RequestKind::Group(None), Message::Group { by, change });
        true
    }

    /// At the end everybody is a member.
    pub(crate) fn bring_back(&mut self, n: usize) {
        let conversation = &self.conversations[n];
        let (Some(churner), Some(owner), true) = (conversation.churner, conversation.members.first(), self.settling) else { return };
        let (by, change) = (self.people[*owner].id, GroupChange::Add { members: vec![self.profile(churner)] });
        self.request(0, n, RequestKind::Group(Some(n)), Message::Group { by, change });
    }

    pub(crate) fn group_changed(&mut self, until_done: Option<usize>, result: Result<Message, CallError>) {
        match (until_done, result) {
            (Some(n), Ok(Message::View { .. })) => self.conversations[n].back = true,
            (Some(conversation), _) => self.after(500_000, Event::Found { conversation }),
            (None, Ok(Message::View { .. } | Message::Done | Message::Refused { .. }) | Err(_)) => {}
            (None, Ok(other)) => self.breach(format!("a change of a group was answered {other:?}")),
        }
    }

    /// A conversation that is new to this client: it subscribes.
    pub(crate) fn created_came(&mut self, index: usize, conversation: &Id) {
        let Some(n) = self.member_of(index, conversation) else { return };
        let client = &mut self.clients[index];
        client.dismissed.remove(&n);
        if client.resumed && !client.live_only {
            client.cursors.entry(n).or_insert(0);
            self.resume(index, vec![n], false);
        }
    }

    pub(crate) fn dismissed_came(&mut self, index: usize, conversation: &Id) {
        let Some(n) = self.member_of(index, conversation) else { return };
        let Some(conn) = self.clients[index].conn.clone() else { return };
        self.log(What::Dismissed { conn, conversation: conversation.clone() });
        let left = self.left_seq(index, n);
        let client = &mut self.clients[index];
        client.early.remove(&n);
        client.dismissed.insert(n, left);
    }

    /// Whatever takes no number is not for those who are gone, unless they came back since.
    pub(crate) fn not_dismissed(&mut self, index: usize, conversation: &Id) {
        let Some(n) = self.member_of(index, conversation) else { return };
        let Some(left) = self.clients[index].dismissed.get(&n).copied() else { return };
        if left.is_some() && left == self.left_seq(index, n) {
            self.breach("N20 a live event came after conversation:removed".to_owned());
        }
    }

    /// The newest event before this client's person went; `None` while the person is a member.
    fn left_seq(&mut self, index: usize, n: usize) -> Option<u64> {
        let (room, user) = (self.conversations[n].id, self.people[self.clients[index].user].id);
        let sql = "SELECT left_seq FROM room_members WHERE room_id=?1 AND user_id=?2";
        let rows = self.stores.own.read(&[Statement::new(sql, vec![room.into(), user.into()])]);
        rows.ok()?.first()?.first()?.first()?.as_u64()
    }
}
