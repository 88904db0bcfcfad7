import NIOCore
import NIOPosix
import Synchronization

@testable import HeraldClient

/// A request as it came in.
struct ScriptedRequest: Sendable {
    var line: String
    var headers: [String: String]
    var body: [UInt8]

    /// Whether it asks for a WebSocket.
    var isUpgrade: Bool { headers["upgrade"] == "websocket" }

    /// Whether it asks for an event stream.
    var isEventStream: Bool { headers["accept"] == "text/event-stream" }

    /// The path and query of the request line.
    var target: String { String(line.split(separator: " ")[1]) }

    /// The value of a query field, still percent-encoded.
    func query(_ name: String) -> String? {
        let fields = target.split(separator: "?", maxSplits: 1).dropFirst().first?.split(separator: "&") ?? []
        return fields.first { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.count + 1)) }
    }
}

/// The server's end of one connection, driven by a script.
final class ScriptedPeer {
    struct Ended: Error {}

    private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private let log: @Sendable (ScriptedRequest) -> Void
    private var buffer: [UInt8] = []

    init(
        _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>, _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>,
        _ log: @escaping @Sendable (ScriptedRequest) -> Void
    ) {
        self.inbound = inbound.makeAsyncIterator()
        self.outbound = outbound
        self.log = log
    }

    /// Reads the next request with its body.
    func request() async throws -> ScriptedRequest {
        var end = Self.endOfHead(buffer)
        while end == nil {
            try await readMore()
            end = Self.endOfHead(buffer)
        }
        let lines = String(decoding: try await take(end!), as: UTF8.self).split(separator: "\r\n")
        var request = ScriptedRequest(line: String(lines[0]), headers: [:], body: [])
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            request.headers[parts[0].lowercased()] = parts[1].trimmingPrefix { $0 == " " }.description
        }
        request.body = try await take(Int(request.headers["content-length"] ?? "0")!)
        log(request)
        return request
    }

    /// Sends text as it is.
    func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }

    /// Sends a whole answer.
    func answer(_ status: String, _ body: String, type: String = "application/json", _ more: String = "") async throws {
        try await send(
            "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\n\(more)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }

    /// Sends the head of an event stream.
    func beginEventStream() async throws {
        try await send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    }

    /// Shakes hands as a WebSocket server; what follows can ride along in the same packet.
    func acceptWebSocket(with frames: [[UInt8]] = []) async throws -> ScriptedRequest {
        let request = try await request()
        try await upgrade(request, with: frames)
        return request
    }

    /// Answers a request for a WebSocket.
    func upgrade(_ request: ScriptedRequest, with frames: [[UInt8]] = []) async throws {
        let accept = SHA1.base64(request.headers["sec-websocket-key"]! + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Accept: \(accept)\r\nSec-WebSocket-Protocol: herald.v1\r\n\r\n"
        try await outbound.write(ByteBuffer(bytes: Array(head.utf8) + frames.flatMap { $0 }))
    }

    func send(frame: [UInt8]) async throws { try await outbound.write(ByteBuffer(bytes: frame)) }

    /// An unmasked frame.
    static func frame(_ opcode: UInt8, _ payload: [UInt8]) -> [UInt8] {
        let length = payload.count
        let head = length < 126 ? [UInt8(length)] : [126, UInt8(length >> 8), UInt8(length & 0xFF)]
        return [0x80 | opcode] + head + payload
    }

    static func text(_ text: String) -> [UInt8] { frame(1, Array(text.utf8)) }

    /// Reads a masked frame of up to 125 bytes.
    func frame() async throws -> (opcode: UInt8, payload: [UInt8]) {
        let head = try await take(2)
        let mask = try await take(4)
        let payload = try await take(Int(head[1] & 0x7F))
        return (head[0] & 0x0F, payload.enumerated().map { $1 ^ mask[$0 % 4] })
    }

    /// Pings, and waits for the pong: the client has then read all that was sent before.
    func ping() async throws {
        try await send(frame: Self.frame(9, []))
        while try await frame().opcode != 10 {}
    }

    /// Waits until the client has gone.
    func untilClosed() async throws {
        while try await inbound.next() != nil {}
    }

    private func take(_ count: Int) async throws -> [UInt8] {
        while buffer.count < count { try await readMore() }
        defer { buffer.removeFirst(count) }
        return Array(buffer.prefix(count))
    }

    private func readMore() async throws {
        guard let piece = try await inbound.next() else { throw Ended() }
        buffer.append(contentsOf: piece.readableBytesView)
    }

    private static func endOfHead(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        return (0...(bytes.count - 4)).first { Array(bytes[$0..<($0 + 4)]) == [13, 10, 13, 10] }.map { $0 + 4 }
    }
}

/// A server on loopback that does to its n-th connection what the script says, and keeps what it was asked.
final class ScriptedServer: Sendable {
    typealias Script = @Sendable (_ connection: Int, _ peer: ScriptedPeer) async throws -> Void

    let port: Int
    private let log = Mutex<[ScriptedRequest]>([])

    var url: String { "http://127.0.0.1:\(port)" }
    var requests: [ScriptedRequest] { log.withLock { $0 } }

    private init(port: Int) { self.port = port }

    static func run(
        _ script: @escaping Script, isolation: isolated (any Actor)? = #isolation,
        _ body: (ScriptedServer) async throws -> Void
    ) async throws {
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(ChannelOptions.socketOption(.so_reuseaddr), value: 1)
            // Nothing is read before a script does: a connection that no script gets is dropped, and must be empty.
            .childChannelOption(.autoRead, value: false)
            .bind(host: "127.0.0.1", port: 0) { channel in channel.eventLoop.makeSucceededFuture(channel) }
        let server = ScriptedServer(port: listener.channel.localAddress!.port!)
        let accepting = Task {
            try await listener.executeThenClose { connections in
                try await withThrowingDiscardingTaskGroup { group in
                    var count = 0
                    for try await connection in connections {
                        count += 1
                        let number = count
                        group.addTask { await server.serve(connection, number, script) }
                    }
                }
            }
        }
        do {
            try await body(server)
        } catch {
            accepting.cancel()
            throw error
        }
        accepting.cancel()
        _ = await accepting.result
    }

    private func serve(_ channel: any Channel, _ number: Int, _ script: Script) async {
        // A script ends by returning, or by the client's going; both close the connection.
        let connection = try? await channel.eventLoop.submit {
            try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }.get()
        try? await connection?.executeThenClose { inbound, outbound in
            try await channel.setOption(.autoRead, value: true).get()
            let peer = ScriptedPeer(inbound, outbound) { request in self.log.withLock { $0.append(request) } }
            try await script(number, peer)
        }
    }
}

/// SHA-1 (FIPS 180-4), which a WebSocket handshake needs and no test target offers.
enum SHA1 {
    static func base64(_ text: String) -> String {
        var message = Array(text.utf8)
        let bits = UInt64(message.count) * 8
        message.append(0x80)
        while message.count % 64 != 56 { message.append(0) }
        for shift in stride(from: 56, through: 0, by: -8) { message.append(UInt8(truncatingIfNeeded: bits >> shift)) }
        var hash: [UInt32] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0]
        for start in stride(from: 0, to: message.count, by: 64) { mix(message[start..<(start + 64)], into: &hash) }
        return encode(hash.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * $0)) } })
    }

    private static func mix(_ block: ArraySlice<UInt8>, into hash: inout [UInt32]) {
        func rotate(_ word: UInt32, _ by: UInt32) -> UInt32 { word << by | word >> (32 - by) }
        var words = (0..<16).map { index in
            (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(block[block.startIndex + index * 4 + $1]) }
        }
        for index in 16..<80 {
            words.append(rotate(words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16], 1))
        }
        var (a, b, c, d, e) = (hash[0], hash[1], hash[2], hash[3], hash[4])
        for (index, word) in words.enumerated() {
            let (f, k): (UInt32, UInt32) =
                switch index / 20 {
                case 0: ((b & c) | (~b & d), 0x5A82_7999)
                case 1: (b ^ c ^ d, 0x6ED9_EBA1)
                case 2: ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC)
                default: (b ^ c ^ d, 0xCA62_C1D6)
                }
            (a, b, c, d, e) = (rotate(a, 5) &+ f &+ e &+ k &+ word, a, rotate(b, 30), c, d)
        }
        for (index, word) in [a, b, c, d, e].enumerated() { hash[index] &+= word }
    }

    private static func encode(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var text = ""
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let part = bytes[start..<min(start + 3, bytes.count)]
            let bits = part.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << (8 * UInt32(3 - part.count))
            for place in 0..<4 {
                text.append(place <= part.count ? alphabet[Int(bits >> (18 - 6 * UInt32(place)) & 63)] : "=")
            }
        }
        return text
    }
}

/// An event's JSON as the server would send it.
func eventJSON(_ sequence: Int, topic: String = "orders/42", epoch: String = "5f3a9c1e") -> String {
    """
    {"id":"\(epoch)-\(sequence)","topic":"\(topic)","time":"2026-01-02T03:04:05.678Z",\
    "datacontenttype":"application/json","data":{"n":\(sequence)}}
    """
}

/// The same as one block of an event stream.
func eventBlock(_ sequence: Int, epoch: String = "5f3a9c1e") -> String {
    "id: \(epoch)-\(sequence)\ndata: \(eventJSON(sequence, epoch: epoch))\n\n"
}

/// A configuration that tries again at once.
func impatient(_ change: (inout ClientConfiguration) -> Void = { _ in }) -> ClientConfiguration {
    var configuration = ClientConfiguration()
    configuration.retry.baseDelay = .milliseconds(1)
    configuration.retry.delayMax = .milliseconds(5)
    configuration.requestTimeout = .seconds(5)
    change(&configuration)
    return configuration
}

/// What a subscription gave, in short: events by their sequence.
func brief(_ delivery: Delivery) -> String {
    switch delivery {
    case .event(let event): "\(event.id.sequence)"
    case .gap(let gap): "gap \(gap.from.sequence)-\(gap.to.sequence) \(gap.reason)"
    case .resumed(let cursor): "resumed \(cursor.sequence)"
    case .reset(let gap): "reset \(gap.reason)"
    case .state(.connected): "connected"
    case .state(.waiting): "waiting"
    case .state(.changing(let transport, _)): "changing to \(transport)"
    }
}

/// Reads deliveries until there were so many events.
func read(_ iterator: inout Deliveries.Iterator, events: Int) async throws -> [String] {
    var seen: [String] = []
    var count = 0
    while count < events, let delivery = try await iterator.next() {
        seen.append(brief(delivery))
        if case .event = delivery { count += 1 }
    }
    return seen
}
