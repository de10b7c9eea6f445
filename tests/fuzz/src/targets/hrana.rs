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
    for error in [of_reads.as_ref().err(), of_batch.as_ref().err()].into_iter().flatten() {
        assert!(!matches!(error, StoreError::Unavailable(why) if why.is_empty()));
    }
    of_reads.is_ok() || of_batch.is_ok()
}
