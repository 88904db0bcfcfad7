import Foundation
import HeraldCore
import Synchronization
import Testing

@testable import Herald

/// A clock that tests set.
final class TestClock: Sendable {
    private let seconds = Atomic<Int64>(TestTokens.now)

    /// The seconds since 1970.
    var now: Int64 { seconds.load(ordering: .acquiring) }

    /// Sets it to so many seconds after the tests' beginning.
    func set(_ offset: Int64) { seconds.store(TestTokens.now + offset, ordering: .releasing) }
}

/// The whole service on a hub with one loop, with a clock of the test's own and nobody who sweeps but the test.
final class RunningService {
    let hub: Hub
    let port: UInt16
    let access: Access
    let clock = TestClock()
    let files: TestFiles
    private let maker: TokenMaker

    /// Runs a service whose tokens are signed with the tests' secret for as long as a test lasts. `change` changes its
    /// settings first.
    static func run(
        with change: (inout ServerSettings, TestFiles) throws -> Void = { _, _ in },
        _ body: (RunningService) async throws -> Void
    ) async throws {
        let service = try await RunningService(change)
        do {
            try await body(service)
        } catch {
            await service.stop()
            throw error
        }
        await service.stop()
    }

    private init(_ change: (inout ServerSettings, TestFiles) throws -> Void) async throws {
        files = try TestFiles()
        var settings = ServerSettings()
        settings.loops = 1
        settings.ioUring = false
        // Under a sanitizer a test's thread may be held up for minutes: nobody is cut off for that.
        (settings.heartbeat, settings.idleTimeout, settings.requestTimeout) = (
            .seconds(3600), .seconds(86_400), .seconds(3600)
        )
        settings.tokenSecretFile = try files.write("secret", TestTokens.secret)
        maker = try await TokenMaker(secretFile: files.folder + "secret")
        try change(&settings, files)
        let plan = ServerPlan(settings)
        hub = try Hub(plan.hub, log: try Log(plan.log))
        port = try hub.listen(host: "127.0.0.1", port: 0)
        let clock = clock
        access = try await Access(settings, TestTokens.logger, now: { clock.now })
        try hub.start(
            Service(
                hub: hub, engine: MemoryEngine(hub: hub), access: access, settings: settings, loopCount: 1,
                onDrained: {}))
    }

    private func stop() async {
        while !access.isIdle { try? await Task.sleep(for: .milliseconds(1)) }
        hub.stop()
    }

    /// A token of Alice's that may publish and subscribe to everything, unless `change` makes it another.
    func token(_ change: (inout TokenRequest) -> Void = { _ in }) async throws -> String {
        var request = TokenRequest()
        request.subject = "alice"
        request.publish = ["**"]
        request.subscribe = ["**"]
        change(&request)
        return try await maker.make(request)
    }

    /// Sends one request on a connection of its own and reads the answer.
    func ask(
        _ line: String, as token: String? = nil, headers: [String] = [], body: String = ""
    ) async -> Answer {
        let client = TestClient(port: port)
        let authorization = token.map { ["Authorization: Bearer \($0)"] } ?? []
        client.request(line, ["Connection: close"] + authorization + headers, body)
        return Answer(await client.rest())
    }

    /// Publishes a text.
    func publish(_ text: String, on topic: String, as token: String) async {
        let answer = await ask(
            "POST /v1/events/\(topic)", as: token, headers: ["Content-Type: text/plain"], body: text)
        #expect(answer.status == 201, "\(answer.text)")
    }

    /// Opens a stream of Server-Sent Events, which is there when this returns.
    func stream(_ filter: String = "a/*", as token: String) async -> TestClient {
        let client = TestClient(port: port)
        client.request("GET /v1/events/\(filter)", ["Accept: text/event-stream", "Authorization: Bearer \(token)"])
        #expect(await client.read(until: "retry:").contains("text/event-stream"))
        return client
    }

    /// Opens a WebSocket, which is there when this returns.
    func webSocket(_ target: String, as token: String? = nil) async -> TestClient {
        let client = TestClient(port: port)
        client.request(
            "GET \(target)",
            [
                "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ] + (token.map { ["Authorization: Bearer \($0)"] } ?? []))
        #expect(await client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 101 "))
        return client
    }

    /// The state of a topic; nil if nothing was ever published to it.
    func state(of topic: String) throws -> TopicState? { hub.log.state(of: try TopicName(topic)) }
}

/// How often tests look whether something has come, each a millisecond or more after the other. The bound only keeps a
/// broken server from hanging the suite; it is no time, as other tests may hold up all threads for half a minute.
private let patience = 20_000

/// Waits for a condition.
func soon(_ condition: () -> Bool) async -> Bool {
    for _ in 0..<patience {
        if condition() { return true }
        try? await Task.sleep(for: .milliseconds(1))
    }
    return condition()
}

/// An answer of HTTP.
struct Answer {
    /// All of it.
    let text: String
    /// The status code; 0 if it is no answer.
    let status: Int
    /// What follows the head.
    let body: String

    init(_ text: String) {
        self.text = text
        status = text.hasPrefix("HTTP/1.1 ") ? Int(text.dropFirst(9).prefix(3)) ?? 0 : 0
        body = text.range(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? ""
    }

    /// The last part of the problem's type; nil if it is none.
    var problem: String? {
        body.range(of: "/problems/").map { String(body[$0.upperBound...].prefix { $0 != "\"" }) }
    }

    /// The `WWW-Authenticate` header.
    var challenge: String? {
        text.split(separator: "\r\n").first { $0.hasPrefix("WWW-Authenticate: ") }.map { String($0.dropFirst(18)) }
    }
}

/// A socket to a hub on loopback, on which every byte is the test's own. It waits without holding up a thread, as checks
/// of tokens need those that tests run on.
final class TestClient {
    private let socket: Int32
    private var received: [UInt8] = []
    private var isOver = false

    init(port: UInt16) {
        socket = Foundation.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        precondition(result == 0, "no connection to port \(port)")
    }

    deinit { close(socket) }

    private func send(_ bytes: [UInt8]) {
        let sent = bytes.withUnsafeBytes { Foundation.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        #expect(sent == bytes.count, "the socket took less")
    }

    /// Sends a request.
    func request(_ line: String, _ headers: [String], _ body: String = "") {
        let length = body.isEmpty && line.hasPrefix("GET") ? [] : ["Content-Length: \(body.utf8.count)"]
        send(Array((["\(line) HTTP/1.1", "Host: x"] + length + headers + ["", body]).joined(separator: "\r\n").utf8))
    }

    /// Sends a message of a WebSocket client, its mask all zeros.
    func say(_ text: String) {
        let bytes = Array(text.utf8)
        let length =
            bytes.count < 126 ? [UInt8(bytes.count)] : [126, UInt8(bytes.count >> 8), UInt8(bytes.count & 255)]
        send([0x81, 0x80 | length[0]] + length.dropFirst() + [0, 0, 0, 0] + bytes)
    }

    /// Takes what is there, waiting for something; false: nothing more comes.
    private func fill() async -> Bool {
        var buffer = [UInt8](repeating: 0, count: 4096)
        for _ in 0..<patience where !isOver {
            let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 {
                received += buffer[..<count]
                return true
            }
            isOver = count == 0 || (errno != EAGAIN && errno != EINTR)
            if !isOver { try? await Task.sleep(for: .milliseconds(1)) }
        }
        if !isOver { Issue.record("nothing came, and the connection did not end") }
        return false
    }

    /// Takes what comes up to and with a text, or all of it if that does not come.
    func read(until end: String) async -> String {
        let end = Array(end.utf8)
        var start = 0
        while true {
            while start + end.count <= received.count {
                if received[start..<start + end.count].elementsEqual(end) {
                    defer { received.removeFirst(start + end.count) }
                    return String(decoding: received[..<(start + end.count)], as: UTF8.self)
                }
                start += 1
            }
            guard await fill() else { return await rest() }
        }
    }

    /// Takes all that comes until the end.
    func rest() async -> String {
        while await fill() {}
        defer { received = [] }
        return String(decoding: received, as: UTF8.self)
    }

    /// Takes the messages of a WebSocket up to the first that holds a text, and answers that; or what there was.
    func message(holding text: String) async -> String {
        var seen = ""
        while let frame = await frame() {
            if frame.contains(text) { return frame }
            seen += frame + "\n"
        }
        return "none of: \(seen)"
    }

    /// The next frame's payload; of a close frame the code and the reason.
    private func frame() async -> String? {
        guard let head = await take(2) else { return nil }
        var length = Int(head[1])
        if length == 126 {
            guard let more = await take(2) else { return nil }
            length = Int(more[0]) << 8 | Int(more[1])
        }
        guard let payload = await take(length) else { return nil }
        guard head[0] == 0x88, length >= 2 else { return String(decoding: payload, as: UTF8.self) }
        let code = Int(payload[0]) << 8 | Int(payload[1])
        return "close \(code) \(String(decoding: payload.dropFirst(2), as: UTF8.self))"
    }

    private func take(_ count: Int) async -> [UInt8]? {
        while received.count < count {
            guard await fill() else { return nil }
        }
        defer { received.removeFirst(count) }
        return Array(received[..<count])
    }
}
