//! list, R-08 asks a person, R-09 answers, G-03 removes. The User object of the caller decides; handlers only know who exists.

use serde_json::json;
use wire::{ErrorCode, UserId};

use super::input::{self, Fields, user_param};
use super::reply::Reply;
use super::{Call, unexpected};
use crate::error::Failure;
use crate::objects::{self, ContactAnswer, ContactStatus, Message};
use crate::platform::Platform;
use crate::limits::{self, CONTACTS_ASKED};
use crate::sql::{Row, Value, people};

/// What is known of presence is asked of each contact's User, which answers what the caller may know.
pub(super) async fn list<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let mut rows = call.read(people::contacts(me.user)).await?;
    let id = |row: &Row| row.get(1).and_then(|id| UserId::parse(id.as_str()?));
    let ids: Vec<UserId> = rows.iter().take(CONTACTS_ASKED).filter_map(id).collect();
    let online = call.online(me.user, &ids).await;
    for row in &mut rows {
        let presence = if id(row).is_some_and(|id| online.contains(&id)) { "online" } else { "offline" };
        if let Some(Value::Text(json)) = row.first_mut() {
            json.truncate(json.len().saturating_sub(1));
            json.push_str(",\"presence\":\"");
            json.push_str(presence);
            json.push_str("\"}");
        }
    }
    Ok(Reply::rows(&rows))
}

///
pub(super) async fn pending<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let direction = match input::query(call.request, "direction")?.as_deref() {
        None | Some("in") => "in",
        Some("out") => "out",
        Some(_) => return Err(Failure::invalid("direction", "One of in, out is expected")),
    };
    Ok(Reply::rows(&call.read(people::contacts_in(me.user, direction)).await?))
}

/// G-03.
pub(super) async fn blocked<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    Ok(Reply::rows(&call.read(people::contacts_in(me.user, "blocked")).await?))
}

/// G-03: removes, cancels or unblocks; nothing to do is done too.
pub(super) async fn remove<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    if let Some(other) = call.params.first().and_then(|text| UserId::parse(text)).filter(|other| *other != me.user) {
        let msg = Message::ContactAnswer { me: me.actor(), other, answer: ContactAnswer::Removed };
        call.ask(&objects::user(me.user), msg).await?;
    }
    Ok(Reply::empty(204))
}

///
pub(super) async fn request<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let other = user_param(&call.params)?;
    if other == me.user {
        return Err(not_oneself());
    }
    call.charge(&[call.bucket("contact", &me.user.to_string(), limits::CONTACT_REQUESTS_PER_USER)]).await?;
    check_exists(call, other).await?;
    let profile = call.read(people::profile(me.user)).await?.first().and_then(people::profile_from);
    let msg = Message::ContactRequest { me: me.actor(), other, profile };
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
    // Somebody who does not exist is answered like somebody who did not ask.
    let unknown = |failure: Failure| match failure.code {
        ErrorCode::UserNotFound if answer != ContactAnswer::Blocked => ErrorCode::NotFound.into(),
        _ => failure,
    };
    let other = user_param(&call.params).map_err(unknown)?;
    if other == me.user {
        return Err(if answer == ContactAnswer::Blocked { not_oneself() } else { ErrorCode::NotFound.into() });
    }
    check_exists(call, other).await.map_err(unknown)?;
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
