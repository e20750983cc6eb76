//! Work that gives way to all other work of the process.

use std::panic::resume_unwind;
use std::thread;

use rustix::process::setpriority_process;

/// The lowest priority: it gets what processors are idle, and a small share of those that are not.
const NICE: i32 = 19;

/// Does the work and waits for it. A thread cannot raise its priority again without privileges, so it has one of its own.
///
/// Panics if the work does, or if the system has no thread left.
pub(super) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // On Linux a thread has its own priority, and "this process" is the calling thread.
            if let Err(error) = setpriority_process(None, NICE) {
                tracing::debug!(%error, "work in the background has no lower priority");
            }
            work()
        });
        worker.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn only_the_work_has_a_low_priority() {
        let own = getpriority_process(None).unwrap();
        assert_eq!(run(|| getpriority_process(None).unwrap()), NICE);
        assert_eq!(getpriority_process(None).unwrap(), own);
        assert_eq!(thread::spawn(|| getpriority_process(None).unwrap()).join().unwrap(), own);
    }

    #[test]
    #[should_panic(expected = "of the work")]
    fn a_panic_is_passed_on() {
        run(|| panic!("of the work"));
    }
}
