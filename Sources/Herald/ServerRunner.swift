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

    private static func raiseDescriptorLimit(for settings: ServerSettings, _ logger: Logger) {
        guard let limit = DescriptorLimit.raise() else { return }
        logger.info("descriptors", metadata: ["limit": "\(limit.now)", "before": "\(limit.before)"])
        if limit.now < UInt64(settings.maxConnections) {
            logger.warning(
                "max-connections can't be reached: the process may have too few descriptors",
                metadata: ["max-connections": "\(settings.maxConnections)", "limit": "\(limit.now)"])
        }
    }
}

/// Why a server could not start.
public struct StartFailure: Error, Sendable, CustomStringConvertible {
    /// What could not be done, and why not.
    public let description: String
}
