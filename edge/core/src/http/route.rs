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
    RequestContact,
    AnswerContact,
    Conversations,
    CreateConversation,
    History,
    SendMessage,
    Events,
    Search,
    Health,
    Info,
    Openapi,
    Page,
}

impl Endpoint {
    /// Whether there is nothing to answer without conversations and contacts.
    pub(super) fn needs_objects(self) -> bool {
        match self {
            Self::RequestContact
            | Self::AnswerContact
            | Self::Conversations
            | Self::CreateConversation
            | Self::History
            | Self::SendMessage
            | Self::Events
            | Self::Search => true,
            Self::Register
            | Self::Login
            | Self::Me
            | Self::Refresh
            | Self::Logout
            | Self::LogoutAll
            | Self::Health
            | Self::Info
            | Self::Openapi
            | Self::Page => false,
        }
    }
}

/// Method, path with `:parameters`, handler. A parameter is one segment. Each row has its operation in `schema/openapi.json`,
/// `operationId` is the endpoint's name.
const ROUTES: &[(&str, &str, Endpoint)] = &[
    ("POST", "/api/auth/register", Endpoint::Register),
    ("POST", "/api/auth/login", Endpoint::Login),
    ("POST", "/api/auth/refresh", Endpoint::Refresh),
    ("GET", "/api/auth/me", Endpoint::Me),
    ("POST", "/api/auth/logout", Endpoint::Logout),
    ("POST", "/api/auth/logout-all", Endpoint::LogoutAll),
    ("POST", "/api/users/contacts/:contactId", Endpoint::RequestContact),
    ("PATCH", "/api/users/contacts/:contactId", Endpoint::AnswerContact),
    ("GET", "/api/chats/conversations", Endpoint::Conversations),
    ("POST", "/api/chats/conversations", Endpoint::CreateConversation),
    ("GET", "/api/chats/conversations/:id/messages", Endpoint::History),
    ("POST", "/api/chats/conversations/:id/messages", Endpoint::SendMessage),
    ("GET", "/api/chats/conversations/:id/events", Endpoint::Events),
    ("GET", "/api/chats/search", Endpoint::Search),
    ("GET", "/api/health", Endpoint::Health),
    ("GET", "/health", Endpoint::Health),
    ("GET", "/api/info", Endpoint::Info),
    ("GET", "/api/openapi.json", Endpoint::Openapi),
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
    matches!(find(method, path), Found::Endpoint(Endpoint::Register | Endpoint::Login, _))
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
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const DOCUMENT: &str = include_str!("../../../../schema/openapi.json");

    /// `RequestContact` as an `operationId`; a second path of the same endpoint says of what it is.
    fn is_named(id: &str, endpoint: Endpoint) -> bool {
        let name = format!("{endpoint:?}");
        let rest = id.strip_prefix(&name[..1].to_lowercase()).and_then(|rest| rest.strip_prefix(&name[1..]));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("Of"))
    }

    #[test]
    fn the_document_describes_every_route_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                described.insert((method.to_uppercase(), path.clone()));
                assert!(operation["responses"]["default"].is_object(), "{method} {path}: errors are missing");
                let resolve = |parameter: &Value| match parameter["$ref"].as_str() {
                    Some(at) => document.pointer(at.trim_start_matches('#')).unwrap_or_else(|| panic!("{at}")).clone(),
                    None => parameter.clone(),
                };
                let parameters: Vec<Value> = operation["parameters"].as_array().into_iter().flatten().map(resolve).collect();
                let in_path = parameters.iter().filter(|one| one["in"] == "path").map(|one| format!("{{{}}}", one["name"].as_str().unwrap()));
                let wanted = path.split('/').filter(|segment| segment.starts_with('{')).map(str::to_owned);
                assert_eq!(in_path.collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{method} {path}: parameters");
            }
        }
        for (method, pattern, endpoint) in ROUTES {
            let braced = |segment: &str| segment.strip_prefix(':').map_or(segment.to_owned(), |name| format!("{{{name}}}"));
            let path = pattern.split('/').map(braced).collect::<Vec<_>>().join("/");
            assert!(described.remove(&((*method).to_owned(), path.clone())), "schema/openapi.json has no {method} {path}");
            let id = document["paths"][&path][method.to_lowercase()]["operationId"].as_str().unwrap_or_default();
            assert!(is_named(id, *endpoint), "{method} {path}: the operationId of {endpoint:?} is not {id:?}");
        }
        assert!(described.is_empty(), "no routes: {described:?}");
    }

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
    fn only_register_and_login_hash() {
        assert!(hashes_password("POST", "/api/auth/register") && hashes_password("POST", "/api/auth/login"));
        assert!(!hashes_password("GET", "/api/auth/login") && !hashes_password("POST", "/api/auth/refresh"));
    }
}
