import CHeraldHub
import Testing

/// A client of a hub that bounds what one address has.
private func socket(_ hub: TestHub) -> TestSocket { TestSocket(port: hub.port) }

/// Whether the hub has come back to where it was: nobody is counted any more.
private func isEmpty(_ hub: TestHub) -> Bool {
    eventually { hub.statistics().connections == 0 }
}

struct AddressLimitTests {
    @Test(arguments: ["/none", "/sse/a", "/lines/a", "/long/a"])
    func `an address has as many connections as it may, and one more is told so`(target: String) throws {
        let hub = try TestHub(.init(loops: 2, perAddress: 3))
        defer { hub.end() }
        var within = (0..<3).map { _ in socket(hub) }
        for each in within { each.get(target) }
        for each in within where target != "/long/a" { #expect(each.read(until: "HTTP/1.1 ")) }
        #expect(eventually { hub.statistics().accepted == 3 })
        let beyond = socket(hub)
        #expect(beyond.readToEnd())
        #expect(beyond.string.hasPrefix("HTTP/1.1 429 "))
        #expect(beyond.string.contains("/problems/too-many-connections"))
        #expect(beyond.string.contains("Retry-After: "))
        #expect(hub.statistics().address_refusals == 1)
        within.removeFirst()
        #expect(eventually { hub.statistics().connections == 2 })
        let again = socket(hub)
        again.get("/none")
        #expect(again.read(until: "HTTP/1.1 404"))
        let beyondAgain = socket(hub)
        #expect(beyondAgain.readToEnd() && beyondAgain.string.hasPrefix("HTTP/1.1 429 "))
        within.removeAll()
    }

    @Test func `the count falls however connections end`() throws {
        let hub = try TestHub(.init(heartbeat: 200, requestTimeout: 300, idleTimeout: 300, perAddress: 4))
        defer { hub.end() }
        for _ in 0..<5 {
            let reset = socket(hub)
            reset.openWebSocket("/ws/a")
            #expect(reset.read(until: "101"))
            let broken = socket(hub)
            broken.send("nonsense\r\n\r\n")
            let half = socket(hub)
            half.send("GET /none HTTP/1.1\r\n")
            let idle = socket(hub)
            #expect(broken.readToEnd() && broken.string.hasPrefix("HTTP/1.1 "))
            reset.reset()
            #expect(half.readToEnd() && half.string.hasPrefix("HTTP/1.1 408"))
            #expect(idle.readToEnd())
            #expect(isEmpty(hub))
        }
        #expect(hub.statistics().address_refusals == 0)
        let all = (0..<4).map { _ in socket(hub) }
        for each in all {
            each.get("/none")
            #expect(each.read(until: "404"))
        }
    }

    @Test func `a crowd of one address that is refused keeps nobody else out for long`() throws {
        let hub = try TestHub(.init(connections: 2000, perAddress: 1))
        defer { hub.end() }
        let first = socket(hub)
        first.get("/sse/a")
        #expect(first.read(until: "200"))
        let crowd = (0..<400).map { _ in socket(hub) }
        // Not all are told; the rest are closed at once.
        #expect(eventually { hub.statistics().address_refusals == 400 })
        #expect(hub.statistics().connections <= 1 + 257)
        let told = crowd.filter { $0.readToEnd() && $0.string.hasPrefix("HTTP/1.1 429") }.count
        #expect(told >= 256)
        hub.publish("a", "still here")
        #expect(first.read(until: "still here"))
    }

    @Test func `without a bound nobody is counted`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let many = (0..<50).map { _ in socket(hub) }
        for each in many {
            each.get("/none")
            #expect(each.read(until: "404"))
        }
        #expect(hub.statistics().address_refusals == 0)
    }
}

struct ForwardedClientTests {
    @Test(arguments: [
        ("Forwarded: for=192.0.2.7", hr_forwarded_form.HR_FORWARDED_RFC7239, "192.0.2.7 by 127.0.0.1"),
        ("Forwarded: for=192.0.2.8\r\nForwarded: for=192.0.2.7", .HR_FORWARDED_RFC7239, "192.0.2.7 by 127.0.0.1"),
        ("forwarded: for=127.0.0.9", .HR_FORWARDED_RFC7239, "127.0.0.9 by 127.0.0.1"),
        ("X-Forwarded-For: 192.0.2.7", .HR_FORWARDED_RFC7239, "127.0.0.1 by 127.0.0.1"),
        ("X-Forwarded-For: 10.1.1.1, 2001:db8::1", .HR_FORWARDED_X_FOR, "2001:db8::1 by 127.0.0.1"),
        ("Forwarded: for=192.0.2.7", .HR_FORWARDED_X_FOR, "127.0.0.1 by 127.0.0.1"),
        ("X-Forwarded-For: 192.0.2.7", .HR_FORWARDED_NONE, "127.0.0.1 by 127.0.0.1"),
    ])
    func `a request is its client's by the header that is believed`(
        header: String, form: hr_forwarded_form, expected: String
    ) throws {
        let hub = try TestHub(.init(forwarded: form))
        defer { hub.end() }
        let client = socket(hub)
        client.get("/client", "\(header)\r\n")
        #expect(client.readAnswer() && client.bodies == [expected])
    }

    @Test func `a peer that is no proxy is not believed`() throws {
        let hub = try TestHub(.init(forwarded: .HR_FORWARDED_X_FOR, proxies: "10.0.0.0/8"))
        defer { hub.end() }
        let client = socket(hub)
        client.get("/client", "X-Forwarded-For: 192.0.2.7\r\n")
        #expect(client.readAnswer() && client.bodies == ["127.0.0.1 by 127.0.0.1"])
    }

    @Test(arguments: ["/sse/a", "/lines/a", "/ws/a", "/long/a"])
    func `behind a proxy readers are counted by their client's address`(target: String) throws {
        let hub = try TestHub(.init(loops: 2, perAddress: 2, forwarded: .HR_FORWARDED_X_FOR))
        defer { hub.end() }
        func open(_ address: String) -> TestSocket {
            let client = socket(hub)
            let upgrade =
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            client.get(target, "X-Forwarded-For: \(address)\r\n" + (target.hasPrefix("/ws") ? upgrade : ""))
            return client
        }
        func readers() -> UInt64 {
            let stats = hub.statistics().transports
            return [stats.0, stats.1, stats.2, stats.3].reduce(0) { $0 + $1.readers.0 + $1.readers.1 + $1.readers.2 }
        }
        // Connections that are no readers are not counted.
        let idle = (0..<5).map { _ in socket(hub) }
        var one = [open("192.0.2.1"), open("2.2.2.2, 192.0.2.1")]
        #expect(eventually { readers() == 2 })
        let other = [open("2001:db8::1"), open("2001:db8::2")]
        #expect(eventually { readers() == 4 })
        for address in ["192.0.2.1", "2001:db8::abcd"] {
            let beyond = open(address)
            #expect(beyond.read(until: "\r\n\r\n") && beyond.string.hasPrefix("HTTP/1.1 429"))
            // The refusal ends the request, not the proxy's connection.
            beyond.forget()
            beyond.get("/client", "X-Forwarded-For: \(address)\r\n")
            #expect(beyond.readAnswer())
        }
        #expect(hub.statistics().address_refusals == 2)
        one.removeLast()
        #expect(eventually { readers() == 3 })
        let again = open("192.0.2.1")
        #expect(eventually { readers() == 4 })
        #expect(again.hasInput || target == "/long/a" || again.read(until: "HTTP/1.1 "))
        #expect(idle.count == 5 && other.count == 2)
    }

    @Test func `a poll gives its place back when it is answered`() throws {
        let hub = try TestHub(.init(perAddress: 1, forwarded: .HR_FORWARDED_X_FOR))
        defer { hub.end() }
        let (first, second) = (socket(hub), socket(hub))
        for round in 0..<10 {
            for client in [first, second] {
                client.forget()
                client.get("/long/a", "X-Forwarded-For: 192.0.2.1\r\n")
                #expect(eventually { hub.statistics().held_requests == 1 })
                hub.publish("a", "event \(round)")
                #expect(client.read(until: "event \(round)"))
                #expect(eventually { hub.statistics().held_requests == 0 })
            }
        }
        #expect(hub.statistics().address_refusals == 0)
    }
}

struct ReaderRateTests {
    @Test(arguments: [1, 2, 5] as [UInt32])
    func `as many readers begin at once as in a second, over all loops`(rate: UInt32) throws {
        let hub = try TestHub(.init(loops: 4, perSecond: rate))
        defer { hub.end() }
        let clients = (0..<Int(rate) + 40).map { _ in socket(hub) }
        for client in clients { client.get("/sse/a") }
        for client in clients { #expect(client.read(until: "\r\n\r\n")) }
        let begun = clients.filter { $0.string.hasPrefix("HTTP/1.1 200") }
        let refused = clients.filter { $0.string.hasPrefix("HTTP/1.1 503") && $0.string.contains("Retry-After: ") }
        // As long as this may have taken, most of a crowd is too early.
        #expect(begun.count >= Int(rate) && begun.count + refused.count == clients.count)
        #expect(!refused.isEmpty && hub.statistics().busy_refusals == UInt64(refused.count))
        // Who has begun is not touched, and polls are no readers that stay.
        hub.publish("a", "for all")
        for client in begun { #expect(client.read(until: "for all")) }
        let poll = socket(hub)
        poll.get("/short/a")
        #expect(poll.read(until: "200 OK"))
        // Who comes back is let in, in time.
        #expect(
            eventually {
                let client = socket(hub)
                client.openWebSocket("/ws/a")
                return client.read(until: "\r\n\r\n") && client.string.hasPrefix("HTTP/1.1 101")
            })
    }

    @Test func `who is refused for the address uses up nobody's second`() throws {
        let hub = try TestHub(.init(perAddress: 1, perSecond: 1, forwarded: .HR_FORWARDED_X_FOR))
        defer { hub.end() }
        let first = socket(hub)
        first.get("/sse/a", "X-Forwarded-For: 192.0.2.1\r\n")
        #expect(first.read(until: "200 OK"))
        for _ in 0..<20 {
            let beyond = socket(hub)
            beyond.get("/sse/a", "X-Forwarded-For: 192.0.2.1\r\n")
            #expect(beyond.read(until: "HTTP/1.1 429"))
        }
        #expect(hub.statistics().busy_refusals == 0 && hub.statistics().address_refusals == 20)
        #expect(
            eventually {
                let other = socket(hub)
                other.get("/sse/a", "X-Forwarded-For: 192.0.2.2\r\n")
                return other.read(until: "\r\n\r\n") && other.string.hasPrefix("HTTP/1.1 200")
            })
    }
}

struct RetryAfterTests {
    @Test(arguments: [1, 4] as [UInt32])
    func `those who are refused are spread`(most: UInt32) throws {
        let hub = try TestHub(.init(perAddress: 1, retryAfter: most, forwarded: .HR_FORWARDED_X_FOR))
        defer { hub.end() }
        let first = socket(hub)
        first.get("/sse/a", "X-Forwarded-For: 192.0.2.1\r\n")
        #expect(first.read(until: "200 OK"))
        var seen: Set<Int> = []
        let beyond = socket(hub)
        for _ in 0..<60 {
            beyond.forget()
            beyond.get("/sse/a", "X-Forwarded-For: 192.0.2.1\r\n")
            #expect(beyond.readAnswer())
            let seconds = beyond.string.firstMatch(of: #/Retry-After: ([0-9]+)\r\n/#).flatMap { Int($0.1) }
            seen.insert(try #require(seconds))
        }
        // Sixty times the same of four would be one in 10^36.
        #expect(seen.isSubset(of: Set(1...Int(most))) && (most == 1 || seen.count > 1))
    }
}
