import Foundation

/// A blocking client socket that the tests read as they please, or not at all.
final class TestSocket {
    private let descriptor: Int32
    private(set) var received: [UInt8] = []

    init(port: UInt16, receiveBuffer: Int32? = nil) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var size = receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        precondition(connected == 0)
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) {
        let sent = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        precondition(sent == bytes.count)
    }
    func send(_ text: String) { send(Array(text.utf8)) }

    func get(_ target: String, _ headers: String = "") {
        send("GET \(target) HTTP/1.1\r\nHost: test\r\n\(headers)\r\n")
    }
    func openWebSocket(_ target: String) {
        get(
            target,
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
    }
    /// A masked text frame, its mask all zeros.
    func sendMessage(_ text: String) {
        let bytes = Array(text.utf8)
        precondition(bytes.count < 126)
        send([0x81, 0x80 | UInt8(bytes.count), 0, 0, 0, 0] + bytes)
    }

    /// Whether the peer's system has all that was sent: the peer finds it when it looks.
    var isTaken: Bool {
        var count: Int32 = 0
        return ioctl(descriptor, UInt(TIOCOUTQ), &count) == 0 && count == 0
    }

    /// Says that nothing more will be sent.
    func finish() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Breaks the connection.
    func reset() {
        var nowhere = sockaddr()
        nowhere.sa_family = sa_family_t(AF_UNSPEC)
        precondition(connect(descriptor, &nowhere, socklen_t(MemoryLayout<sockaddr>.size)) == 0)
    }

    /// Whether something has come that was not read yet.
    var hasInput: Bool {
        var count: Int32 = 0
        return ioctl(descriptor, UInt(FIONREAD), &count) == 0 && count > 0
    }

    /// Reads until the text has come `count` times, the end, or the socket's patience.
    @discardableResult func read(until text: String, count: Int = 1) -> Bool {
        var searched = 0
        for _ in 0..<count {
            while true {
                if let end = endOfOccurrence(of: text, from: searched) {
                    searched = end
                    break
                }
                // What was searched is not searched again, but for what may be the beginning of the text.
                searched = max(searched, received.count - text.utf8.count + 1)
                if !readSome() { return false }
            }
        }
        return true
    }

    private func endOfOccurrence(of text: String, from start: Int) -> Int? {
        let found = Data(received[start...]).range(of: Data(text.utf8))
        return found.map { start + $0.upperBound }
    }

    /// Reads to the end; false when the peer has not closed in time.
    func readToEnd() -> Bool {
        while readSome() {}
        return errno == 0
    }

    private func readSome() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        errno = 0
        let got = recv(descriptor, &buffer, buffer.count, 0)
        if got <= 0 { return false }
        received.append(contentsOf: buffer[..<got])
        return true
    }

    /// Lets go of what was read.
    func forget() { received = [] }

    /// The bodies of the answers received, by their lengths; of the last, what has come of it.
    var bodies: [String] {
        var bodies: [String] = []
        var rest = received[...]
        while let length = Self.bodyLength(&rest) {
            bodies.append(String(decoding: rest.prefix(length), as: UTF8.self))
            rest = rest.dropFirst(length)
        }
        return bodies
    }

    /// The bodies of answers to polls without `next`, which moves with other topics' events, the server's own too.
    var pages: [String] { bodies.map { $0.replacing(#/"next":"5f3a9c1e-[0-9]+"/#, with: "") } }

    /// Reads one answer to its end, behind which nothing comes.
    func readAnswer() -> Bool {
        var rest = received[...]
        var length = Self.bodyLength(&rest)
        while length == nil, readSome() {
            rest = received[...]
            length = Self.bodyLength(&rest)
        }
        guard let length else { return false }
        let end = rest.startIndex + length
        while received.count < end, readSome() {}
        return received.count == end
    }

    /// Takes a head off bytes, and gives the length of the body behind it; nil when there is no whole head.
    private static func bodyLength(_ bytes: inout ArraySlice<UInt8>) -> Int? {
        guard let end = Data(bytes).range(of: Data("\r\n\r\n".utf8)) else { return nil }
        let head = String(decoding: bytes.prefix(end.lowerBound), as: UTF8.self)
        bytes = bytes.dropFirst(end.upperBound)
        return head.firstMatch(of: #/Content-Length: ([0-9]+)/#).flatMap { Int($0.1) } ?? 0
    }

    var string: String { String(decoding: received, as: UTF8.self) }

    func occurrences(of text: String) -> Int {
        string.components(separatedBy: text).count - 1
    }

    /// The sequences of the events received, in order.
    var sequences: [UInt64] {
        string.components(separatedBy: "{\"id\":\"5f3a9c1e-").dropFirst().compactMap { part in
            UInt64(part.prefix { $0.isNumber })
        }
    }
}

/// Waits for a condition; the deadline only keeps a broken hub from hanging the suite.
func eventually(_ condition: () -> Bool) -> Bool {
    let deadline = Date().addingTimeInterval(30)
    while Date() < deadline {
        if condition() { return true }
        usleep(2000)
    }
    return condition()
}
