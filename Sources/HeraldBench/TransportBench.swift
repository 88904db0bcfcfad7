import HeraldClient
import NIOCore
import NIOPosix

/// Measures transports one after the other against one server.
public struct TransportBench: Sendable {
    private let plan: BenchPlan
    private let url: String
    private let isOwnServer: Bool
    private let token: String?
    private let configuration: ClientConfiguration

    /// Plans a run against the server of this address.
    ///
    /// - Parameters:
    ///   - plan: What is measured; has no problem.
    ///   - url: The server's address.
    ///   - isOwnServer: Whether the server was started for this run and serves nobody else.
    ///   - token: What to show the server: a token or an API key.
    ///   - configuration: Whom to trust, and how long connecting may take.
    public init(
        _ plan: BenchPlan, url: String, isOwnServer: Bool, token: String? = nil,
        configuration: ClientConfiguration = ClientConfiguration()
    ) {
        self.plan = plan
        self.url = url
        self.isOwnServer = isOwnServer
        self.token = token
        self.configuration = configuration
    }

    /// How long is looked at what the server does without readers.
    private static let quietTime: Duration = .seconds(1)

    /// Measures; calls back with each row as it comes. A measurement that fails is a row that says so, and the rest
    /// goes on. If the task is cancelled, gives what was measured until then.
    public func run(onRow: (BenchRow) throws -> Void) async throws -> BenchReport {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let result: Result<BenchReport, any Error>
        do {
            result = .success(try await run(on: group.next(), onRow))
        } catch {
            result = .failure(error)
        }
        try await group.shutdownGracefully()
        return try result.get()
    }

    private func run(on loop: any EventLoop, _ onRow: (BenchRow) throws -> Void) async throws -> BenchReport {
        let connector = try Connector(url: url, token: token, configuration: configuration, loop: loop)
        let control = try await Control(connector)
        var report = BenchReport(plan: plan)
        do {
            report.server = try await facts(control, connector.base.description)
            for (transport, rate) in plan.transports.flatMap({ one in plan.rates.map { (one, $0) } }) {
                let row = try await row(transport, rate, connector, control)
                report.rows.append(row)
                try onRow(row)
            }
            report.isComplete = true
        } catch is CancellationError {
            // What was measured until now is the result.
        } catch {
            await control.close()
            throw error
        }
        await control.close()
        return report
    }

    private func row(
        _ transport: BenchTransport, _ rate: Double, _ connector: Connector, _ control: Control
    ) async throws -> BenchRow {
        let run = TransportRun(
            plan: plan, transport: transport, rate: rate, topic: Self.topic(), connector: connector, control: control)
        do {
            return BenchRow(transport: transport, rate: rate, outcome: .success(try await run.measure()))
        } catch let error as CancellationError {
            throw error
        } catch {
            // A connection may well break because of the cancellation.
            try Task.checkCancellation()
            return BenchRow(transport: transport, rate: rate, outcome: .failure(BenchFault("\(error)")))
        }
    }

    private func facts(_ control: Control, _ address: String) async throws -> BenchReport.Server {
        let before = try await control.scrape()
        let began = ContinuousClock.now
        try await Task.sleep(for: Self.quietTime)
        let after = try await control.scrape()
        var server = BenchReport.Server(
            url: address, isOwn: isOwnServer, version: after.version, loops: after.loops)
        if let first = before.processorSeconds, let last = after.processorSeconds {
            server.quietShare = (last - first) / (ContinuousClock.now - began).inSeconds
        }
        return server
    }

    /// A topic that nobody else has.
    private static func topic() -> String {
        "herald-bench/" + String(UInt64.random(in: .min ... .max), radix: 16)
    }
}
