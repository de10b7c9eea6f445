//! G-05 edit and delete, G-06 reactions, G-24 edits: of a message known by its id alone. Its Room is found among the
//! caller's conversations, by the bits of the id that name it.

use serde_json::json;
use wire::{ErrorCode, MessageId, RoomId, UserId};

use super::input::Fields;
use super::reply::Reply;
use super::{Call, unexpected};
use crate::content;
use crate::error::Failure;
use crate::limits;
use crate::objects::{self, Message, MessageChange};
use crate::platform::Platform;
use crate::room::may_hold;
use crate::sql::people;

/// G-05.
pub(super) async fn edit<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let change = content::edit_of(Fields::read(call.request)?.0.get("content"), call.platform.settings())?;
    Ok(Reply::json(200, &change_message(call, me.user, change).await?))
}

/// G-05: own messages, and everybody's for those who run the group.
pub(super) async fn delete<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    Ok(Reply::json(200, &change_message(call, me.user, MessageChange::Delete).await?))
}

/// G-06.
pub(super) async fn react<P: Platform>(call: &Call<'_, P>, on: bool) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let change = content::reaction_of(call.params.get(1).map(String::as_str), on)?;
    let message = change_message(call, me.user, change).await?;
    Ok(Reply::json(200, &json!({"ok": true, "reactions": message.reactions})))
}

/// G-24.
pub(super) async fn edits<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let user = call.caller().await?.user;
    match ask(call, user, |message| Message::Edits { user, message }).await? {
        Message::EditsAre { edits } => Ok(Reply::json(200, &edits)),
        _ => Err(unexpected()),
    }
}

async fn change_message<P: Platform>(call: &Call<'_, P>, user: UserId, change: MessageChange) -> Result<wire::Message, Failure> {
    match ask(call, user, |message| Message::Change { user, message, change: change.clone() }).await? {
        Message::Changed { message } => Ok(message),
        _ => Err(unexpected()),
    }
}

/// Asks the Room of the message in the path, which may be any of those that its bits fit.
async fn ask<P: Platform>(call: &Call<'_, P>, user: UserId, question: impl Fn(MessageId) -> Message) -> Result<Message, Failure> {
    let missing = || Failure::from(ErrorCode::NotFound);
    let id = call.params.first().and_then(|text| MessageId::parse(text)).ok_or_else(missing)?;
    let rooms = call.read(people::rooms_of(user, limits::CONVERSATIONS_SEARCHED)).await?;
    for room in rooms.iter().filter_map(|row| RoomId::parse(row.first()?.as_str()?)) {
        if !may_hold(room, id) {
            continue;
        }
        match call.ask(&objects::room(room), question(id)).await {
            Err(failure) if failure.code == ErrorCode::NotFound => {}
            answer => return answer,
        }
    }
    Err(missing())
}
