#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// How many files and connections the process may have open.
public struct DescriptorLimit: Sendable {
    /// How many it might before.
    public let before: UInt64

    /// How many it may now.
    public let now: UInt64

    /// Raises the limit to what the system allows the process; nil if it has none that can be read.
    public static func raise() -> DescriptorLimit? {
        var limit = rlimit()
        #if canImport(Glibc)
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
        let resource = RLIMIT_NOFILE
        #endif
        guard unsafe getrlimit(resource, &limit) == 0 else { return nil }
        let before = limit.rlim_cur
        if before < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            if unsafe setrlimit(resource, &limit) != 0 { limit.rlim_cur = before }
        }
        return DescriptorLimit(before: UInt64(before), now: UInt64(limit.rlim_cur))
    }
}
