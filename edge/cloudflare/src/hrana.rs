//! The people database over Hrana (`/v2/pipeline`) with the runtime's own fetch.

mod answer;

use std::pin::pin;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use edge_core::limits;
use edge_core::platform::StoreError;
use edge_core::sql::{Rows, Statement, Value};
use futures_util::future::{Either, select};
use serde_json::{Value as Json, json};
use worker::{AbortController, Delay, Env, Fetch, Headers, Method, Request, RequestInit};

use crate::config::variable;
use answer::unavailable;

/// A libsql server.
pub(crate) struct People {
    url: String,
    token: Option<String>,
}

impl People {
    pub(crate) fn new(env: &Env) -> Result<Self, StoreError> {
        let url = variable(env, "LIBSQL_URL").ok_or_else(|| unavailable("LIBSQL_URL is not set"))?;
        let url = url.replacen("libsql://", "https://", 1);
        Ok(Self { url: format!("{}/v2/pipeline", url.trim_end_matches('/')), token: variable(env, "LIBSQL_AUTH_TOKEN") })
    }

    /// Several reads in one round trip; the rows of each.
    pub(crate) async fn read(&self, statements: &[Statement]) -> Result<Vec<Rows>, StoreError> {
        let requests = statements.iter().map(|one| json!({"type": "execute", "stmt": stmt(one)})).collect();
        answer::of_reads(self.pipeline(requests).await?.as_bytes(), statements.len())
    }

    /// All or nothing: steps of one batch, each only while the one before succeeded.
    pub(crate) async fn batch(&self, statements: &[Statement]) -> Result<Vec<Rows>, StoreError> {
        let last = statements.len();
        let after = |step: usize| json!({"type": "ok", "step": step});
        let mut steps = vec![json!({"stmt": {"sql": "BEGIN IMMEDIATE"}})];
        steps.extend(statements.iter().enumerate().map(|(at, one)| json!({"condition": after(at), "stmt": stmt(one)})));
        steps.push(json!({"condition": after(last), "stmt": {"sql": "COMMIT"}}));
        let failed = json!({"type": "not", "cond": after(last + 1)});
        steps.push(json!({"condition": failed, "stmt": {"sql": "ROLLBACK"}}));
        let answer = self.pipeline(vec![json!({"type": "batch", "batch": {"steps": steps}})]).await?;
        answer::of_batch(answer.as_bytes(), statements.len())
    }

    async fn pipeline(&self, mut requests: Vec<Json>) -> Result<String, StoreError> {
        requests.push(json!({"type": "close"}));
        self.post(json!({"requests": requests}).to_string()).await.map_err(|error| unavailable(&error.to_string()))
    }

    async fn post(&self, body: String) -> worker::Result<String> {
        let headers = Headers::new();
        headers.set("content-type", "application/json")?;
        if let Some(token) = &self.token {
            headers.set("authorization", &format!("Bearer {token}"))?;
        }
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_headers(headers).with_body(Some(body.into()));
        let request = Fetch::Request(Request::new_with_init(&self.url, &init)?);
        let controller = AbortController::default();
        let signal = controller.signal();
        let answer = pin!(async {
            let mut answer = request.send_with_signal(&signal).await?;
            let text = answer.text().await?;
            match answer.status_code() {
                200 => Ok(text),
                status => Err(worker::Error::RustError(format!("libsql answered {status}"))),
            }
        });
        let late = pin!(Delay::from(Duration::from_millis(limits::PEOPLE_ANSWER_MS)));
        match select(answer, late).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                // Connections to elsewhere are few.
                controller.abort();
                Err(worker::Error::RustError(format!("libsql did not answer within {} ms", limits::PEOPLE_ANSWER_MS)))
            }
        }
    }
}

fn stmt(statement: &Statement) -> Json {
    json!({"sql": statement.sql, "args": statement.params.iter().map(arg).collect::<Vec<_>>()})
}

fn arg(value: &Value) -> Json {
    match value {
        Value::Null => json!({"type": "null"}),
        // 64-bit integers travel as strings.
        Value::Integer(n) => json!({"type": "integer", "value": n.to_string()}),
        Value::Real(x) => json!({"type": "float", "value": x}),
        Value::Text(text) => json!({"type": "text", "value": text}),
        Value::Blob(bytes) => json!({"type": "blob", "base64": STANDARD_NO_PAD.encode(bytes)}),
    }
}
