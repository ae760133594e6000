//! Locks whose holders leave their data whole.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic of another holder: every critical section leaves its data whole at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
