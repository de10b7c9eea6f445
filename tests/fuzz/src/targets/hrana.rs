//! What a libsql server answers to the Worker.

use edge_core::platform::StoreError;

/// The Worker's file; the rest of it is for wasm only.
#[path = "../../../../edge/cloudflare/src/hrana/answer.rs"]
mod answer;

/// The answer to three reads and to a batch of two statements: as many lists of rows, or a reason.
pub(super) fn hrana_reply(input: &[u8]) -> bool {
    let of_reads = answer::of_reads(input, 3);
    if let Ok(rows) = &of_reads {
        assert_eq!(rows.len(), 3);
    }
    let of_batch = answer::of_batch(input, 2);
    if let Ok(rows) = &of_batch {
        assert_eq!(rows.len(), 2);
    }
    // Nobody is told of a conflict or a full disk by an answer that is not even JSON.
    let said = [of_reads.as_ref().err(), of_batch.as_ref().err()];
    let is_json = serde_json::from_slice::<serde_json::Value>(input).is_ok();
    assert!(is_json || said.iter().all(|error| matches!(error, Some(StoreError::Unavailable(_)))));
    of_reads.is_ok() || of_batch.is_ok()
}
