//! Statements of Gateway storage (`schema/migrations/gateway`), where gateways sleep: who has sockets here, so that their
//! User objects hear of it when the sockets are lost while nobody is awake.

use wire::UserId;

use super::Statement;

/// Users with sockets here, as far as their User objects were told. Rows: user id.
#[must_use]
pub fn users() -> Statement {
    Statement::new("SELECT user_id FROM gateway_users", vec![])
}

/// The User object is about to be told of sockets here.
#[must_use]
pub fn put_user(user: UserId) -> Statement {
    Statement::new("INSERT INTO gateway_users (user_id) VALUES (?1) ON CONFLICT DO NOTHING", vec![user.into()])
}

/// The User object knows that there are none.
#[must_use]
pub fn delete_user(user: UserId) -> Statement {
    Statement::new("DELETE FROM gateway_users WHERE user_id=?1", vec![user.into()])
}
