import Foundation
import HeraldCore
import Testing

@testable import Herald

@Suite struct ProblemTests {
    private func members(_ problem: Problem) throws -> [String: Any] {
        let data = Data(problem.response.body)
        return try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    @Test func `a problem is told as RFC 9457 has it`() throws {
        var problem = Problem(.badJSON, "expected a colon")
        problem.line = 3
        problem.column = 16
        #expect(
            String(decoding: problem.response.body, as: UTF8.self)
                == #"{"type":"/problems/bad-json","title":"The body is not JSON","status":422,"#
                + #""detail":"expected a colon","line":3,"column":16}"#)
        #expect(problem.response.headers.first?.value == "application/problem+json")
    }

    @Test func `what a detail quotes cannot break its JSON`() throws {
        let problem = Problem(.badFilter, NameFault("is \"odd\""), in: "a\n\u{1}\"\\\u{202E}\u{2028}")
        #expect(try members(problem)["detail"] is String)
    }

    @Test(arguments: Problem.Kind.allCases)
    func `a client that may come back is told when`(kind: Problem.Kind) throws {
        // Where nobody knows when, the core says a time of its own with 429 and 503.
        var problem = Problem(kind, "x")
        #expect(!problem.response.headers.contains { $0.name == "Retry-After" })
        problem.retryAfter = 7
        #expect(problem.response.headers.contains { $0.name == "Retry-After" && $0.value == "7" })
        #expect(try members(Problem(kind, "x"))["status"] as? Int == kind.status)
        #expect(!kind.title.isEmpty)
    }

    @Test func `a method that is not allowed lists the others`() {
        var problem = Problem(.methodNotAllowed, "x")
        problem.allowed = [.get, .post]
        #expect(problem.response.headers.contains { $0.name == "Allow" && $0.value == "GET, POST" })
    }

    @Test func `an unknown WebSocket version is told the known one`() {
        let response = Problem(.upgradeRequired, "x").response
        #expect(response.headers.contains { $0.name == "Sec-WebSocket-Version" && $0.value == "13" })
    }

    @Test func `a bad segment is named with its number`() {
        let fault = #expect(throws: NameFault.self) { try TopicName("a/b c") }
        guard let fault else { return }
        let problem = Problem(.badTopic, fault, in: "a/b c")
        #expect(problem.detail.hasPrefix(#""a/b c": segment 2 ("b c") holds "#))
    }

    @Test func `an item of a list is named by line or index`() {
        let line = Problem(event: "is no object", at: 4, line: 7, format: .lines)
        #expect((line.line, line.index, line.detail) == (7, nil, "line 7: is no object"))
        let item = Problem(event: "is no object", at: 4, line: nil, format: .array)
        #expect((item.line, item.index, item.detail) == (nil, 4, "item 4: is no object"))
        let single = Problem(event: "is no object", at: 0, line: nil, format: .cloudEvent)
        #expect((single.line, single.index) == (nil, nil))
    }

    @Test func `faults of publishing keep their meaning`() {
        #expect(Problem(PublishFault.tooManyTopics, isList: false).kind == .tooManyTopics)
        #expect(Problem(PublishFault.tooLarge(index: 3), isList: true).index == 3)
        #expect(Problem(PublishFault.tooLarge(index: 0), isList: false).index == nil)
        #expect(Problem(PublishFault.outOfMemory, isList: false).kind == .memoryLimit)
    }

    @Test func `a cursor beyond the head is shown`() {
        let cursor = Cursor(epoch: 1, sequence: 9)
        let problem = Problem(SubscribeFault.beyondHead, position: .after(cursor), filterLimit: 64)
        #expect(problem.kind == .badCursor)
        #expect(problem.detail.contains("00000001-9"))
    }
}
