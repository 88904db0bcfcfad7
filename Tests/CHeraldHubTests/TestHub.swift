import CHeraldHub
import Dispatch
import Foundation
import Synchronization

/// A hub on a port of the system's, with a handler just large enough to publish and to subscribe by every transport.
final class TestHub: @unchecked Sendable {
    // Set up before the loops run and torn down after they have ended.
    private(set) var hub: OpaquePointer?
    private(set) var log: OpaquePointer?
    private(set) var port: UInt16 = 0
    let drained = Atomic<Bool>(false)
    /// Requests that the handler keeps unanswered: those whose path ends in `/keep`.
    let kept = Mutex<[UInt]>([])
    /// Leases of the readers made of paths that begin with `/leased/`, by the order in which they were made.
    let leases = Mutex<[UInt]>([])
    /// The contexts of leases whose readers have gone: the leases' numbers, from 1.
    let gone = Mutex<[UInt]>([])
    /// How many HTTP requests the handler was given.
    let handled = Atomic<Int>(0)
    /// Where the handler waits, and with it the loop: with each request whose path is `/gate`.
    private let gate = DispatchSemaphore(value: 0)
    private let gateCount = Atomic<Int>(0)

    struct Options {
        var loops: UInt32 = 1
        var ioUring = true
        var streams: UInt32 = 100
        var allowance: UInt32 = 100
        var retainCount: UInt32 = 1000
        var retainAge: UInt64 = 0
        var memory: UInt64 = 64 << 20
        var windowCount: UInt32 = 1024
        var slow: hr_slow_policy = .HR_SLOW_GAP
        var connections: UInt32 = 1000
        var filters: UInt32 = 8
        var heartbeat: UInt32 = 25_000
        var requestTimeout: UInt32 = 10_000
        var drainTimeout: UInt32 = 500
        /// Whether there are header blocks, of which a request's `Block` header chooses one by its number.
        var hasBlocks = false
        var idleTimeout: UInt32 = 60_000
        var perAddress: UInt32 = 0
        var perSecond: UInt32 = 0
        var retryAfter: UInt32 = 5
        var forwarded: hr_forwarded_form = .HR_FORWARDED_NONE
        /// The range of addresses whose word about their clients is taken.
        var proxies: StaticString = "127.0.0.0/8"
    }

    init(_ options: Options = Options()) throws {
        var rule = hr_rule(
            filter: slice("**"),
            retention: hr_retention(count_max: options.retainCount, bytes_max: 64 << 20, age_ms_max: options.retainAge),
            slow: options.slow)
        var logConfig = hr_log_config()
        logConfig.epoch = 0x5f3a_9c1e
        logConfig.retention = rule.retention
        logConfig.rule_count = 1
        logConfig.memory_bytes_max = options.memory
        logConfig.topic_count_max = 10_000
        logConfig.filter_count_max = 10_000
        logConfig.link_count_max = 100_000
        logConfig.window_count = options.windowCount
        logConfig.window_bytes_max = 16 << 20
        logConfig.topic_idle_ms = 60_000
        let logStatus = withUnsafePointer(to: &rule) { rules in
            logConfig.rules = rules
            return hr_log_new(&logConfig, &log)
        }
        guard logStatus == .ok else { throw Refused(status: logStatus) }
        var config = hr_hub_config()
        config.loop_count = options.loops
        config.uses_io_uring = options.ioUring
        config.connection_count_max = options.connections
        config.head_len_max = 16_384
        config.body_len_max = 1 << 20
        config.message_len_max = 1 << 20
        config.filters_per_reader_max = options.filters
        config.request_timeout_ms = options.requestTimeout
        config.idle_timeout_ms = options.idleTimeout
        config.write_timeout_ms = 60_000
        config.heartbeat_ms = options.heartbeat
        config.sse_retry_ms = 2_000
        config.drain_timeout_ms = options.drainTimeout
        config.handshakes_per_turn = 4
        config.h2_streams_max = options.streams
        config.h2_allowance = options.allowance
        config.server_name = slice("test")
        config.fault_headers = slice("X-Fault: yes\r\n")
        let blocks = [slice("X-Block: none\r\n"), slice("X-Block: one\r\nX-More: 1\r\n"), slice("X-Block: two\r\n")]
        config.connections_per_address_max = options.perAddress
        config.readers_per_second_max = options.perSecond
        config.retry_after_s_max = options.retryAfter
        config.forwarded = options.forwarded
        var proxies = hr_address_range()
        try check(hr_address_range_parse(slice(options.proxies), &proxies))
        config.trusted_proxy_count = options.forwarded == .HR_FORWARDED_NONE ? 0 : 1
        var handler = hr_hub_handler()
        handler.context = Unmanaged.passUnretained(self).toOpaque()
        handler.on_request = { request, context in TestHub.from(context).handle(request) }
        handler.on_leases_gone = { contexts, count, context in
            let contexts = UnsafeBufferPointer(start: contexts, count: count)
            TestHub.from(context).gone.withLock { $0 += contexts.map { UInt(bitPattern: $0) } }
        }
        handler.on_drained = { context in TestHub.from(context).drained.store(true, ordering: .releasing) }
        try blocks.withUnsafeBufferPointer { blocks in
            config.header_blocks = blocks.baseAddress
            config.header_block_count = options.hasBlocks ? blocks.count : 0
            try withUnsafePointer(to: &proxies) { ranges in
                config.trusted_proxies = ranges
                try check(hr_hub_new(&config, &handler, log, &hub))
            }
        }
        try check(hr_hub_listen(hub, .HR_LISTEN_PLAIN, "127.0.0.1", 0, &port))
        try check(hr_hub_start(hub))
    }

    struct Refused: Error {
        let status: hr_status
    }

    private func check(_ status: hr_status) throws {
        if status != .ok { throw Refused(status: status) }
    }

    private static func from(_ context: UnsafeMutableRawPointer?) -> TestHub {
        Unmanaged<TestHub>.fromOpaque(context!).takeUnretainedValue()
    }

    /// Stops the loops and frees all.
    func end() {
        for _ in 0..<gateCount.load(ordering: .acquiring) { gate.signal() }
        hr_hub_stop(hub)
        for lease in leases.withLock({ $0 }) {
            var lease = OpaquePointer(bitPattern: lease)
            hr_lease_unref(&lease)
        }
        hr_hub_free(&hub)
        hr_log_free(&log)
    }

    func statistics() -> hr_stats {
        var stats = hr_stats()
        hr_hub_stats_get(hub, &stats)
        return stats
    }

    /// Waits until the loop has come to the gate so often. While it waits there, what is sent to it comes in one turn.
    func untilGate(_ count: Int) -> Bool {
        eventually { gateCount.load(ordering: .acquiring) >= count }
    }

    /// Lets the loop go on.
    func openGate() { gate.signal() }

    /// The sequences that the test's own thread published.
    private(set) var published: [UInt64] = []

    /// Publishes from the test's own thread.
    @discardableResult func publish(_ topic: StaticString, _ text: String) -> hr_receipt {
        var receipt = hr_receipt()
        var text = text
        let status = text.withUTF8 { bytes in
            var publication = hr_publication()
            publication.topic = slice(topic)
            publication.content_type = slice("text/plain")
            publication.data = bytes.withMemoryRebound(to: CChar.self) { hr_slice(data: $0.baseAddress, len: $0.count) }
            return hr_hub_publish(hub, &publication, 1, &receipt, nil)
        }
        precondition(status == .ok)
        published.append(receipt.sequence)
        return receipt
    }

    // On a loop's thread.
    private func handle(_ given: OpaquePointer?) {
        var request = given
        if hr_request_kind_of(request) == .HR_REQUEST_COMMAND {
            handleCommand(&request)
            return
        }
        let path = text(hr_request_path(request))
        handled.add(1, ordering: .acquiringAndReleasing)
        var block = hr_slice()
        if hr_request_find_header(request, slice("block"), &block) {
            hr_request_set_headers(request, Int(text(block))!)
        }
        if path == "/gate" {
            gateCount.add(1, ordering: .acquiringAndReleasing)
            gate.wait()
        }
        if path == "/client" {
            answerClient(&request)
            return
        }
        if path.hasPrefix("/fill/") {
            answerFilled(&request, path: path)
            return
        }
        if path.hasSuffix("/keep") {
            kept.withLock { $0.append(UInt(bitPattern: request)) }
            return
        }
        if path == "/cookie" {
            var cookie = hr_slice()
            let isThere = hr_request_header(request, .HR_NAME_COOKIE, &cookie)
            hr_request_answer(&request, isThere ? 200 : 404, nil, 0, cookie)
            return
        }
        if path.hasSuffix("/drop") {
            hr_request_drop(&request)
            return
        }
        if hr_request_method(request) == .HR_HTTP_POST {
            publishBody(&request, topic: String(path.dropFirst()))
            return
        }
        subscribe(&request, path: path)
    }

    /// The body that answers `/fill/NAME/LENGTH`.
    static func filled(_ name: String, _ length: Int) -> String {
        String(String(repeating: "\(name).", count: length / (name.utf8.count + 1) + 1).prefix(length))
    }

    /// The addresses of the client and of the peer.
    private func answerClient(_ request: inout OpaquePointer?) {
        var addresses = [hr_request_client(request), hr_request_peer(request)]
        let texts = addresses.indices.map { index in
            var text = [CChar](repeating: 0, count: Int(HR_ADDRESS_TEXT_MAX))
            let length = hr_address_format(&addresses[index], &text)
            return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        var body = texts.joined(separator: " by ")
        body.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { body in
                hr_request_answer(&request, 200, nil, 0, hr_slice(data: body.baseAddress, len: body.count))
            }
        }
    }

    private func answerFilled(_ request: inout OpaquePointer?, path: String) {
        let parts = path.split(separator: "/")
        var body = Self.filled(String(parts[1]), Int(parts[2])!)
        body.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { body in
                hr_request_answer(&request, 200, nil, 0, hr_slice(data: body.baseAddress, len: body.count))
            }
        }
    }

    private func publishBody(_ request: inout OpaquePointer?, topic: String) {
        var topic = topic
        topic.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { name in
                var publication = hr_publication()
                publication.topic = hr_slice(data: name.baseAddress, len: name.count)
                publication.content_type = slice("text/plain")
                publication.data = hr_request_body(request)
                var receipt = hr_receipt()
                precondition(hr_hub_publish(hub, &publication, 1, &receipt, nil) == .ok)
                hr_request_answer_published(&request, &publication, &receipt, 1, true)
            }
        }
    }

    /// `/sse/a,b`, `/lines/a`, `/ws/a`, `/long/a`, `/short/a`, with the query `N` for a cursor.
    private func subscribe(_ request: inout OpaquePointer?, path: String) {
        let isLeased = path.hasPrefix("/leased/")
        let parts = path.dropFirst(isLeased ? 7 : 0).split(separator: "/", maxSplits: 1).map(String.init)
        let transports: [String: hr_transport] = [
            "sse": .HR_SSE_STREAM, "lines": .HR_NDJSON_STREAM, "ws": .HR_WEBSOCKET, "long": .HR_LONGPOLL,
            "short": .HR_SHORTPOLL,
        ]
        guard let transport = transports[parts[0]] else {
            hr_request_answer(&request, 404, nil, 0, slice(""))
            return
        }
        var subscription = hr_subscription()
        subscription.transport = transport
        subscription.position = transport == .HR_SHORTPOLL ? .HR_POSITION_EARLIEST : .HR_POSITION_LATEST
        subscription.wait_ms = 20_000
        subscription.max = 1000
        if let sequence = UInt64(text(hr_request_query(request))) {
            subscription.position = .HR_POSITION_CURSOR
            subscription.epoch = 0x5f3a_9c1e
            subscription.sequence = sequence
        }
        if isLeased { subscription.lease = newLease(for: request) }
        let names = parts.count > 1 ? parts[1].split(separator: ",").map { $0.utf8.map(CChar.init(bitPattern:)) } : []
        withSlices(names) { filters in
            subscription.filters = UnsafePointer(filters.baseAddress)
            subscription.filter_count = filters.count
            switch hr_request_subscribe(&request, &subscription) {
            case .ok: break
            case .tooManyOfAddress: hr_request_answer(&request, 429, nil, 0, slice(""))
            case .busy: hr_request_answer(&request, 503, nil, 0, slice(""))
            default: hr_request_answer(&request, 400, nil, 0, slice(""))
            }
        }
    }

    private func newLease(for request: OpaquePointer?) -> OpaquePointer? {
        var lease: OpaquePointer?
        precondition(hr_lease_new(request, &lease) == .ok)
        leases.withLock { leases in
            leases.append(UInt(bitPattern: lease))
            hr_lease_set_context(lease, UnsafeMutableRawPointer(bitPattern: UInt(leases.count)))
        }
        return lease
    }

    /// How many leases there have been.
    var leaseCount: Int { leases.withLock(\.count) }

    /// The leases that were told of.
    var goneLeases: [UInt] { gone.withLock { $0 } }

    /// The lease of a number, from 1.
    func lease(_ number: Int) -> OpaquePointer? {
        leases.withLock { OpaquePointer(bitPattern: $0[number - 1]) }
    }

    private func handleCommand(_ request: inout OpaquePointer?) {
        let command = hr_request_command(request)!.pointee
        switch command.op {
        case .HR_COMMAND_PING, .HR_COMMAND_PUBLISH: hr_request_pong(&request)
        case .HR_COMMAND_RENEW:
            let lease = hr_request_lease(request)
            let number = lease.map { UInt(bitPattern: hr_lease_context($0)) } ?? 0
            hr_request_say(&request, slice("renewed"), number == 1 ? slice(#""lease":1"#) : slice(#""lease":0"#))
        case .HR_COMMAND_SUBSCRIBE:
            var subscription = hr_subscription()
            subscription.position = .HR_POSITION_LATEST
            subscription.filters = UnsafePointer(command.filters)
            subscription.filter_count = command.filter_count
            if hr_request_add_filters(&request, &subscription) != .ok {
                hr_request_refuse(&request, slice("t"), slice("t"), 400, slice("refused"))
            }
        case .HR_COMMAND_UNSUBSCRIBE:
            if hr_request_remove_filters(&request, command.filters, command.filter_count) != .ok {
                hr_request_refuse(&request, slice("t"), slice("t"), 404, slice("not subscribed"))
            }
        }
    }
}

func slice(_ text: StaticString) -> hr_slice {
    hr_slice(data: UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self), len: text.utf8CodeUnitCount)
}

func text(_ slice: hr_slice) -> String {
    guard let data = slice.data else { return "" }
    return String(decoding: UnsafeRawBufferPointer(start: data, count: slice.len), as: UTF8.self)
}

private func withSlices(_ names: [[CChar]], _ body: (UnsafeMutableBufferPointer<hr_slice>) -> Void) {
    var flat: [CChar] = names.flatMap { $0 }
    flat.append(0)
    flat.withUnsafeBufferPointer { bytes in
        var slices: [hr_slice] = []
        var at = 0
        for name in names {
            slices.append(hr_slice(data: bytes.baseAddress! + at, len: name.count))
            at += name.count
        }
        slices.withUnsafeMutableBufferPointer { body($0) }
    }
}

extension hr_stats {
    func polls(isHeld: Bool) -> hr_transport_stats {
        withUnsafeBytes(of: transports) { bytes in
            let transport: hr_transport = isHeld ? .HR_LONGPOLL : .HR_SHORTPOLL
            return bytes.bindMemory(to: hr_transport_stats.self)[Int(transport.rawValue)]
        }
    }
}
