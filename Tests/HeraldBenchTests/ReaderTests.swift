import NIOCore
import NIOPosix
import Testing

@testable import HeraldBench

/// What readers make of servers that do not do as they should. That they get events from one that does is seen where
/// the program is tested.
@Suite(.timeLimit(.minutes(1))) struct ReaderTests {
    private static let problem =
        #"{"type":"/problems/unauthorized","title":"No token","status":401,"detail":"Come with one."}"#

    /// The failure of a measurement by one reader of a server that answers so; the requests that came.
    private func failure(
        _ transport: BenchTransport, _ plan: BenchPlan = BenchPlan(), _ reply: @escaping @Sendable (Int) -> CannedReply
    ) async throws -> (words: String, heads: [String]) {
        let (failures, failure) = AsyncStream.makeStream(of: String.self)
        var words = ""
        let heads = try await Canned.run(reply) { connector in
            let reader = try await connector.loop.submit {
                let ledger = Ledger(schedule: Schedule(rate: 1, warmUp: .zero, duration: .seconds(1)), readers: 1) {
                    failure.yield("\($0)")
                }
                ledger.start = .now()
                let context = ReaderContext(connector: connector, ledger: ledger, plan: plan, topic: "t")
                return NIOLoopBound(context.reader(0, transport), eventLoop: connector.loop)
            }.get()
            connector.loop.execute {
                reader.value.open(after: "5f3a9c1e-0").whenFailure { failure.yield("\($0)") }
            }
            words = await failures.first { _ in true } ?? ""
            try await connector.loop.flatSubmit { reader.value.close() }.get()
        }
        return (words, heads)
    }

    @Test(arguments: BenchTransport.allCases)
    func `a refusal is told in the server's words`(transport: BenchTransport) async throws {
        let failure = try await failure(transport) { _ in
            .answer("401 Unauthorized", Self.problem, "Content-Type: application/problem+json\r\n")
        }
        #expect(failure.words == "No token: Come with one.")
    }

    @Test(arguments: BenchTransport.allCases)
    func `a connection that is cut fails the measurement`(transport: BenchTransport) async throws {
        #expect(try await failure(transport) { _ in CannedReply(text: "", closes: true) }.words != "")
    }

    @Test(arguments: [(BenchTransport.sse, "text/event-stream"), (.ndjson, "application/x-ndjson")])
    func `a stream that ends fails the measurement`(transport: BenchTransport, type: String) async throws {
        let failure = try await failure(transport) { _ in
            CannedReply(
                text: "HTTP/1.1 200 OK\r\nContent-Type: \(type)\r\nConnection: close\r\n\r\nx#00000000;", closes: true)
        }
        #expect(failure.words == "the server ended a stream")
    }

    @Test(arguments: [BenchTransport.sse, .ndjson])
    func `another type than was asked for fails the measurement`(transport: BenchTransport) async throws {
        let failure = try await failure(transport) { _ in .answer("200 OK", "x", "Content-Type: text/html\r\n") }
        #expect(failure.words.hasPrefix("an answer of type \"text/html\" came where "))
    }

    @Test(arguments: [BenchTransport.poll, .longpoll])
    func `a poll without a cursor fails the measurement`(transport: BenchTransport) async throws {
        #expect(
            try await failure(transport) { _ in .answer("200 OK", "{}") }.words
                == "the answer to a poll has no Herald-Cursor")
    }

    @Test func `an event that was not published fails the measurement`() async throws {
        let failure = try await failure(.poll) { _ in .answer("200 OK", "#00000007;", "Herald-Cursor: 5f3a9c1e-1\r\n") }
        #expect(failure.words == "a reader got event 7, which was not published")
    }

    @Test func `a short poll is the same request again until an event comes`() async throws {
        var plan = BenchPlan()
        plan.interval = .milliseconds(10)
        let failure = try await failure(.poll, plan) { number in
            switch number {
            case 0: .answer("200 OK", "{}", "Herald-Cursor: 5f3a9c1e-3\r\nETag: W/\"a\"\r\n")
            case 1: .answer("304 Not Modified", "", "Herald-Cursor: 5f3a9c1e-4\r\nETag: W/\"a\"\r\n")
            case 2: .answer("200 OK", "#00000000;", "Herald-Cursor: 5f3a9c1e-5\r\nETag: W/\"b\"\r\n")
            default: CannedReply(text: "", closes: true)
            }
        }
        let requests = failure.heads.prefix(4).map { head in
            let lines = head.split(separator: "\r\n")
            return [String(lines[0]), lines.first { $0.hasPrefix("If-None-Match") }.map(String.init) ?? ""]
        }
        #expect(
            requests == [
                ["GET /v1/events/t?after=5f3a9c1e-0&max=1000 HTTP/1.1", ""],
                ["GET /v1/events/t?after=5f3a9c1e-0&max=1000 HTTP/1.1", "If-None-Match: W/\"a\""],
                ["GET /v1/events/t?after=5f3a9c1e-0&max=1000 HTTP/1.1", "If-None-Match: W/\"a\""],
                ["GET /v1/events/t?after=5f3a9c1e-5&max=1000 HTTP/1.1", ""],
            ])
    }

    @Test(arguments: [(0, 100), (1, 100), (99, 100), (100, 200), (101, 200), (199, 200), (250, 300), (1000, 1100)])
    func `a short poll that was held up keeps its turn`(answered: Int64, next: Int64) {
        let due = NIODeadline.uptimeNanoseconds(7_000_000_001)
        #expect(
            PollReader.turn(after: due, .milliseconds(100), now: due + .milliseconds(answered))
                == due + .milliseconds(next))
    }

    @Test func `a long-poll goes on from what the last one said`() async throws {
        var plan = BenchPlan()
        plan.wait = .seconds(7)
        let failure = try await failure(.longpoll, plan) { number in
            number == 0
                ? .answer("200 OK", "#00000000;", "Herald-Cursor: 5f3a9c1e-5\r\n")
                : CannedReply(text: "", closes: true)
        }
        #expect(
            failure.heads.prefix(2).map { $0.split(separator: " ")[1] } == [
                "/v1/events/t?after=5f3a9c1e-0&max=1000&wait=7", "/v1/events/t?after=5f3a9c1e-5&max=1000&wait=7",
            ])
    }
}
