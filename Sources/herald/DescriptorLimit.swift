#if canImport(Darwin)
import Darwin
#elseif canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// How many files and connections the process may have open.
enum DescriptorLimit {
    /// What a process has open besides its connections, with room to spare.
    private static let others = 64

    /// Raises the limit as far as the system lets it. Says what is wrong if it does not hold so many connections.
    static func raise(toHold connections: Int) -> String? {
        var limit = rlimit()
        #if canImport(Glibc)
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
        let resource = RLIMIT_NOFILE
        #endif
        guard unsafe getrlimit(resource, &limit) == 0 else { return nil }
        let before = limit.rlim_cur
        limit.rlim_cur = limit.rlim_max
        if unsafe setrlimit(resource, &limit) != 0 { limit.rlim_cur = before }
        guard limit.rlim_cur < rlim_t(connections + others) else { return nil }
        return "\(connections) connections need \(connections + others) descriptors, and this process may have "
            + "\(limit.rlim_cur): raise the limit (ulimit -Hn) or take fewer readers."
    }
}
