//! The fuzz target on stable: the kept corpus, and as many changed copies of it as a test may take time for.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "../fuzz/check.rs"]
mod check;

use std::path::Path;

/// Changed copies, the same in every run.
const MUTANTS: usize = 40_000;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/respond");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Numbers that look random (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound.max(1)
    }

    /// One to four changes: a bit, an octet, one that means something on the wire, a cut, a repetition, another's tail.
    fn mutate(&mut self, octets: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..1 + self.below(4) {
            let at = self.below(octets.len());
            match self.below(7) {
                0 if !octets.is_empty() => octets[at] ^= 1 << self.below(8),
                1 if !octets.is_empty() => octets[at] = self.below(256) as u8,
                2 if !octets.is_empty() => {
                    octets[at] = [0, 1, 0x0c, 0x29, 0x3f, 0x40, 0x80, 0xc0, 0xff][self.below(9)]
                }
                3 => octets.truncate(at),
                4 => octets.insert(at, self.below(256) as u8),
                5 => octets.extend_from_within(at..),
                _ => octets.extend_from_slice(&other[self.below(other.len())..]),
            }
        }
        octets.truncate(2048);
    }
}

#[test]
fn the_corpus_is_answered_soundly() {
    let corpus = corpus();
    assert!(corpus.len() >= 40, "{} files", corpus.len());
    corpus.iter().for_each(|octets| check::respond_soundly(octets));
}

#[test]
fn changed_copies_of_the_corpus_are_answered_soundly() {
    let corpus = corpus();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for index in 0..MUTANTS {
        let mut octets = corpus[index % corpus.len()].clone();
        numbers.mutate(&mut octets, &corpus[numbers.0 as usize % corpus.len()]);
        check::respond_soundly(&octets);
    }
}
