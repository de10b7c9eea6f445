//! R-10 lists the caller's conversations from projections; R-11 opens one.

use wire::{Conversation, ConversationType, ErrorCode, Member, Message as WireMessage, RoomId, Timestamp, UserId};

use super::caller::Caller;
use super::input::{self, Fields};
use super::reply::Reply;
use super::{Call, unexpected};
use crate::error::Failure;
use crate::limits::{CONVERSATION_MEMBERS, CONVERSATIONS_MAX, GROUP_NAME_CHARS, LIST_MEMBERS};
use crate::map::{Map, Set};
use crate::objects::{self, Message, Profile};
use crate::platform::Platform;
use crate::sql::people::{self, ListPosition};
use crate::sql::{Row, Rows, Value, projection};

/// newest activity first. `X-Next-Before` is there while the list goes on: `<time>_<conversation>`.
pub(super) async fn list<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let limit = input::limit(call.request, CONVERSATIONS_MAX, CONVERSATIONS_MAX)?;
    let before = input::query(call.request, "before")?.map(|text| read_position(&text)).transpose()?;
    let rows = call.read(people::conversations(me.user, before, None, limit + 1)).await?;
    let mut heads: Vec<Head> = rows.iter().map(|row| Head::read(row, me.user)).collect::<Option<_>>().ok_or_else(unexpected)?;

    let mut members_so_far = 0;
    let fitting = heads.iter().take_while(|head| {
        members_so_far += head.members;
        members_so_far <= LIST_MEMBERS
    });
    let shown = (fitting.count().max(1) as u64).min(limit);
    let more = heads.len() as u64 > shown;
    heads.truncate(usize::try_from(shown).unwrap_or(usize::MAX));
    let next = heads.last().filter(|_| more).map(|last| write_position(last.active_at, last.conversation.id));

    let rooms: Vec<RoomId> = heads.iter().map(|head| head.conversation.id).collect();
    let mut members = members_of(&call.read(people::members(&rooms, me.user)).await?).ok_or_else(unexpected)?;
    let list: Vec<Conversation> = heads
        .into_iter()
        .map(|head| {
            let mut conversation = head.conversation;
            conversation.members = members.remove(&conversation.id).unwrap_or_default();
            if let Some(Some(message)) = &mut conversation.last_message {
                let reads = |id: &UserId| conversation.members.iter().any(|member| member.id == *id && member.read_seq >= message.seq);
                message.read_by.retain(reads);
            }
            name_sender(&mut conversation);
            conversation
        })
        .collect();
    Ok(next.into_iter().fold(Reply::json(200, &list), |reply, next| reply.with("x-next-before", next)))
}

///
pub(super) async fn create<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let fields = Fields::read(call.request)?;
    let kind = projection::type_from(fields.text("type")?)
        .ok_or_else(|| Failure::invalid("type", "One of direct, group is expected"))?;
    let others = others(&fields, &me, kind)?;
    let name = group_name(&fields)?.filter(|_| kind == ConversationType::Group);
    let ids: Vec<UserId> = std::iter::once(me.user).chain(others.iter().copied()).collect();
    let people = people_for(call, &me, &ids, kind).await?;

    let (room, by, fresh) = match (kind, others.as_slice()) {
        (ConversationType::Direct, [other]) => claim_pair(call, &me, *other).await?,
        _ => (RoomId(call.new_id()), me.user, true),
    };
    let members = ids.iter().filter_map(|id| people.get(id)).cloned().collect();
    let view = call.ask(&objects::room(room), Message::Create { kind, name, by, members }).await?;
    let Message::View { mut conversation } = view else { return Err(unexpected()) };
    name_members(&mut conversation, &people);
    Ok(Reply::json(if fresh { 201 } else { 200 }, &conversation))
}

/// Whom the caller wants in a conversation, if all of them exist and may be there.
pub(super) async fn people_for<P: Platform>(
    call: &Call<'_, P>,
    me: &Caller,
    ids: &[UserId],
    kind: ConversationType,
) -> Result<Map<UserId, Profile>, Failure> {
    let rows = call.read(people::people(ids, me.user)).await?;
    let people: Map<UserId, Person> =
        rows.iter().map(|row| Person::read(row).map(|person| (person.profile.id, person))).collect::<Option<_>>().ok_or_else(unexpected)?;
    for id in ids {
        let Some(person) = people.get(id) else { return Err(ErrorCode::UserNotFound.into()) };
        if *id != me.user {
            person.check(kind, call.platform.settings().conversation_contacts_only)?;
        }
    }
    Ok(people.into_iter().map(|(id, person)| (id, person.profile)).collect())
}

/// The conversation of one member from a Room, with what the people database knows better: names as the caller may see
/// them, counts of what the caller has not read.
pub(super) async fn shown<P: Platform>(
    call: &Call<'_, P>,
    me: &Caller,
    mut conversation: Conversation,
) -> Result<Conversation, Failure> {
    let ids: Vec<UserId> = conversation.members.iter().map(|member| member.id).collect();
    let rows = call.read(people::profiles(&ids, me.user)).await?;
    let profiles = rows.iter().filter_map(profile).map(|profile| (profile.id, profile)).collect();
    name_members(&mut conversation, &profiles);
    let rows = call.read(people::conversations(me.user, None, Some(conversation.id), 1)).await?;
    let listed = rows.first().and_then(|row| Head::read(row, me.user)).map(|head| head.conversation);
    conversation.mention_count = listed.as_ref().map_or(0, |listed| listed.mention_count);
    if conversation.last_message.is_some() {
        conversation.unread_count = Some(listed.and_then(|listed| listed.unread_count).unwrap_or_default());
    }
    Ok(conversation)
}

fn name_members(conversation: &mut Conversation, profiles: &Map<UserId, Profile>) {
    for member in &mut conversation.members {
        if let Some(profile) = profiles.get(&member.id) {
            member.username.clone_from(&profile.username);
            member.display_name.clone_from(&profile.display_name);
            member.avatar_url.clone_from(&profile.avatar_url);
            member.status.clone_from(&profile.status);
        }
    }
    name_sender(conversation);
}

/// The name of who wrote last, as among the members.
fn name_sender(conversation: &mut Conversation) {
    if let Some(Some(message)) = &mut conversation.last_message
        && let Some(sender) = conversation.members.iter().find(|member| Some(member.id) == message.sender_id)
    {
        message.sender_username.clone_from(&sender.username);
        message.sender_avatar_url.clone_from(&sender.avatar_url);
    }
}

/// The conversation of the pair, who opened it, and whether that was this request. The Room is created in any case: a crash
/// between the two leaves a pair without one.
async fn claim_pair<P: Platform>(call: &Call<'_, P>, me: &Caller, other: UserId) -> Result<(RoomId, UserId, bool), Failure> {
    let read = |rows: &Rows| -> Option<(RoomId, UserId)> {
        let row = rows.first()?;
        Some((RoomId::parse(row.first()?.as_str()?)?, UserId::parse(row.get(1)?.as_str()?)?))
    };
    if let Some((room, by)) = read(&call.read(people::pair(me.user, other)).await?) {
        return Ok((room, by, false));
    }
    let wanted = RoomId(call.new_id());
    let claim = vec![people::insert_pair(me.user, other, wanted, call.now), people::pair(me.user, other)];
    let rows = call.write(claim).await?;
    let (room, by) = rows.get(1).and_then(read).ok_or_else(unexpected)?;
    Ok((room, by, room == wanted))
}

/// Everybody named but the caller, once each, in their order.
fn others(fields: &Fields, me: &Caller, kind: ConversationType) -> Result<Vec<UserId>, Failure> {
    let others = user_ids(fields, "memberIds", Some(me.user))?;
    match (kind, others.len()) {
        (ConversationType::Direct, 1) => Ok(others),
        (ConversationType::Direct, _) => Err(Failure::invalid("memberIds", "Exactly one other person is expected")),
        (ConversationType::Group, 0) => Err(Failure::invalid("memberIds", "At least one other person is expected")),
        (ConversationType::Group, n) if n < CONVERSATION_MEMBERS => Ok(others),
        (ConversationType::Group, _) => {
            Err(Failure::invalid("memberIds", &format!("At most {CONVERSATION_MEMBERS} members are allowed")))
        }
    }
}

/// A list of ids, each once and in its order, without `but`.
pub(super) fn user_ids(fields: &Fields, field: &str, but: Option<UserId>) -> Result<Vec<UserId>, Failure> {
    let mut seen: Set<UserId> = but.into_iter().collect();
    let mut ids = Vec::new();
    for text in fields.texts(field)? {
        let id = UserId::parse(text).ok_or_else(|| Failure::invalid(field, "A list of user ids is expected"))?;
        if seen.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

pub(super) fn group_name(fields: &Fields) -> Result<Option<String>, Failure> {
    let Some(name) = fields.optional_text("name")? else { return Ok(None) };
    let refused = name.trim().is_empty() || name.chars().count() > GROUP_NAME_CHARS || name.chars().any(char::is_control);
    if refused {
        return Err(Failure::invalid("name", "1 to 100 characters without control characters are expected"));
    }
    Ok(Some(name.to_owned()))
}

/// A person whom somebody wants in a conversation.
struct Person {
    profile: Profile,
    disabled: bool,
    /// I blocked, or accepted.
    mine: Option<String>,
    theirs: Option<String>,
}

impl Person {
    /// Columns of [`people::people`].
    fn read(row: &Row) -> Option<Self> {
        let [.., disabled, mine, theirs, receipts] = row.as_slice() else { return None };
        Some(Self {
            profile: Profile { receipts: receipts.as_i64()? != 0, ..profile(row)? },
            disabled: disabled.as_i64()? != 0,
            mine: mine.as_str().map(str::to_owned),
            theirs: theirs.as_str().map(str::to_owned),
        })
    }

    /// Being blocked looks like a deactivated account (contract 2.3).
    fn check(&self, kind: ConversationType, contacts_only: bool) -> Result<(), Failure> {
        if self.mine.as_deref() == Some("blocked") {
            return Err(ErrorCode::Blocked.into());
        }
        if self.disabled || self.theirs.as_deref() == Some("blocked") {
            return Err(match kind {
                ConversationType::Direct => ErrorCode::UserUnavailable.into(),
                ConversationType::Group => ErrorCode::PermissionDenied.into(),
            });
        }
        if contacts_only && self.mine.as_deref() != Some("accepted") {
            return Err(Failure::from(ErrorCode::PermissionDenied).saying("Only contacts may be addressed here"));
        }
        Ok(())
    }
}

/// The first columns of [`people::people`] and [`people::profiles`].
fn profile(row: &Row) -> Option<Profile> {
    let [id, username, display_name, avatar_url, status, ..] = row.as_slice() else { return None };
    Some(Profile {
        id: UserId::parse(id.as_str()?)?,
        username: username.as_str()?.to_owned(),
        display_name: display_name.as_str()?.to_owned(),
        avatar_url: avatar_url.as_str().map(str::to_owned),
        status: status.as_str()?.to_owned(),
        receipts: true,
    })
}

/// A row of the list.
struct Head {
    conversation: Conversation,
    active_at: Timestamp,
    members: u64,
}

impl Head {
    /// Columns of [`people::conversations`]. A last message that cannot be read is none: one bad row spoils no list (N61).
    fn read(row: &Row, viewer: UserId) -> Option<Self> {
        let [id, kind, name, avatar_url, created_by, created_at, seq, unread, last, active_at, members, muted_until, mentions] =
            row.as_slice()
        else {
            return None;
        };
        let mut last: Option<WireMessage> = last.as_str().and_then(|json| crate::json::read(json.as_bytes()).ok());
        if let Some(last) = &mut last {
            objects::seen_by(&mut last.reactions, Some(viewer));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            conversation: Conversation {
                id: RoomId::parse(id.as_str()?)?,
                kind: projection::type_from(kind.as_str()?)?,
                name: text(name),
                avatar_url: text(avatar_url),
                created_by: created_by.as_str().and_then(UserId::parse),
                created_at: Timestamp(created_at.as_u64()?),
                seq: seq.as_u64()?,
                members: Vec::new(),
                last_message: Some(last),
                unread_count: Some(unread.as_u64()?),
                mention_count: mentions.as_u64()?,
                muted_until: muted_until.as_u64().map(Timestamp),
                active_call: None,
            },
            active_at: Timestamp(active_at.as_u64()?),
            members: members.as_u64()?,
        })
    }
}

/// Columns of [`people::members`], by conversation.
fn members_of(rows: &Rows) -> Option<Map<RoomId, Vec<Member>>> {
    let mut all: Map<RoomId, Vec<Member>> = Map::new();
    for row in rows {
        let [room, id, username, display_name, avatar_url, status, role, joined_at, delivered_seq, read_seq] = row.as_slice()
        else {
            return None;
        };
        all.or_default(RoomId::parse(room.as_str()?)?).push(Member {
            id: UserId::parse(id.as_str()?)?,
            username: username.as_str()?.to_owned(),
            display_name: display_name.as_str()?.to_owned(),
            avatar_url: avatar_url.as_str().map(str::to_owned),
            status: status.as_str()?.to_owned(),
            role: projection::role_from(role.as_str()?)?,
            joined_at: Timestamp(joined_at.as_u64()?),
            delivered_seq: delivered_seq.as_u64()?,
            read_seq: read_seq.as_u64()?,
        });
    }
    Some(all)
}

/// `<time>` or, as we hand it out, `<time>_<conversation>`.
fn read_position(text: &str) -> Result<ListPosition, Failure> {
    let (time, room) = match text.split_once('_') {
        Some((time, room)) => (time, Some(RoomId::parse(room))),
        None => (text, None),
    };
    match (Timestamp::from_iso(time), room) {
        (Some(active_at), None) => Ok(ListPosition { active_at, room: None }),
        (Some(active_at), Some(Some(room))) => Ok(ListPosition { active_at, room: Some(room) }),
        _ => Err(Failure::invalid("before", "A time, or a cursor from X-Next-Before, is expected")),
    }
}

fn write_position(active_at: Timestamp, room: RoomId) -> String {
    format!("{}_{room}", active_at.to_iso())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_cursors_survive_the_round_trip() {
        let (at, room) = (Timestamp(1_772_357_400_123), RoomId(wire::uuid_v7(1, 2, 3)));
        assert_eq!(read_position(&write_position(at, room)), Ok(ListPosition { active_at: at, room: Some(room) }));
        assert_eq!(read_position("2026-03-01T09:30:00Z").map(|position| position.room), Ok(None));
        for bad in ["", "_", "2026", "2026-03-01T09:30:00Z_", "2026-03-01T09:30:00Z_x", "1; DROP TABLE users"] {
            assert_eq!(read_position(bad).unwrap_err().field.as_deref(), Some("before"), "{bad}");
        }
    }
}
