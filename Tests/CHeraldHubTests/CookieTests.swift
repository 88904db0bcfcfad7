import CHeraldHub
import Foundation
import Testing

/// A cookie that HTTP/2 brings in pieces (RFC 9113 §8.2.3), as the handler gets it.
@Suite struct CookieTests {
    /// A text with its length before it (RFC 7541 §5.2), of fewer bytes than the length's first byte can tell.
    private func string(_ text: String) -> [UInt8] {
        precondition(text.utf8.count < 127)
        return [UInt8(text.utf8.count)] + Array(text.utf8)
    }

    private func frame(_ kind: UInt8, _ flags: UInt8, stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
        precondition(payload.count < 1 << 14)
        return [0, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF), kind, flags, 0, 0, 0, stream] + payload
    }

    /// A client that has asked for `/cookie` with these pieces, and another field between the first and the rest.
    private func ask(_ hub: TestHub, _ pieces: [String]) -> TestSocket {
        // Names by HPACK's static table: GET and http whole, :path, :authority and cookie by their numbers.
        var fields: [UInt8] = [0x82, 0x86, 0x04] + string("/cookie") + [0x01] + string("test")
        for (index, piece) in pieces.enumerated() {
            fields += [0x0F, 0x11] + string(piece)
            if index == 0 { fields += [0x00] + string("x") + string("between") }
        }
        let socket = TestSocket(port: hub.port)
        socket.send(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(4, 0, stream: 0, []))
        socket.send(frame(1, 0x05, stream: 1, fields))
        return socket
    }

    /// Each with the frame of DATA around it that the answer's body is.
    @Test(arguments: [
        (["a=1"], "a=1"), (["a=1", "b=2", "c=3"], "a=1; b=2; c=3"), (["a=1; b=2", "c=3"], "a=1; b=2; c=3"),
        (["", "b=2"], "b=2"),
    ])
    func `the pieces of a cookie are one field, in their order`(pieces: [String], joined: String) throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = ask(hub, pieces)
        #expect(socket.read(until: "\0\0\(Unicode.Scalar(UInt8(joined.utf8.count)))\0\u{1}\0\0\0\u{1}\(joined)"))
    }

    @Test func `more pieces than a head may have fields are a cookie still`() throws {
        let hub = try TestHub()
        defer { hub.end() }
        let pieces = (0..<200).map { "n\($0)=v" }
        let socket = ask(hub, pieces)
        #expect(socket.read(until: pieces.joined(separator: "; ")))
    }

    /// Names and values count as they came, so that pieces of little each are bounded, too.
    @Test(arguments: [(1_254, true), (1_255, false)])
    func `the pieces of a cookie count as part of the head`(count: Int, isTaken: Bool) throws {
        let hub = try TestHub()
        defer { hub.end() }
        let socket = ask(hub, Array(repeating: "a=1", count: count))
        #expect(socket.read(until: isTaken ? "a=1; a=1" : "/problems/head-too-large"))
        #expect(hub.handled.load(ordering: .acquiring) == (isTaken ? 1 : 0))
    }
}
