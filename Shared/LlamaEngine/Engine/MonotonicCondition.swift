import Foundation

/// A lock with a condition whose waits end by ``MonotonicClock``. `NSCondition` waits by the machine's date: when that is set
/// back by an hour, so is the end of a wait.
///
/// Sendable: the pointers never change, and what they point to is made to be shared.
final class MonotonicCondition: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func lock() { pthread_mutex_lock(mutex) }
    func unlock() { pthread_mutex_unlock(mutex) }
    func signal() { pthread_cond_signal(condition) }

    /// Waits, with the lock held, for a signal or for nothing at all.
    /// - Parameter deadline: in seconds of ``MonotonicClock``; nil waits without end.
    /// - Returns: whether it was before the deadline.
    func wait(until deadline: Double?) -> Bool {
        guard let deadline else { return pthread_cond_wait(condition, mutex) == 0 }
        var time = timespec()
        let whole = deadline.rounded(.down)
        time.tv_sec = Int(exactly: whole) ?? .max
        time.tv_nsec = Int(exactly: ((deadline - whole) * 1e9).rounded(.down)) ?? 0
        return pthread_cond_timedwait(condition, mutex, &time) == 0
    }
}
