//! Which handler answers which method and path: one table.

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Register,
    Login,
    Me,
    Refresh,
    Logout,
    LogoutAll,
    Sessions,
    EndSession,
    ChangePassword,
    RequestReset,
    ResetPassword,
    SearchUsers,
    ShowUser,
    ChangeProfile,
    Settings,
    ChangeSettings,
    Contacts,
    PendingContacts,
    BlockedContacts,
    RequestContact,
    AnswerContact,
    RemoveContact,
    Conversations,
    CreateConversation,
    Conversation,
    UpdateConversation,
    AddMembers,
    RemoveMember,
    SetRole,
    LeaveConversation,
    SetMine,
    MarkRead,
    History,
    SendMessage,
    Events,
    EditMessage,
    DeleteMessage,
    Edits,
    React,
    Unreact,
    Health,
    Info,
    Page,
}

impl Endpoint {
    /// Whether there is nothing to answer without conversations and contacts.
    pub(super) fn needs_objects(self) -> bool {
        match self {
            Self::Contacts
            | Self::PendingContacts
            | Self::BlockedContacts
            | Self::RequestContact
            | Self::AnswerContact
            | Self::RemoveContact
            | Self::Conversations
            | Self::CreateConversation
            | Self::Conversation
            | Self::UpdateConversation
            | Self::AddMembers
            | Self::RemoveMember
            | Self::SetRole
            | Self::LeaveConversation
            | Self::SetMine
            | Self::MarkRead
            | Self::History
            | Self::SendMessage
            | Self::Events
            | Self::EditMessage
            | Self::DeleteMessage
            | Self::Edits
            | Self::React
            | Self::Unreact => true,
            Self::Register
            | Self::Login
            | Self::Me
            | Self::Refresh
            | Self::Logout
            | Self::LogoutAll
            | Self::Sessions
            | Self::EndSession
            | Self::ChangePassword
            | Self::RequestReset
            | Self::ResetPassword
            | Self::SearchUsers
            | Self::ShowUser
            | Self::ChangeProfile
            | Self::Settings
            | Self::ChangeSettings
            | Self::Health
            | Self::Info
            | Self::Page => false,
        }
    }
}

/// Method, path with `:parameters`, handler. A parameter is one segment; the first that fits wins.
const ROUTES: &[(&str, &str, Endpoint)] = &[
    ("POST", "/api/auth/register", Endpoint::Register),
    ("POST", "/api/auth/login", Endpoint::Login),
    ("POST", "/api/auth/refresh", Endpoint::Refresh),
    ("GET", "/api/auth/me", Endpoint::Me),
    ("POST", "/api/auth/logout", Endpoint::Logout),
    ("POST", "/api/auth/logout-all", Endpoint::LogoutAll),
    ("GET", "/api/auth/sessions", Endpoint::Sessions),
    ("DELETE", "/api/auth/sessions/:sid", Endpoint::EndSession),
    ("POST", "/api/auth/password", Endpoint::ChangePassword),
    ("POST", "/api/auth/reset/request", Endpoint::RequestReset),
    ("POST", "/api/auth/reset", Endpoint::ResetPassword),
    ("GET", "/api/users/search", Endpoint::SearchUsers),
    ("PATCH", "/api/users/me", Endpoint::ChangeProfile),
    ("GET", "/api/users/me/settings", Endpoint::Settings),
    ("PATCH", "/api/users/me/settings", Endpoint::ChangeSettings),
    ("GET", "/api/users/contacts", Endpoint::Contacts),
    ("GET", "/api/users/contacts/pending", Endpoint::PendingContacts),
    ("GET", "/api/users/contacts/blocked", Endpoint::BlockedContacts),
    ("POST", "/api/users/contacts/:contactId", Endpoint::RequestContact),
    ("PATCH", "/api/users/contacts/:contactId", Endpoint::AnswerContact),
    ("DELETE", "/api/users/contacts/:contactId", Endpoint::RemoveContact),
    ("GET", "/api/users/:id", Endpoint::ShowUser),
    ("GET", "/api/chats/conversations", Endpoint::Conversations),
    ("POST", "/api/chats/conversations", Endpoint::CreateConversation),
    ("GET", "/api/chats/conversations/:id", Endpoint::Conversation),
    ("PATCH", "/api/chats/conversations/:id", Endpoint::UpdateConversation),
    ("POST", "/api/chats/conversations/:id/members", Endpoint::AddMembers),
    ("DELETE", "/api/chats/conversations/:id/members/:userId", Endpoint::RemoveMember),
    ("PATCH", "/api/chats/conversations/:id/members/:userId", Endpoint::SetRole),
    ("POST", "/api/chats/conversations/:id/leave", Endpoint::LeaveConversation),
    ("PATCH", "/api/chats/conversations/:id/me", Endpoint::SetMine),
    ("POST", "/api/chats/conversations/:id/read", Endpoint::MarkRead),
    ("GET", "/api/chats/conversations/:id/messages", Endpoint::History),
    ("POST", "/api/chats/conversations/:id/messages", Endpoint::SendMessage),
    ("GET", "/api/chats/conversations/:id/events", Endpoint::Events),
    ("PATCH", "/api/chats/messages/:id", Endpoint::EditMessage),
    ("DELETE", "/api/chats/messages/:id", Endpoint::DeleteMessage),
    ("GET", "/api/chats/messages/:id/edits", Endpoint::Edits),
    ("PUT", "/api/chats/messages/:id/reactions/:emoji", Endpoint::React),
    ("DELETE", "/api/chats/messages/:id/reactions/:emoji", Endpoint::Unreact),
    ("GET", "/api/health", Endpoint::Health),
    ("GET", "/health", Endpoint::Health),
    ("GET", "/api/info", Endpoint::Info),
];

/// Paths that never answer the web client, with everything below them.
const NOT_PAGES: [&str; 3] = ["/api", "/health", "/socket.io"];

/// What the table says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The handler and the decoded parameters.
    Endpoint(Endpoint, Vec<String>),
    /// The path exists with these methods only.
    OtherMethods(Vec<&'static str>),
    Nothing,
}

/// Finds the handler. `HEAD` is `GET` without the body.
pub(super) fn find(method: &str, path: &str) -> Found {
    let wanted = if method == "HEAD" { "GET" } else { method };
    let mut allowed = Vec::new();
    for (known, pattern, endpoint) in ROUTES {
        if let Some(params) = matches(pattern, path) {
            if *known == wanted {
                return Found::Endpoint(*endpoint, params);
            }
            allowed.push(*known);
        }
    }
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if allowed.is_empty() {
        if NOT_PAGES.into_iter().any(below) {
            return Found::Nothing;
        }
        if wanted == "GET" {
            return Found::Endpoint(Endpoint::Page, Vec::new());
        }
        allowed.push("GET");
    }
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    Found::OtherMethods(allowed)
}

/// Whether a request computes a password hash: hosts run these in a pool of their own, a few at once.
#[must_use]
pub fn hashes_password(method: &str, path: &str) -> bool {
    use Endpoint::{ChangePassword, ChangeProfile, Login, Register, ResetPassword};
    matches!(find(method, path), Found::Endpoint(Register | Login | ChangePassword | ResetPassword | ChangeProfile, _))
}

fn matches(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut params = Vec::new();
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        if wanted.starts_with(':') {
            if segment.is_empty() {
                return None;
            }
            params.push(super::input::percent_decode(segment, false));
        } else if wanted != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_whole_segments_and_decode_parameters() {
        let found = find("GET", "/api/chats/conversations/a%20b/messages");
        assert_eq!(found, Found::Endpoint(Endpoint::History, vec!["a b".to_owned()]));
        for nothing in ["/api/chats/conversations/", "/api/chats/conversations//messages", "/api/auth/me/", "/api", "/api/x"] {
            assert_eq!(find("GET", nothing), Found::Nothing, "{nothing}");
        }
    }

    #[test]
    fn other_methods_are_named() {
        assert_eq!(find("DELETE", "/api/chats/conversations"), Found::OtherMethods(vec!["GET", "POST", "HEAD"]));
        assert_eq!(find("POST", "/anything"), Found::OtherMethods(vec!["GET", "HEAD"]));
        assert_eq!(find("HEAD", "/api/health"), Found::Endpoint(Endpoint::Health, vec![]));
    }

    #[test]
    fn everything_else_is_the_page() {
        for page in ["/", "/login", "/apis", "/healthy", "/socket.iox", "/c/1?x"] {
            assert_eq!(find("GET", page), Found::Endpoint(Endpoint::Page, vec![]), "{page}");
        }
        for nothing in ["/api/nope", "/health/x", "/socket.io/", "/socket.io"] {
            assert_eq!(find("GET", nothing), Found::Nothing, "{nothing}");
        }
    }

    #[test]
    fn whatever_asks_for_a_password_hashes() {
        for path in ["register", "login", "password", "reset"] {
            assert!(hashes_password("POST", &format!("/api/auth/{path}")), "{path}");
        }
        assert!(hashes_password("PATCH", "/api/users/me"));
        for (method, path) in [("GET", "login"), ("POST", "refresh"), ("POST", "reset/request"), ("GET", "sessions")] {
            assert!(!hashes_password(method, &format!("/api/auth/{path}")), "{path}");
        }
    }

    #[test]
    fn words_win_over_parameters() {
        assert_eq!(find("GET", "/api/users/search"), Found::Endpoint(Endpoint::SearchUsers, vec![]));
        assert_eq!(find("GET", "/api/users/contacts"), Found::Endpoint(Endpoint::Contacts, vec![]));
        assert_eq!(find("GET", "/api/users/me"), Found::Endpoint(Endpoint::ShowUser, vec!["me".to_owned()]));
    }
}
