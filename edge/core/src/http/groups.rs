//! One conversation: G-21, G-04 and G-10. The Room decides who may; handlers know who exists and who blocked whom.

use serde_json::{Value, json};
use wire::{ConversationType, ErrorCode, MemberRole, RoomId, Timestamp, UserId};

use super::caller::Caller;
use super::conversations::{group_name, people_for, shown, user_ids};
use super::input::{Fields, room_param};
use super::reply::Reply;
use super::{Call, unexpected};
use crate::dialect::chatcall::read_up_to;
use crate::error::Failure;
use crate::objects::{self, GroupChange, Message};
use crate::platform::Platform;
use crate::sql::projection;

/// G-21.
pub(super) async fn show<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let room = room_param(&call.params)?;
    answer(call, &me, room, Message::Describe { user: me.user }).await
}

/// G-04: `avatarId` can only be `null`, which takes the picture away: nobody has a file to name.
pub(super) async fn update<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let room = room_param(&call.params)?;
    let fields = Fields::read(call.request)?;
    let name = group_name(&fields)?;
    let no_avatar = match fields.0.get("avatarId") {
        None => false,
        Some(Value::Null) => true,
        Some(_) => return Err(Failure { field: Some("avatarId".to_owned()), ..ErrorCode::NotFound.into() }),
    };
    change(call, &me, room, GroupChange::Update { name, no_avatar }).await
}

/// G-04: people who are members already stay as they are.
pub(super) async fn add<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let room = room_param(&call.params)?;
    let mut ids = user_ids(&Fields::read(call.request)?, "userIds", None)?;
    if ids.is_empty() {
        return Err(Failure::invalid("userIds", "At least one person is expected"));
    }
    // Whoever may not add learns nothing about the people.
    let Message::View { conversation } = call.ask(&objects::room(room), Message::Describe { user: me.user }).await? else {
        return Err(unexpected());
    };
    let mine = conversation.members.iter().find(|member| member.id == me.user).map(|member| member.role);
    if conversation.kind == ConversationType::Direct || mine.is_none_or(|role| role == MemberRole::Member) {
        return Err(ErrorCode::PermissionDenied.into());
    }
    ids.retain(|id| conversation.members.iter().all(|member| member.id != *id));
    let people = people_for(call, &me, &ids, ConversationType::Group).await?;
    change(call, &me, room, GroupChange::Add { members: people.into_values().collect() }).await
}

/// G-04.
pub(super) async fn remove<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let (room, user) = (room_param(&call.params)?, member_param(&call.params)?);
    change(call, &me, room, GroupChange::Remove { user }).await
}

/// G-04.
pub(super) async fn set_role<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let (room, user) = (room_param(&call.params)?, member_param(&call.params)?);
    let role = projection::role_from(Fields::read(call.request)?.text("role")?)
        .ok_or_else(|| Failure::invalid("role", "One of owner, admin, member is expected"))?;
    change(call, &me, room, GroupChange::Role { user, role }).await
}

/// G-04.
pub(super) async fn leave<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let room = room_param(&call.params)?;
    quietly(call, &me, room, GroupChange::Leave).await
}

/// G-04: what the caller wants to hear of the conversation.
pub(super) async fn set_mine<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let room = room_param(&call.params)?;
    let fields = Fields::read(call.request)?;
    let muted_until = match fields.0.get("mutedUntil") {
        None => None,
        Some(Value::Null) => Some(Timestamp(0)),
        Some(value) => Some(
            value.as_str().and_then(Timestamp::from_iso).ok_or_else(|| Failure::invalid("mutedUntil", "A time or null is expected"))?,
        ),
    };
    let level = match fields.optional_text("level")? {
        None => None,
        Some(word) => Some(
            projection::level_from(word).ok_or_else(|| Failure::invalid("level", "One of all, mentions, none is expected"))?,
        ),
    };
    quietly(call, &me, room, GroupChange::Mine { muted_until, level }).await
}

/// G-10.
pub(super) async fn mark_read<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let room = room_param(&call.params)?;
    let up_to = read_up_to(Fields::read(call.request)?.0.get("upTo"))?;
    let marked = call.ask(&objects::room(room), Message::MarkRead { user: me.user, up_to }).await;
    match marked {
        Ok(Message::Marked { read_seq }) => Ok(Reply::json(200, &json!({"ok": true, "readSeq": read_seq}))),
        Ok(_) => Err(unexpected()),
        Err(failure) if failure.field.is_some() => Err(Failure { field: Some("upTo".to_owned()), ..failure }),
        Err(failure) => Err(failure),
    }
}

/// Answers the conversation as the Room has it then.
async fn change<P: Platform>(call: &Call<'_, P>, me: &Caller, room: RoomId, change: GroupChange) -> Result<Reply, Failure> {
    answer(call, me, room, Message::Group { by: me.user, change }).await
}

async fn answer<P: Platform>(call: &Call<'_, P>, me: &Caller, room: RoomId, msg: Message) -> Result<Reply, Failure> {
    let Message::View { conversation } = call.ask(&objects::room(room), msg).await? else { return Err(unexpected()) };
    Ok(Reply::json(200, &shown(call, me, conversation).await?))
}

/// Answers nothing but that it is done.
async fn quietly<P: Platform>(call: &Call<'_, P>, me: &Caller, room: RoomId, change: GroupChange) -> Result<Reply, Failure> {
    call.ask(&objects::room(room), Message::Group { by: me.user, change }).await?;
    Ok(Reply::empty(204))
}

/// The person behind `members/` of a path; what is no id is nobody's.
fn member_param(params: &[String]) -> Result<UserId, Failure> {
    params.get(1).and_then(|text| UserId::parse(text)).ok_or_else(|| ErrorCode::UserNotFound.into())
}
