#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What came of a run.
public struct BenchReport: Sendable {
    /// The server that was measured.
    public struct Server: Sendable {
        /// Its address.
        public var url: String

        /// Whether it was started for the run and served nobody else.
        public var isOwn: Bool

        /// Its version, if it says so.
        public var version: String?

        /// Its event loops, if it says so.
        public var loops: Int?

        /// What it takes of a processor without this run's readers; nil if it does not export its processor time.
        public var quietShare: Double?
    }

    /// What was to be measured.
    public let plan: BenchPlan

    /// When the run began.
    public var date = Date()

    /// The machine of the readers and, if the server is the run's own, of the server.
    public var machine = Machine.this

    /// The server.
    public var server = Server(url: "", isOwn: false)

    /// What was measured, in order.
    public var rows: [BenchRow] = []

    /// Whether everything was measured.
    public var isComplete = false

    /// Whether everything was measured, and nothing was lost, repeated or refused.
    public var isSound: Bool { isComplete && rows.allSatisfy { $0.problem == nil } }
}

/// The machine that a run was made on.
public struct Machine: Sendable, Equatable {
    /// The operating system, with its version.
    public var system: String

    /// The processors that the process may use.
    public var processors: Int

    /// This one.
    static var this: Machine {
        let process = ProcessInfo.processInfo
        return Machine(system: process.operatingSystemVersionString, processors: process.activeProcessorCount)
    }
}

/// One measurement.
public struct BenchRow: Sendable {
    /// The transport.
    public let transport: BenchTransport

    /// Events published in a second.
    public let rate: Double

    /// What was measured, or why nothing was.
    public let outcome: Result<Figures, BenchFault>

    /// What was measured; nil if nothing was.
    public var figures: Figures? { try? outcome.get() }

    /// What is wrong with the measurement, as a sentence; nil if nothing is.
    public var problem: String? {
        switch outcome {
        case .failure(let fault): "\(name) failed: \(fault.description)" + (fault.description.last == "." ? "" : ".")
        case .success(let figures) where figures.lost > 0 || figures.repeated > 0:
            "\(name): \(figures.lost) events were lost and \(figures.repeated) came twice."
        case .success: nil
        }
    }

    /// The measurement's name for people.
    public var name: String { "\(transport.title) at \(rate.brief)/s" }
}
