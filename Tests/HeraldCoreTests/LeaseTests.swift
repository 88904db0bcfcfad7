import Foundation
import HeraldCore
import Synchronization
import Testing

/// Leases and parked requests, as Swift has them.
@Suite struct LeaseTests {
    @Sendable private static func answerPath(_ request: consuming Request) {
        let path = Array(request.path.text().utf8)
        request.answer(Response(status: 200, contentType: "text/plain", body: path))
    }

    @Test func `a parked request is answered from elsewhere`() throws {
        let hub = try RunningHub { request in
            let parked = request.park()
            // Not a task: tests that read from sockets hold up the threads of those.
            DispatchQueue.global().async { parked.resume(Self.answerPath) }
        }
        for _ in 0..<20 {
            #expect(RawHTTP(port: hub.port).exchange("GET /parked").hasSuffix("\r\n\r\n/parked"))
        }
    }

    @Test func `a parked request that is forgotten is answered 500`() throws {
        let hub = try RunningHub { request in _ = request.park() }
        #expect(RawHTTP(port: hub.port).exchange("GET /").hasPrefix("HTTP/1.1 500 "))
    }

    @Test func `a request whose client has gone comes back all the same`() throws {
        let parked = Mutex<ParkedRequest?>(nil)
        let path = Mutex("")
        let hub = try RunningHub { request in
            let waiting = request.park()
            parked.withLock { $0 = waiting }
        }
        do {
            let client = RawHTTP(port: hub.port)
            client.send("GET /gone HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(soon { parked.withLock { $0 != nil } })
        }
        let waiting = parked.withLock { parked in
            defer { parked = nil }
            return parked
        }
        waiting?.resume { request in
            path.withLock { $0 = request.path.text() }
            request.answer(Response(status: 200))
        }
        #expect(soon { path.withLock { $0 == "/gone" } })
    }

    /// Waits for a condition; the bound only keeps a broken hub from hanging the suite.
    private func soon(_ condition: () -> Bool) -> Bool {
        let deadline = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < deadline {
            if condition() { return true }
            usleep(1000)
        }
        return condition()
    }

    @Test func `a reader is told and ended by its lease, which comes back`() throws {
        let leases = Mutex<[Lease]>([])
        let hub = try RunningHub { request in
            do {
                let holder = RunningHub.Holder()
                let lease = try Lease(for: request, holder: holder)
                let filter = try FilterName("a")
                let subscription = Subscription(.serverSentEvents, filters: [filter], position: .latest)
                leases.withLock { $0.append(lease) }
                switch request.subscribe(subscription, lease: lease) {
                case .done: return
                case .refused(let request, _): request.answer(Response(status: 400))
                }
            } catch {
                Issue.record("\(error)")
            }
        }
        let client = RawHTTP(port: hub.port)
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(client.read(until: "retry:").contains("text/event-stream"))
        let lease = try #require(leases.withLock { $0.first })
        let holder = try #require(lease.holder as? RunningHub.Holder)
        lease.tell("news", members: Array(#""x":1"#.utf8))
        #expect(client.read(until: "}\n\n").contains("event: herald.news\ndata: {\"x\":1}\n\n"))
        #expect(holder.gone.load(ordering: .acquiring) == 0)
        let end = Lease.End(status: 401, members: Array(#""a":2"#.utf8), challenge: "", code: 1008, reason: "r")
        try lease.endReader(end)
        #expect(client.read(until: "never").contains("event: herald.end\ndata: {\"a\":2,\"cursor\":"))
        #expect(soon { holder.gone.load(ordering: .acquiring) == 1 })
        // Whoever still has the lease may use it, to no effect.
        lease.tell("news", members: Array(#""x":1"#.utf8))
        try lease.endReader(end)
        #expect(holder.gone.load(ordering: .acquiring) == 1)
    }
}
