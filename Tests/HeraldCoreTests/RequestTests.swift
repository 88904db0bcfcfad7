import HeraldCore
import Synchronization
import Testing

/// The life of requests, through a hub of its own on a port that the system chooses.
@Suite struct RequestTests {
    @Test func `a request shows its parts and is answered`() throws {
        let seen = Mutex<[String]>([])
        let hub = try RunningHub { request in
            seen.withLock { seen in
                seen = [
                    request.method.rawValue, request.path.text(), request.query.text(), request.body.text(),
                    request.header(.heraldType)?.text() ?? "-", request.header(.prefer)?.text() ?? "-",
                ]
            }
            var response = Response(status: 201, contentType: "text/plain", body: Array("done".utf8))
            response.add("X-Answer", "yes")
            request.answer(response)
        }
        let answer = RawHTTP(port: hub.port).exchange("PUT /a%20b?c=%41", headers: ["herald-TYPE: v"], body: "data")
        #expect(answer.hasPrefix("HTTP/1.1 201 "))
        #expect(answer.contains("\r\nX-Answer: yes\r\n"))
        #expect(answer.hasSuffix("\r\n\r\ndone"))
        #expect(seen.withLock { $0 } == ["PUT", "/a b", "c=%41", "data", "v", "-"])
    }

    @Test func `a request that is let go of is answered 500`() throws {
        let hub = try RunningHub { request in _ = request.kind }
        let answer = RawHTTP(port: hub.port).exchange("GET /")
        #expect(answer.hasPrefix("HTTP/1.1 500 "))
        #expect(answer.contains("/problems/internal"))
    }

    @Test func `a refused subscription leaves the request to be answered`() throws {
        let hub = try RunningHub { request in
            let beyond = Position.after(Cursor(epoch: 7, sequence: 1000))
            guard let filter = try? FilterName("a") else { return }
            switch request.subscribe(Subscription(.shortPoll, filters: [filter], position: beyond)) {
            case .done: return
            case .refused(let request, let fault):
                request.answer(Response(status: fault == .beyondHead ? 409 : 400))
            }
        }
        #expect(RawHTTP(port: hub.port).exchange("GET /").hasPrefix("HTTP/1.1 409 "))
    }

    @Test func `a query is decoded, or its mistake is named`() throws {
        let hub = try RunningHub { request in
            let text: String
            do throws(QueryFault) {
                text = try request.queryPairs().map { "\($0.name)=\($0.value)" }.joined(separator: " ")
            } catch {
                text = "\(error.name) \(error.what)"
            }
            request.answer(Response(status: 200, contentType: "text/plain", body: Array(text.utf8)))
        }
        #expect(RawHTTP(port: hub.port).exchange("GET /?a=1+2&b=%C3%BC&a=").hasSuffix("\r\n\r\na=1 2 b=ü a="))
        #expect(RawHTTP(port: hub.port).exchange("GET /?a=%zz").hasSuffix("a has a malformed escape"))
        #expect(RawHTTP(port: hub.port).exchange("GET /?a=%FF").hasSuffix("a is not UTF-8"))
    }

    @Test func `a query is walked as it would be decoded`() throws {
        let hub = try RunningHub { request in
            var text = ""
            do throws(QueryFault) {
                try request.forEachQueryPair(fault: { $0 }) { name, value throws(QueryFault) in
                    text += "\(name.text())=\(value.text()) "
                }
            } catch {
                text = "\(error.name) \(error.what)"
            }
            request.answer(Response(status: 200, contentType: "text/plain", body: Array(text.utf8)))
        }
        let answers = [
            "/?a=1&b=x/*&&c&a=": "a=1 b=x/* c= a= ", "/?a=1+2&b=%C3%BC&a=": "a=1 2 b=ü a= ", "/": "",
            "/?a=%zz": "a has a malformed escape", "/?a=%FF": "a is not UTF-8",
        ]
        for (target, answer) in answers {
            #expect(RawHTTP(port: hub.port).exchange("GET \(target)").hasSuffix("\r\n\r\n\(answer)"))
        }
    }

    @Test func `an event that was published is read`() throws {
        let hub = try RunningHub { request, hub in
            if request.method == .post {
                let work = request.asPublication(topicFrom: 1, typeHeader: .heraldType, contentType: "text/plain")
                do throws(PublishFault) {
                    let receipts = try hub.publish(work.publications)
                    work.answer(receipts)
                } catch {
                    work.abandon().answer(Response(status: 503))
                }
                return
            }
            guard let filter = try? FilterName("orders/*") else { return }
            _ = request.subscribe(Subscription(.shortPoll, filters: [filter], position: .earliest))
        }
        let published = RawHTTP(port: hub.port).exchange("POST /orders/1", headers: ["Herald-Type: t"], body: "hello")
        #expect(published.hasPrefix("HTTP/1.1 201 "))
        #expect(published.contains(#""topic":"orders/1""#))
        let read = RawHTTP(port: hub.port).exchange("GET /")
        #expect(read.contains(#""type":"t""#))
        #expect(read.contains(#""datacontenttype":"text/plain","data":"hello""#))
        #expect(hub.hub.log.state(of: try TopicName("orders/1"))?.published == 1)
        #expect(hub.hub.statistics.publishedEvents == 1)
        #expect(hub.hub.log.purge(try TopicName("orders/1")))
    }

    @Test func `too many topics are refused and nothing is published`() throws {
        let hub = try RunningHub(answer: RunningHub.publishBatch)
        let lines = (0..<8).map { #"{"topic":"t/\#($0)","data":1}"# }.joined(separator: "\n")
        #expect(RawHTTP(port: hub.port).exchange("POST /", body: lines).hasSuffix("tooManyTopics"))
        #expect(hub.hub.log.state(of: try TopicName("t/0")) == nil)
    }

    @Test(arguments: [
        (["{\"topic\":\"a\",\"data\":1}", "{\"topic\":\"b\" 1}"], "syntax 2 14 1"),
        (["{\"topic\":\"a\",\"data\":1}", "{\"topic\":7,\"data\":1}"], "event 2 nil 1"),
        (Array(repeating: "{\"topic\":\"a\",\"data\":1}", count: 3), "tooMany nil nil 2"),
    ])
    func `a batch that is wrong names the place`(lines: [String], expected: String) throws {
        let hub = try RunningHub { request in
            switch request.parsed(as: .lines, limit: 2) {
            case .parsed(let work): work.abandon().answer(Response(status: 200))
            case .refused(let request, let fault):
                let line = fault.kind == .tooMany ? "nil" : fault.line.map(String.init) ?? "nil"
                let text = "\(fault.kind) \(line) \(fault.column.map(String.init) ?? "nil") \(fault.index)"
                request.answer(Response(status: 422, contentType: "text/plain", body: Array(text.utf8)))
            }
        }
        let answer = RawHTTP(port: hub.port).exchange("POST /", body: lines.joined(separator: "\n"))
        #expect(answer.hasSuffix("\r\n\r\n" + expected))
    }

    @Test func `a drain ends idle connections and says so`() throws {
        let hub = try RunningHub { request in request.answer(Response(status: 200)) }
        let connection = RawHTTP(port: hub.port)
        connection.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(connection.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 200 "))
        hub.hub.drain()
        #expect(hub.hub.isDraining)
        #expect(connection.read(until: "never") == "")
    }
}

/// A hub with one loop that hands every request to a closure.
final class RunningHub {
    typealias Answer = @Sendable (consuming Request, Hub) -> Void

    let hub: Hub
    let port: UInt16

    private struct Handler: RequestHandler {
        let hub: Hub
        let answer: Answer

        func handle(_ request: consuming Request) {
            answer(request, hub)
        }

        func readersGone(_ leases: [Lease]) {
            for lease in leases { (lease.holder as? Holder)?.gone.add(1, ordering: .acquiringAndReleasing) }
        }

        func drained() {}
    }

    /// What a lease was made for.
    final class Holder: Sendable {
        /// How often its reader was said to have gone.
        let gone = Atomic<Int>(0)
    }

    init(answer: @escaping Answer) throws {
        hub = try Hub(HubConfiguration(), log: try Log(.small))
        port = try hub.listen(host: "127.0.0.1", port: 0)
        try hub.start(Handler(hub: hub, answer: answer))
    }

    convenience init(answer: @escaping @Sendable (consuming Request) -> Void) throws {
        try self.init { request, _ in answer(request) }
    }

    deinit {
        hub.stop()
    }

    /// Publishes the lines of the body.
    static let publishBatch: Answer = { request, hub in
        switch request.parsed(as: .lines, limit: 100) {
        case .refused(let request, _): request.answer(Response(status: 422))
        case .parsed(let work):
            do throws(PublishFault) {
                let receipts = try hub.publish(work.publications)
                work.answer(receipts)
            } catch {
                let body = Array("\(error)".utf8)
                work.abandon().answer(Response(status: 503, contentType: "text/plain", body: body))
            }
        }
    }
}
