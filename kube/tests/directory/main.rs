//! A directory as a remote, with a real watcher.
#![allow(missing_docs)]

#[cfg(test)]
mod changes;
#[cfg(test)]
mod convergence;
#[cfg(test)]
mod support;
