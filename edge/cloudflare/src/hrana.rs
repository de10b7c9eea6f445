//! The people database over Hrana (`/v2/pipeline`) with the runtime's own fetch.

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
        self.pipeline(requests).await?.into_iter().map(|mut answer| rows(answer["result"].take())).collect()
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
        let mut answers = self.pipeline(vec![json!({"type": "batch", "batch": {"steps": steps}})]).await?;
        let mut result = answers.pop().map(|mut answer| answer["result"].take()).unwrap_or_default();
        if let Some(errors) = result["step_errors"].as_array()
            && let Some(error) = errors.iter().take(last + 2).find(|error| !error.is_null())
        {
            return Err(refused(error));
        }
        let Some(results) = result["step_results"].as_array_mut() else { return Err(unavailable("no step results")) };
        results.iter_mut().skip(1).take(last).map(|step| rows(step.take())).collect()
    }

    async fn pipeline(&self, mut requests: Vec<Json>) -> Result<Vec<Json>, StoreError> {
        let wanted = requests.len();
        requests.push(json!({"type": "close"}));
        let text = self.post(json!({"requests": requests}).to_string()).await.map_err(|error| unavailable(&error.to_string()))?;
        let mut reply: Json = serde_json::from_slice(text.as_bytes()).map_err(|error| unavailable(&error.to_string()))?;
        let Some(results) = reply["results"].as_array_mut() else { return Err(unavailable("no results")) };
        let answers = results.iter_mut().take(wanted).map(|one| match one["type"].as_str() {
            Some("ok") => Ok(one["response"].take()),
            _ => Err(refused(&one["error"])),
        });
        answers.collect()
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

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(why.to_owned())
}

fn refused(error: &Json) -> StoreError {
    let code = error["code"].as_str().unwrap_or_default();
    let message = error["message"].as_str().unwrap_or_default();
    if code.starts_with("SQLITE_CONSTRAINT") || message.contains("constraint failed") {
        StoreError::Conflict
    } else if code.starts_with("SQLITE_FULL") || code.starts_with("SQLITE_READONLY") || message.contains("disk is full") {
        StoreError::ReadOnly
    } else {
        unavailable(message)
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

fn rows(mut result: Json) -> Result<Rows, StoreError> {
    let Json::Array(rows) = result["rows"].take() else { return Ok(Vec::new()) };
    rows.into_iter()
        .map(|row| match row {
            Json::Array(cells) => cells.into_iter().map(cell).collect(),
            _ => Err(unavailable("a row is no array")),
        })
        .collect()
}

fn cell(mut cell: Json) -> Result<Value, StoreError> {
    let odd = || unavailable("a cell of an unknown type");
    Ok(match cell["type"].as_str() {
        Some("null") => Value::Null,
        Some("integer") => Value::Integer(cell["value"].as_str().and_then(|text| text.parse().ok()).ok_or_else(odd)?),
        Some("float") => Value::Real(cell["value"].as_f64().ok_or_else(odd)?),
        Some("text") => match cell["value"].take() {
            Json::String(text) => Value::Text(text),
            _ => return Err(odd()),
        },
        Some("blob") => {
            let text = cell["base64"].as_str().ok_or_else(odd)?.trim_end_matches('=');
            Value::Blob(STANDARD_NO_PAD.decode(text).map_err(|_| odd())?)
        }
        _ => return Err(odd()),
    })
}
