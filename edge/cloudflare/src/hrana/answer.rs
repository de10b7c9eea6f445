//! Answers of `/v2/pipeline`. Whatever a server says is read without a panic; what makes no sense is out of reach.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use edge_core::platform::StoreError;
use edge_core::sql::{Rows, Value};
use serde_json::Value as Json;

/// The rows of each of so many `execute` requests.
pub(super) fn of_reads(answer: &[u8], wanted: usize) -> Result<Vec<Rows>, StoreError> {
    responses(answer, wanted)?.into_iter().map(|mut response| rows(take(&mut response, "result"))).collect()
}

/// The rows of each of so many statements of a `batch`, whose first step is `BEGIN` and whose last are `COMMIT` and `ROLLBACK`.
pub(super) fn of_batch(answer: &[u8], statements: usize) -> Result<Vec<Rows>, StoreError> {
    let mut result = responses(answer, 1)?.pop().map(|mut response| take(&mut response, "result")).unwrap_or_default();
    if let Some(errors) = result["step_errors"].as_array()
        && let Some(error) = errors.iter().take(statements + 2).find(|error| !error.is_null())
    {
        return Err(refused(error));
    }
    let Json::Array(results) = take(&mut result, "step_results") else { return Err(unavailable("no step results")) };
    let all = results.into_iter().skip(1).take(statements).map(rows).collect::<Result<Vec<_>, _>>()?;
    if all.len() == statements { Ok(all) } else { Err(unavailable("too few step results")) }
}

fn responses(answer: &[u8], wanted: usize) -> Result<Vec<Json>, StoreError> {
    let mut answer: Json = serde_json::from_slice(answer).map_err(|error| unavailable(&error.to_string()))?;
    let Json::Array(results) = take(&mut answer, "results") else { return Err(unavailable("no results")) };
    if results.len() < wanted {
        return Err(unavailable("too few results"));
    }
    let response = |mut one: Json| match one["type"].as_str() {
        Some("ok") => Ok(take(&mut one, "response")),
        _ => Err(refused(&one["error"])),
    };
    results.into_iter().take(wanted).map(response).collect()
}

/// A field, `null` where there is none: indexing to write would panic for what is no object.
fn take(json: &mut Json, name: &str) -> Json {
    json.get_mut(name).map(Json::take).unwrap_or_default()
}

pub(super) fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(why.to_owned())
}

fn refused(error: &Json) -> StoreError {
    let code = error["code"].as_str().unwrap_or_default();
    let message = error["message"].as_str().unwrap_or("an error without a message");
    if code.starts_with("SQLITE_CONSTRAINT") || message.contains("constraint failed") {
        StoreError::Conflict
    } else if code.starts_with("SQLITE_FULL") || code.starts_with("SQLITE_READONLY") || message.contains("disk is full") {
        StoreError::ReadOnly
    } else {
        unavailable(message)
    }
}

fn rows(mut result: Json) -> Result<Rows, StoreError> {
    let Json::Array(rows) = take(&mut result, "rows") else { return Ok(Vec::new()) };
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
        // 64-bit integers travel as strings.
        Some("integer") => Value::Integer(cell["value"].as_str().and_then(|text| text.parse().ok()).ok_or_else(odd)?),
        Some("float") => Value::Real(cell["value"].as_f64().ok_or_else(odd)?),
        Some("text") => match take(&mut cell, "value") {
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
