//! What a handler answers, before the headers that every response has.

use serde::Serialize;
use wire::{ErrorCode, Timestamp};

use crate::error::{Failure, Shape};
use crate::sql::Rows;

/// The body and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Empty,
    Json(Vec<u8>),
    Html(&'static str),
}

/// Status, own headers, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

impl Reply {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Empty }
    }

    /// Our own types always have a JSON form.
    pub(super) fn json(status: u16, value: &impl Serialize) -> Self {
        Self { body: Body::Json(serde_json::to_vec(value).unwrap_or_default()), ..Self::empty(status) }
    }

    /// A list whose rows are JSON already.
    pub(super) fn rows(rows: &Rows) -> Self {
        let mut body = vec![b'['];
        for text in rows.iter().filter_map(|row| row.first()?.as_str()) {
            if body.len() > 1 {
                body.push(b',');
            }
            body.extend_from_slice(text.as_bytes());
        }
        body.push(b']');
        Self { body: Body::Json(body), ..Self::empty(200) }
    }

    /// The first row, which is JSON already.
    pub(super) fn row(rows: &Rows) -> Option<Self> {
        let text = rows.first()?.first()?.as_str()?;
        Some(Self { body: Body::Json(text.as_bytes().to_vec()), ..Self::empty(200) })
    }

    pub(super) fn html(page: &'static str) -> Self {
        Self { body: Body::Html(page), ..Self::empty(200) }
    }

    /// The error in the shape of the path, with the headers that belong to it.
    pub(super) fn failure(failure: &Failure, shape: Shape, now: Timestamp) -> Self {
        let mut reply = Self::json(failure.status(), &failure.to_body(shape, now));
        if let Some(seconds) = failure.retry_after {
            reply = reply.with("retry-after", seconds.to_string());
        }
        if matches!(failure.code, ErrorCode::Unauthorized | ErrorCode::TokenExpired) {
            reply = reply.with("www-authenticate", "Bearer".to_owned());
        }
        reply
    }

    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}
