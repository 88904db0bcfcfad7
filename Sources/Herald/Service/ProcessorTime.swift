#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// What the process takes of its processors.
enum ProcessorTime {
    /// The time that all threads have used since the process began, in user and in kernel mode.
    ///
    /// POSIX has `clock` count in microseconds whatever its resolution; in 64 bits it does not come round.
    static var used: Duration { .microseconds(Int64(clock())) }
}
