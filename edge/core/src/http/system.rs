//! health, R-33 info, R-34 the web client.

use serde_json::json;
use wire::ErrorCode;

use super::Call;
use super::reply::{Body, Reply};
use crate::dialect::chatcall;
use crate::error::Failure;
use crate::platform::{Platform, StoreError};
use crate::sql::people;

const PAGE: &str = include_str!("../../../../web/index.html");

/// strangers learn the status only. Asks the storage for a write now and then, because a full disk reads well.
pub(super) async fn health<P: Platform>(call: &Call<'_, P>) -> Reply {
    if let Some(missing) = call.platform.missing().await {
        return degraded(missing);
    }
    let reason = match call.platform.people_batch(vec![people::probe(call.now)]).await {
        Ok(_) => return Reply::json(200, &json!({"status": "ok", "timestamp": call.now})),
        Err(StoreError::ReadOnly) => "storage_read_only",
        Err(StoreError::Conflict | StoreError::Unavailable(_)) => "storage_unavailable",
    };
    degraded(reason)
}

fn degraded(reason: &str) -> Reply {
    let status = Failure::new(ErrorCode::NodeUnavailable).status();
    Reply::json(status, &json!({"status": "degraded", "reason": reason}))
}

///
pub(super) fn info<P: Platform>(call: &Call<'_, P>) -> Reply {
    let settings = call.platform.settings();
    let features: &[&str] = if settings.without_objects.is_some() { &[] } else { &["groups"] };
    let body = json!({
        "name": "ChatCall",
        "version": env!("CARGO_PKG_VERSION"),
        "dialects": [chatcall::DIALECT.name],
        "features": features,
        "socketUrl": settings.socket_url,
    });
    Reply::json(200, &body)
}

/// The description of this interface, where it is not a file that the platform serves.
pub(super) fn openapi<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let document = call.platform.openapi().ok_or(ErrorCode::NotFound)?;
    Ok(Reply { body: Body::Json(document.into()), ..Reply::empty(200) })
}

/// every path that is nobody else's.
pub(super) fn page<P: Platform>(_call: &Call<'_, P>) -> Reply {
    Reply::html(PAGE)
}
