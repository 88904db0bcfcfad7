import HeraldCore
import Logging
import ServiceLifecycle
import UnixSignals

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Runs a server from its start to its end.
public enum ServerRunner {
    /// The version of the server.
    public static let version = "0.1.0"

    /// What the grammar of filters has against a text: the reason, or nil.
    @Sendable
    public static func filterProblem(_ text: String) -> String? {
        do throws(NameFault) {
            _ = try FilterName(text)
            return nil
        } catch {
            return error.segment > 0 ? "segment \(error.segment) \(error.what)" : "it \(error.what)"
        }
    }

    /// Serves until SIGTERM or SIGINT, then drains. Throws ``StartFailure`` when the server cannot start.
    ///
    /// A second signal ends the process at once. Prints one line to standard output when it is ready; logs go to
    /// standard error.
    public static func run(_ settings: ServerSettings) async throws {
        let logger = Logger(label: "herald.server")
        // A peer that has gone is seen by the error of the write, not by a signal.
        signal(SIGPIPE, SIG_IGN)
        raiseDescriptorLimit(for: settings, logger)
        let server = try await Server(settings, logger)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
        logger.info("stopped")
    }

    /// Raises the number of descriptors that the process may have to what the system allows it.
    private static func raiseDescriptorLimit(for settings: ServerSettings, _ logger: Logger) {
        var limit = rlimit()
        #if canImport(Glibc)
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
        let resource = RLIMIT_NOFILE
        #endif
        guard unsafe getrlimit(resource, &limit) == 0 else { return }
        let before = limit.rlim_cur
        if before < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            if unsafe setrlimit(resource, &limit) != 0 { limit.rlim_cur = before }
        }
        logger.info(
            "descriptors", metadata: ["limit": "\(limit.rlim_cur)", "before": "\(before)"])
        if limit.rlim_cur < rlim_t(settings.maxConnections) {
            logger.warning(
                "max-connections can't be reached: the process may have too few descriptors",
                metadata: ["max-connections": "\(settings.maxConnections)", "limit": "\(limit.rlim_cur)"])
        }
    }
}

/// Why a server could not start.
public struct StartFailure: Error, Sendable, CustomStringConvertible {
    /// What could not be done, and why not.
    public let description: String
}
