//! A deterministic mutator: bit flips, replaced, inserted, removed and repeated ranges, splices, and words that parsers
//! care about.

use std::path::PathBuf;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::targets::Target;

/// Longest input.
const MOST_BYTES: usize = 4096;

const WORDS: &[&[u8]] = &[
    b"\x1e", b"[", b"]", b"{", b"}", b"\"", b"\\", b"\\u", b"\\ud800", b"\\ud83d\\ude00", b",", b":", b"-", b"/", b"b", b"null",
    b"true", b"0", b"9007199254740991", b"9007199254740992", b"18446744073709551616", b"-1", b"1.5", b"1e999", b"_placeholder",
    b"num", b"__proto__", b"connect", b"disconnect", b"hb", b"chat:message", b"sync:resume", b"conversationId", b"cursors",
    b"chat:edit", b"chat:react", b"messageId", b"content", b"emoji", b"on", b"\xf0\x9f\x91\x8d", b"\xe2\x80\x8d",
    b"0195f09e-0000-7000-8000-000000000001", b"\x00", b"\xff", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"2probe", b"42", b"40",
    b"451-", b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", b"\n", b" ", b"%", b"+", b"=", b"&", b";", b"..", b"%00", b"%ff", b"@", b"@all",
    b"@ann", b"\xe2\x80\xae", b"limit=", b"before=", b"9999-12-31T23:59:59.999Z", b"-23:59", b"+00:00", b"1970-01-01T00:00Z",
    b"application/json", b"Bearer ", b"https://", b"localhost", b"development", b"cookie", b"127.0.0.1", b"[::1]:1", b"HS256",
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

/// How many inputs were what the parser reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    pub committed: usize,
    pub mutated: usize,
}

/// Feeds a target with its corpus and `count` mutations of it. Inputs that were mutated before are mutated again.
#[must_use]
pub fn run(target: &Target, seed: u64, count: usize) -> Taken {
    let mut run = Run::new(target, seed);
    let committed = run.pool.iter().filter(|input| (target.check)(input)).count();
    let mutated = (0..count).filter(|_| run.one(|input| (target.check)(input))).count();
    Taken { committed, mutated }
}

/// Mutations without end.
#[derive(Debug)]
pub struct Run {
    random: Random,
    pool: Vec<Vec<u8>>,
    committed: usize,
}

impl Run {
    /// Of the corpus of a target.
    #[must_use]
    pub fn new(target: &Target, seed: u64) -> Self {
        let pool = corpus(target.name);
        Self { random: Random::new(seed), committed: pool.len(), pool }
    }

    /// Checks the next one; answers whether it was taken. Those are mutated again more often than others.
    pub fn one(&mut self, check: impl FnOnce(&[u8]) -> bool) -> bool {
        let some = if self.random.once_in(2) { self.committed } else { self.pool.len() };
        let at = self.random.below(some);
        let input = self.random.mutate(&self.pool[at], &self.pool);
        let taken = check(&input);
        if self.random.once_in(if taken { 4 } else { 64 }) {
            if self.pool.len() < self.committed + 256 {
                self.pool.push(input);
            } else {
                let at = self.committed + self.random.below(256);
                self.pool[at] = input;
            }
        }
        taken
    }
}
