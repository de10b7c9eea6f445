//! R-08 asks a person, R-09 answers. The User object of the caller decides; handlers only know who exists.

use serde_json::json;
use wire::{ErrorCode, UserId};

use super::input::{Fields, user_param};
use super::reply::Reply;
use super::{Call, unexpected};
use crate::error::Failure;
use crate::objects::{self, ContactAnswer, ContactStatus, Message};
use crate::platform::Platform;
use crate::sql::people;

///
pub(super) async fn request<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let other = user_param(&call.params)?;
    if other == me.user {
        return Err(not_oneself());
    }
    check_exists(call, other).await?;
    let msg = Message::ContactRequest { me: me.actor(), other };
    let Message::ContactIs { status, fresh } = call.ask(&objects::user(me.user), msg).await? else {
        return Err(unexpected());
    };
    let said = if status == ContactStatus::Accepted { "Contact accepted" } else { "Contact request sent" };
    Ok(Reply::json(if fresh { 201 } else { 200 }, &json!({"message": said})))
}

///
pub(super) async fn answer<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let fields = Fields::read(call.request)?;
    let (answer, said) = match fields.text("status")? {
        "accepted" => (ContactAnswer::Accepted, "Contact accepted"),
        "declined" => (ContactAnswer::Declined, "Contact declined"),
        "blocked" => (ContactAnswer::Blocked, "Contact blocked"),
        _ => return Err(Failure::invalid("status", "One of accepted, declined, blocked is expected")),
    };
    let other = user_param(&call.params)?;
    if other == me.user {
        return Err(if answer == ContactAnswer::Blocked { not_oneself() } else { ErrorCode::NotFound.into() });
    }
    // Somebody who does not exist is answered like somebody who did not ask.
    check_exists(call, other).await.map_err(|failure| match failure.code {
        ErrorCode::UserNotFound if answer != ContactAnswer::Blocked => ErrorCode::NotFound.into(),
        _ => failure,
    })?;
    let msg = Message::ContactAnswer { me: me.actor(), other, answer };
    match call.ask(&objects::user(me.user), msg).await? {
        Message::ContactIs { .. } => Ok(Reply::json(200, &json!({"message": said}))),
        _ => Err(unexpected()),
    }
}

fn not_oneself() -> Failure {
    Failure::invalid("contactId", "One cannot be one's own contact")
}

async fn check_exists<P: Platform>(call: &Call<'_, P>, user: UserId) -> Result<(), Failure> {
    if call.read(people::exists(user)).await?.is_empty() {
        return Err(ErrorCode::UserNotFound.into());
    }
    Ok(())
}
