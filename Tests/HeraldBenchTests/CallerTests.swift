import HeraldClient
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import HeraldBench

@Suite(.timeLimit(.minutes(1))) struct CallerTests {
    /// What became of calls that follow each other at once.
    private struct Outcome: Sendable, Equatable {
        var statuses: [UInt] = []
        var error: String?
        var reconnections = 0
    }

    /// Calls so often, each call out of the answer to the one before.
    private func call(_ times: Int, by connector: Connector) async throws -> Outcome {
        let loop = connector.loop
        return try await loop.flatSubmit {
            let ledger = Ledger(
                schedule: Schedule(rate: 1, warmUp: .zero, duration: .seconds(1)), readers: 1, onFailure: { _ in })
            let caller = Caller(connector, ledger)
            let done = loop.makePromise(of: Outcome.self)
            var outcome = Outcome()
            func next() {
                guard outcome.statuses.count < times else { return finish() }
                caller.call(connector.head(.GET, "/x")) { result in
                    switch result {
                    case .success(let answer):
                        outcome.statuses.append(answer.head.status.code)
                        next()
                    case .failure(let error):
                        outcome.error = "\(error)"
                        finish()
                    }
                }
            }
            func finish() {
                outcome.reconnections = ledger.counts.reconnections
                let final = outcome
                caller.close().whenComplete { _ in done.succeed(final) }
            }
            next()
            return done.futureResult
        }.get()
    }

    @Test func `requests go over one connection, each with what it must have`() async throws {
        let heads = try await Canned.run { _ in
            .answer("200 OK", "x")
        } _: { connector in
            let outcome = try await call(20, by: connector)
            #expect(outcome == Outcome(statuses: Array(repeating: 200, count: 20)))
        }
        #expect(heads.count == 20)
        let lines = try #require(heads.first).split(separator: "\r\n")
        #expect(lines.first == "GET /x HTTP/1.1")
        #expect(lines.contains("Authorization: Bearer t0ken") && lines.contains { $0.hasPrefix("Host: 127.0.0.1:") })
        #expect(lines.count == 3)
    }

    @Test func `a server that closes after each answer gets a connection for each request`() async throws {
        try await Canned.run { _ in
            .answer("200 OK", "", "Connection: close\r\n", closes: true)
        } _: { connector in
            let outcome = try await call(50, by: connector)
            #expect(outcome.statuses.count == 50)
            #expect(outcome.error == nil)
            #expect(outcome.reconnections == 49)
        }
    }

    @Test func `a connection that ends before the answer fails the request`() async throws {
        for text in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"] {
            try await Canned.run { _ in
                CannedReply(text: text, closes: true)
            } _: { connector in
                let outcome = try await call(1, by: connector)
                #expect(outcome.statuses.isEmpty && outcome.error != nil)
            }
        }
    }

    @Test func `a request that was given up has no answer, and the next one has its own`() async throws {
        try await Canned.run { _ in
            .answer("204 No Content")
        } _: { connector in
            let loop = connector.loop
            let status = try await loop.flatSubmit {
                let caller = Caller(connector, nil)
                let done = loop.makePromise(of: UInt?.self)
                return caller.connect().assumeIsolated().flatMap {
                    // Given up in the turn in which it is sent: its answer cannot have come.
                    caller.call(connector.head(.GET, "/x")) { _ in done.succeed(nil) }
                    caller.giveUp()
                    caller.call(connector.head(.GET, "/x")) { result in
                        let status = try? result.get().head.status.code
                        caller.close().whenComplete { _ in done.succeed(status) }
                    }
                    return done.futureResult
                }.nonisolated()
            }.get()
            #expect(status == 204)
        }
    }

    @Test func `an answer that is too large fails the request`() async throws {
        let body = String(repeating: "x", count: AnswerHandler.bodyBytesMax + 1)
        try await Canned.run { number in
            .answer("200 OK", number == 0 ? String(body.dropLast()) : body)
        } _: { connector in
            let outcome = try await call(2, by: connector)
            #expect(outcome.statuses == [200] && outcome.error == "an answer is larger than 4194304 bytes")
        }
    }

    @Test func `who is not there is named`() async throws {
        let connector = try Connector(
            url: "http://127.0.0.1:1", token: nil, configuration: ClientConfiguration(),
            loop: MultiThreadedEventLoopGroup.singleton.next())
        #expect(
            try await call(1, by: connector).error == "http://127.0.0.1:1 cannot be reached: Connection refused")
    }
}
