import HeraldCore
import Testing

@testable import Herald

@Suite struct RouterTests {
    private func route(_ method: RequestMethod, _ path: String, echo: String? = nil) -> Route {
        path.withBytes { Router(echoPath: echo).route(method, $0) }
    }

    @Test func `publishing on a topic keeps the place of the topic`() {
        #expect(route(.post, "/v1/events/orders/42") == .publishOne(topicFrom: 11))
        #expect(route(.post, "/v1/events/") == .publishOne(topicFrom: 11))
        #expect(route(.post, "/v1/events") == .publishMany)
    }

    @Test func `reading may name a filter in the path`() {
        #expect(route(.get, "/v1/events/orders/**") == .read(filterFrom: 11))
        #expect(route(.head, "/v1/events") == .read(filterFrom: nil))
    }

    @Test func `topics are listed, told and purged`() {
        #expect(route(.get, "/v1/topics") == .topics)
        #expect(route(.get, "/v1/topics/a/b") == .topic(from: 11))
        #expect(route(.delete, "/v1/topics/a/b") == .purge(from: 11))
    }

    @Test(arguments: [
        ("/metrics", Route.metrics), ("/healthz", .health), ("/readyz", .readiness), ("/", .page(.console)),
        ("/console.js", .page(.script)), ("/console.css", .page(.style)), ("/openapi.txt", .page(.contract)),
        ("/console/lab.js", .page(.consoleLab)), ("/console/transports.js", .page(.consoleTransports)),
        ("/herald.js", .page(.module)), ("/herald.d.ts", .page(.moduleTypes)),
    ])
    func `plain resources answer GET and HEAD`(path: String, expected: Route) {
        #expect(route(.get, path) == expected)
        #expect(route(.head, path) == expected)
        #expect(route(.options, path) == .options([.get, .head, .options]))
    }

    @Test(arguments: ["/nowhere", "/v1", "/v1/", "/v1/eventsx/a", "/v2/events/a", "//", "", "/console.html"])
    func `an unknown path is not found`(path: String) {
        guard case .refused(let problem) = route(.get, path) else {
            Issue.record("it was routed")
            return
        }
        #expect(problem.kind == .notFound)
    }

    @Test(arguments: [
        (RequestMethod.put, "/v1/events/a", [RequestMethod.get, .head, .post, .options]),
        (.delete, "/v1/events", [.get, .head, .post, .options]),
        (.post, "/v1/topics/a", [.get, .head, .delete, .options]),
        (.delete, "/v1/topics", [.get, .head, .options]),
        (.patch, "/metrics", [.get, .head, .options]),
        (.post, "/", [.get, .head, .options]),
    ])
    func `a method that is not allowed is told which are`(
        method: RequestMethod, path: String, allowed: [RequestMethod]
    ) {
        guard case .refused(let problem) = route(method, path) else {
            Issue.record("it was routed")
            return
        }
        #expect(problem.kind == .methodNotAllowed)
        #expect(problem.allowed == allowed)
    }

    @Test func `a method that no resource has is not allowed`() {
        guard case .refused(let problem) = route(.other, "/healthz") else {
            Issue.record("it was routed")
            return
        }
        #expect(problem.status == 405)
        #expect(problem.allowed == [.get, .head, .options])
    }

    @Test func `the echo path is there only when it is given`() {
        #expect(route(.get, "/echo", echo: "/echo") == .echo)
        #expect(route(.get, "/echo") != .echo)
        #expect(route(.head, "/echo", echo: "/echo") != .echo)
    }
}
