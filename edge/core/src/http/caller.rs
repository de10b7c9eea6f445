//! Who calls: the subject of the bearer token, checked against session and account (S1).

use wire::{ErrorCode, SessionId, UserId};

use super::{Call, unexpected};
use crate::auth::{Claims, verify_access};
use crate::error::Failure;
use crate::objects::Actor;
use crate::platform::Platform;
use crate::sql::people;

/// A person with a valid token of a living session.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) user: UserId,
    pub(super) session: SessionId,
    /// As it is now; the token may be older.
    pub(super) username: String,
}

impl Caller {
    pub(super) fn actor(&self) -> Actor {
        Actor { id: self.user, username: self.username.clone() }
    }
}

impl<P: Platform> Call<'_, P> {
    /// The claims of the token alone. Tokens come in the `Authorization` header and nowhere else (N16).
    pub(super) fn claims(&self) -> Result<Claims, Failure> {
        let header = self.request.header("authorization").unwrap_or_default();
        let (scheme, token) = header.split_once(' ').unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(ErrorCode::Unauthorized.into());
        }
        verify_access(token.trim(), self.platform.settings(), self.now)
    }

    /// The caller, unless session, account or token version is over.
    pub(super) async fn caller(&self) -> Result<Caller, Failure> {
        let claims = self.claims()?;
        let rows = self.read(people::standing(claims.user, claims.session)).await?;
        let Some([ended, disabled, version, username, ..]) = rows.first().map(Vec::as_slice) else {
            return Err(ErrorCode::Unauthorized.into());
        };
        let version = version.as_u64().ok_or_else(unexpected)?;
        if !ended.is_null() || !disabled.is_null() || claims.version < version {
            return Err(ErrorCode::Unauthorized.into());
        }
        let username = username.as_str().ok_or_else(unexpected)?.to_owned();
        Ok(Caller { user: claims.user, session: claims.session, username })
    }
}
