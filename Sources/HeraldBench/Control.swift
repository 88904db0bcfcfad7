import NIOCore
import NIOHTTP1

/// Asks the server what the measurement needs to know besides events, on a connection of its own that nobody counts.
struct Control: Sendable {
    private let connector: Connector
    private let caller: NIOLoopBound<Caller>

    /// Makes a control without a connection.
    init(_ connector: Connector) async throws {
        let loop = connector.loop
        self.connector = connector
        self.caller = try await loop.submit { NIOLoopBound(Caller(connector, nil), eventLoop: loop) }.get()
    }

    /// The cursor behind all that was published so far.
    func cursor(of topic: String) async throws -> String {
        let answer = try await get("/v1/events/" + topic, query: [("after", "latest"), ("max", "1")])
        guard answer.head.status == .ok else { throw answer.refusal }
        guard let cursor = answer.head.headers.first(name: "Herald-Cursor") else {
            throw BenchFault("\(connector.base.description) is no Herald server: its answer has no Herald-Cursor")
        }
        return cursor
    }

    /// What the server says of itself; of one that says nothing, nothing.
    func scrape() async throws -> MetricsScrape {
        let answer = try await get("/metrics")
        guard answer.head.status == .ok else { return MetricsScrape("") }
        return MetricsScrape(String(buffer: answer.body))
    }

    /// Closes the connection.
    func close() async {
        try? await connector.loop.flatSubmit { caller.value.close() }.get()
    }

    private func get(_ path: String, query: [(String, String)] = []) async throws -> Answer {
        let head = connector.head(.GET, path, query: query)
        let answered = connector.loop.flatSubmit {
            let answered = connector.loop.makePromise(of: Answer.self)
            let limit = connector.loop.scheduleTask(in: Connector.patience) {
                answered.fail(BenchFault("\(connector.base.description) did not answer \(path) in time"))
                caller.value.giveUp()
            }
            answered.futureResult.whenComplete { _ in limit.cancel() }
            caller.value.call(head) { answered.completeWith($0) }
            return answered.futureResult
        }
        return try await answered.get()
    }
}
