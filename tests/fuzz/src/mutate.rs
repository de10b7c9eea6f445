//! A deterministic mutator: bit flips, replaced, inserted, removed and repeated ranges, splices, and words that parsers
//! care about.

use std::path::PathBuf;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Longest input.
const MOST_BYTES: usize = 4096;

const WORDS: &[&[u8]] = &[
    b"\x1e", b"[", b"]", b"{", b"}", b"\"", b"\\", b"\\u", b"\\ud800", b"\\ud83d\\ude00", b",", b":", b"-", b"/", b"b", b"null",
    b"true", b"0", b"9007199254740991", b"9007199254740992", b"18446744073709551616", b"-1", b"1.5", b"1e999", b"_placeholder",
    b"num", b"__proto__", b"connect", b"disconnect", b"hb", b"chat:message", b"sync:resume", b"conversationId", b"cursors",
    b"chat:edit", b"chat:react", b"messageId", b"content", b"emoji", b"on", b"\xf0\x9f\x91\x8d", b"\xe2\x80\x8d",
    b"0195f09e-0000-7000-8000-000000000001", b"\x00", b"\xff", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"2probe", b"42", b"40", b"451-",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// Everything random about a run.
pub struct Random(ChaCha8Rng);

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

impl Random {
    /// The same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `bound`; 0 when it is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.0.next_u64() % bound as u64) as usize }
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.0.next_u32() as u8
    }

    /// Random bytes of a fixed length.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// `input` with a few changes; parts of it may come from `others`.
    pub fn mutate(&mut self, input: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = at + self.below((bytes.len() - at + 1).min(32));
            match self.below(8) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.byte(),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let part = bytes[at..end].to_vec();
                    let times = self.below(20);
                    bytes.splice(at..at, part.repeat(times));
                }
                4 | 5 => {
                    let word = self.pick(WORDS).copied().unwrap_or_default();
                    bytes.splice(at..if self.once_in(2) { at } else { end }, word.iter().copied());
                }
                6 => {
                    let other = self.pick(others).cloned().unwrap_or_default();
                    let from = self.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                _ => bytes.truncate(end),
            }
            bytes.truncate(MOST_BYTES);
        }
        bytes
    }
}

/// The committed inputs of a target, in the order of their names.
///
/// # Panics
/// When there are none: a run without a corpus tests nothing.
#[must_use]
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().filter_map(|path| std::fs::read(path).ok()).collect();
    assert!(!inputs.is_empty(), "no corpus for {target}");
    inputs
}

/// How often a run repeats what it does by default.
#[must_use]
pub fn rounds() -> usize {
    std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Feeds `check` with the corpus and `count` mutations of it. Inputs that were mutated before are mutated again.
pub fn run(target: &str, seed: u64, count: usize, check: fn(&[u8])) {
    let mut random = Random::new(seed);
    let mut pool = corpus(target);
    let committed = pool.len();
    for input in &pool {
        check(input);
    }
    for _ in 0..count * rounds() {
        let at = random.below(pool.len());
        let input = random.mutate(&pool[at], &pool);
        check(&input);
        if random.once_in(8) {
            if pool.len() < committed + 256 {
                pool.push(input);
            } else {
                let at = committed + random.below(256);
                pool[at] = input;
            }
        }
    }
}
