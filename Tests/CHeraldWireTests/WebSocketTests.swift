import CHeraldBase
import CHeraldWire
import Testing

/// One item of the parser, copied out.
private enum Item: Equatable {
    case message(hr_ws_opcode, [UInt8])
    case control(hr_ws_opcode, [UInt8])
    case close(UInt16, [UInt8])
    case failure(UInt16)

    static func text(_ text: String) -> Item { .message(.HR_WS_TEXT, Array(text.utf8)) }
}

/// A client's frame; `length` forces a form of the payload's length (7, 16 or 64 bit).
private func frame(
    _ opcode: UInt8, _ payload: [UInt8] = [], final: Bool = true, reserved: UInt8 = 0, masked: Bool = true,
    length: Int? = nil, mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
) -> [UInt8] {
    let form = length ?? (payload.count < 126 ? 7 : payload.count < 65536 ? 16 : 64)
    let bit: UInt8 = masked ? 0x80 : 0
    var bytes = [(final ? 0x80 : 0) | reserved << 4 | opcode]
    switch form {
    case 7: bytes.append(bit | UInt8(payload.count))
    case 16: bytes += [bit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
    default: bytes += [bit | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
    }
    guard masked else { return bytes + payload }
    return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
}

private func text(_ text: String, final: Bool = true) -> [UInt8] { frame(1, Array(text.utf8), final: final) }
private func more(_ text: String, final: Bool = true) -> [UInt8] { frame(0, Array(text.utf8), final: final) }
private func close(_ code: UInt16, _ reason: [UInt8] = []) -> [UInt8] {
    frame(8, [UInt8(code >> 8), UInt8(code & 0xFF)] + reason)
}

/// Feeds pieces to a parser, each from memory of its own, and gathers what comes out until it fails.
@safe private struct Reading: ~Copyable {
    private let parser = UnsafeMutablePointer<hr_ws_parser>.allocate(capacity: 1)
    private(set) var items: [Item] = []
    private(set) var failed = false
    let limit: UInt64
    let deflates: Bool

    init(limit: UInt64, deflates: Bool = false) {
        (self.limit, self.deflates) = (limit, deflates)
        unsafe parser.initialize(to: hr_ws_parser())
        unsafe parser.pointee.deflates = deflates
    }

    deinit {
        unsafe hr_ws_parser_fini(parser)
        unsafe parser.deallocate()
    }

    var memory: Int { unsafe hr_ws_parser_memory(parser) }

    mutating func feed(_ piece: some Collection<UInt8>) {
        guard !failed else { return }
        let bytes = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: piece.count)
        defer { unsafe bytes.deallocate() }
        _ = unsafe bytes.initialize(from: piece)
        var at = 0
        while true {
            var item = unsafe hr_ws_item()
            var used = 0
            let left = unsafe UnsafeMutableRawPointer(bytes.baseAddress! + at).assumingMemoryBound(to: CChar.self)
            let result = unsafe hr_ws_parse(parser, limit, left, piece.count - at, &used, &item)
            at += used
            switch result {
            case .HR_WS_MORE:
                #expect(at == piece.count)
                // The server keeps no parser that says so.
                if unsafe hr_ws_parser_rest(parser) { unsafe hr_ws_parser_fini(parser) }
                unsafe parser.pointee.deflates = deflates
                return
            case .HR_WS_MESSAGE: unsafe items.append(.message(item.opcode, Codec.bytes(item.payload)))
            case .HR_WS_CONTROL where unsafe item.opcode == .HR_WS_CLOSE:
                unsafe items.append(.close(item.code, Codec.bytes(item.payload)))
            case .HR_WS_CONTROL: unsafe items.append(.control(item.opcode, Codec.bytes(item.payload)))
            case .HR_WS_FAIL:
                #expect(unsafe item.what != nil)
                unsafe items.append(.failure(item.code))
                failed = true
                return
            }
        }
    }
}

/// What comes out of bytes, which must not depend on where they are cut.
private func read(_ bytes: [UInt8], limit: UInt64 = 1 << 20, deflates: Bool = false) -> [Item] {
    var whole = Reading(limit: limit, deflates: deflates)
    whole.feed(bytes)
    let expected = whole.items
    var bytewise = Reading(limit: limit, deflates: deflates)
    for byte in bytes { bytewise.feed(CollectionOfOne(byte)) }
    #expect(bytewise.items == expected, "byte by byte")
    for place in stride(from: 0, through: bytes.count, by: bytes.count > 2000 ? 997 : 1) {
        var cut = Reading(limit: limit, deflates: deflates)
        cut.feed(bytes[..<place])
        cut.feed(bytes[place...])
        #expect(cut.items == expected, "cut at \(place)")
    }
    return expected
}

struct WebSocketParserTests {
    @Test func `the example of the RFC is read`() {
        let hello: [UInt8] = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]
        #expect(read(hello) == [.text("Hello")])
    }

    @Test(arguments: [0, 1, 7, 8, 9, 15, 16, 17, 124, 125, 126, 127, 1000, 65535, 65536, 65537])
    func `a message of any length is unmasked`(length: Int) {
        let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        #expect(read(frame(2, payload)) == [.message(.HR_WS_BINARY, payload)])
    }

    @Test func `messages that come together come out one by one`() {
        let bytes = text("one") + frame(9, [1, 2]) + frame(2, []) + frame(10, []) + text("")
        #expect(
            read(bytes) == [
                .text("one"), .control(.HR_WS_PING, [1, 2]), .message(.HR_WS_BINARY, []), .control(.HR_WS_PONG, []),
                .text(""),
            ])
    }

    @Test func `fragments are joined and control frames may stand between them`() {
        let bytes =
            text("a", final: false) + frame(9, [7]) + more("", final: false) + more("bc", final: false) + frame(10, [8])
            + more("d") + text("next")
        #expect(
            read(bytes) == [.control(.HR_WS_PING, [7]), .control(.HR_WS_PONG, [8]), .text("abcd"), .text("next")])
    }

    @Test func `a message of empty fragments is empty`() {
        #expect(read(text("", final: false) + more("", final: false) + more("")) == [.text("")])
        #expect(read(text("", final: false) + more("late")) == [.text("late")])
        #expect(read(text("early", final: false) + more("")) == [.text("early")])
    }

    @Test func `an unmasked frame is a protocol error`() {
        for opcode in [UInt8(1), 2, 8, 9, 10] {
            #expect(read(frame(opcode, [], masked: false)) == [.failure(1002)])
        }
    }

    @Test func `reserved bits are a protocol error`() {
        for bits in UInt8(1)...7 {
            #expect(read(frame(1, [], reserved: bits)) == [.failure(1002)])
            #expect(read(frame(9, [], reserved: bits)) == [.failure(1002)])
        }
    }

    @Test func `reserved opcodes are a protocol error`() {
        for opcode in [UInt8(3), 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            #expect(read(text("ok") + frame(opcode)) == [.text("ok"), .failure(1002)])
        }
    }

    @Test func `a control frame holds 125 bytes and not one more`() {
        let longest = [UInt8](repeating: 0x61, count: 125)
        for opcode in [UInt8(9), 10] {
            let kind: hr_ws_opcode = opcode == 9 ? .HR_WS_PING : .HR_WS_PONG
            #expect(read(frame(opcode, longest)) == [.control(kind, longest)])
            #expect(read(frame(opcode, longest + [0x61])) == [.failure(1002)])
            #expect(read(frame(opcode, [1], length: 64)) == [.failure(1002)])
        }
        #expect(read(close(1000, Array(longest.dropLast(2)))) == [.close(1000, Array(longest.dropLast(2)))])
        #expect(read(close(1000, Array(longest.dropLast(1)))) == [.failure(1002)])
    }

    @Test func `a fragmented control frame is a protocol error`() {
        for opcode in [UInt8(8), 9, 10] { #expect(read(frame(opcode, [], final: false)) == [.failure(1002)]) }
    }

    @Test func `a length must be in its shortest form`() {
        let longest = [UInt8](repeating: 0x61, count: 65535)
        #expect(read(frame(2, Array(longest[..<125]), length: 16)) == [.failure(1002)])
        #expect(read(frame(2, Array(longest[..<126]), length: 16)) == [.message(.HR_WS_BINARY, Array(longest[..<126]))])
        #expect(read(frame(2, Array(longest[..<126]), length: 64)) == [.failure(1002)])
        #expect(read(frame(2, longest, length: 64)) == [.failure(1002)])
        #expect(read(frame(2, longest + [1], length: 64)) == [.message(.HR_WS_BINARY, longest + [1])])
    }

    @Test func `a length with its top bit set is a protocol error`() {
        let head: [UInt8] = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]
        #expect(read(head, limit: .max) == [.failure(1002)])
        let largest: [UInt8] = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4]
        #expect(read(largest) == [.failure(1009)])
        #expect(read(largest, limit: .max) == [])
    }

    @Test func `a continuation needs a message and a message none before it`() {
        #expect(read(more("x")) == [.failure(1002)])
        #expect(read(more("x", final: false)) == [.failure(1002)])
        #expect(read(text("x") + more("y")) == [.text("x"), .failure(1002)])
        #expect(read(text("x", final: false) + text("y")) == [.failure(1002)])
        #expect(read(text("x", final: false) + frame(2, [1])) == [.failure(1002)])
        #expect(read(text("x", final: false) + more("y") + more("z")) == [.text("xy"), .failure(1002)])
    }

    @Test func `a message may be as long as the limit and not one byte longer`() {
        #expect(read(text("1234"), limit: 4) == [.text("1234")])
        #expect(read(text("12345"), limit: 4) == [.failure(1009)])
        #expect(read(text("12", final: false) + more("34"), limit: 4) == [.text("1234")])
        #expect(read(text("12", final: false) + more("345"), limit: 4) == [.failure(1009)])
        #expect(read(text("1234", final: false) + more("", final: false) + more("5"), limit: 4) == [.failure(1009)])
        #expect(read(text("") + text("1"), limit: 0) == [.text(""), .failure(1009)])
    }

    @Test func `a message that is too big fails before its payload has come`() {
        var reading = Reading(limit: 100)
        reading.feed(frame(2, [UInt8](repeating: 0, count: 101)).prefix(6))
        #expect(reading.items == [.failure(1009)])
        #expect(reading.memory == 0)
    }

    @Test func `the limit is for messages and not for control frames`() {
        #expect(read(frame(9, [1, 2, 3]), limit: 0) == [.control(.HR_WS_PING, [1, 2, 3])])
    }
}

struct WebSocketTextTests {
    @Test func `text is UTF-8 across frames`() {
        let bytes = Array("κόσμε 😀".utf8)
        for place in 0...bytes.count {
            let frames = frame(1, Array(bytes[..<place]), final: false) + frame(0, Array(bytes[place...]))
            #expect(read(frames) == [.message(.HR_WS_TEXT, bytes)])
        }
    }

    @Test(
        arguments: [[0x80], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0x61, 0xFF]] as [[UInt8]])
    func `text that is not UTF-8 is refused with 1007`(bytes: [UInt8]) {
        #expect(read(frame(1, bytes)) == [.failure(1007)])
        #expect(
            read(text("good", final: false) + frame(9) + frame(0, bytes)) == [
                .control(.HR_WS_PING, []), .failure(1007),
            ])
        #expect(read(frame(2, bytes)) == [.message(.HR_WS_BINARY, bytes)])
    }

    @Test func `text may not end inside a character`() {
        #expect(read(frame(1, [0x61, 0xE2, 0x82])) == [.failure(1007)])
        #expect(read(frame(1, [0xE2, 0x82], final: false) + frame(0, [])) == [.failure(1007)])
        #expect(read(frame(1, [0xE2, 0x82], final: false) + frame(0, [0xAC])) == [.text("€")])
    }

    @Test func `one text's end does not leak into the next`() {
        #expect(read(frame(1, [0xE2], final: false) + frame(0, [0x82, 0xAC]) + text("a")) == [.text("€"), .text("a")])
        #expect(read(frame(2, [0xE2]) + text("a")) == [.message(.HR_WS_BINARY, [0xE2]), .text("a")])
    }

    @Test func `bad text fails at its first bad byte`() {
        // Within a frame, and within a fragment, whose rest never comes (Autobahn 6.4.2 to 6.4.4).
        let good = Array("κόσμε".utf8)
        let bad = good + [0xF4, 0x90, 0x80, 0x80] + good
        for opening in [frame(1, bad), frame(1, bad, final: false)] {
            var reading = Reading(limit: 1000)
            reading.feed(opening.prefix(6 + good.count + 1))
            #expect(reading.items == [])
            reading.feed(opening[(6 + good.count + 1)...].prefix(1))
            #expect(reading.items == [.failure(1007)])
        }
    }
}

struct WebSocketCloseTests {
    @Test func `a close without a code reads as 1005`() { #expect(read(frame(8)) == [.close(1005, [])]) }

    @Test func `a close of one byte is a protocol error`() { #expect(read(frame(8, [3])) == [.failure(1002)]) }

    @Test func `a close code is one that may be sent`() {
        let allowed = Set([1000, 1001, 1002, 1003] + Array(1007...1014) + Array(3000...4999)).map { UInt16($0) }
        for code in UInt16.min ... .max {
            var reading = Reading(limit: 0)
            reading.feed(close(code))
            guard reading.items != [.failure(1002)] else { continue }
            #expect(reading.items == [.close(code, [])])
            #expect(allowed.contains(code), "\(code)")
        }
        for code in allowed { #expect(read(close(code)) == [.close(code, [])]) }
    }

    @Test func `a close reason is UTF-8`() {
        #expect(read(close(1000, Array("tschüß".utf8))) == [.close(1000, Array("tschüß".utf8))])
        #expect(read(close(1000, [0xFF])) == [.failure(1007)])
        #expect(read(close(1000, [0xE2, 0x82])) == [.failure(1007)])
    }
}

struct WebSocketMemoryTests {
    @Test func `the parser is small`() { #expect(unsafe MemoryLayout<hr_ws_parser>.size <= 64) }

    @Test func `a frame that comes whole holds no memory`() {
        var reading = Reading(limit: 1000)
        reading.feed(text("hello") + frame(9, [1]))
        #expect(reading.items.count == 2)
        #expect(reading.memory == 0)
    }

    @Test func `a claimed length takes no memory before bytes come`() {
        var reading = Reading(limit: .max)
        reading.feed(frame(2, [UInt8](repeating: 1, count: 70000)).prefix(14 + 100))
        #expect(reading.memory > 100 && reading.memory < 1000)
    }

    @Test func `memory is let go when the next call begins`() {
        var reading = Reading(limit: 1000)
        reading.feed(text("a", final: false) + frame(9, [1, 2, 3]).prefix(7))
        #expect(reading.memory > 0)
        reading.feed(frame(9, [1, 2, 3]).dropFirst(7) + more("b"))
        #expect(reading.items == [.control(.HR_WS_PING, [1, 2, 3]), .text("ab")])
        #expect(reading.memory == 0)
    }
}

struct WebSocketEncoderTests {
    @Test(
        arguments: [
            (0, [0x82, 0]), (125, [0x82, 125]), (126, [0x82, 126, 0, 126]), (65535, [0x82, 126, 0xFF, 0xFF]),
            (65536, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]), (1 << 40, [0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0]),
        ] as [(UInt64, [UInt8])])
    func `a head has the shortest length`(length: UInt64, expected: [UInt8]) {
        var head = [CChar](repeating: 0x55, count: Int(HR_WS_HEAD_MAX))
        let count = unsafe hr_ws_head(.HR_WS_BINARY, length, &head)
        #expect(head.prefix(count).map { UInt8(bitPattern: $0) } == expected)
        #expect(head.dropFirst(count).allSatisfy { $0 == 0x55 })
    }

    @Test func `a frame is its head and its payload`() {
        for length in [0, 5, 125, 126, 65536] {
            let payload = [UInt8](repeating: 0x61, count: length)
            let output = unsafe Codec.withSlice(payload) { slice in
                unsafe Codec.output { unsafe hr_ws_frame_append($0, .HR_WS_TEXT, slice) }
            }
            #expect(output.status == .ok)
            #expect(output.bytes == frame(1, payload, masked: false))
        }
    }

    private func closing(_ code: UInt16, _ reason: String) -> [UInt8] {
        let output = unsafe Codec.withSlice(reason) { slice in
            unsafe Codec.output { unsafe hr_ws_close_append($0, code, slice) }
        }
        #expect(output.status == .ok)
        return output.bytes
    }

    @Test func `a close frame carries code and reason`() {
        #expect(closing(1001, "bye") == [0x88, 5, 0x03, 0xE9, 0x62, 0x79, 0x65])
        #expect(closing(4999, "") == [0x88, 2, 0x13, 0x87])
        #expect(closing(0, "unsaid") == [0x88, 0])
        #expect(closing(1005, "unsaid") == [0x88, 0])
    }

    @Test func `a long reason is cut at a character`() {
        #expect(closing(1000, String(repeating: "x", count: 123)).count == 127)
        #expect(closing(1000, String(repeating: "x", count: 124)).count == 127)
        for offset in 0..<4 {
            let reason = String(repeating: "x", count: 118 + offset) + "😀😀"
            let bytes = closing(1000, reason)
            #expect(bytes.count <= 127)
            #expect(Int(bytes[1]) == bytes.count - 2)
            let kept = String(validating: bytes[4...], as: UTF8.self)
            #expect(kept == String(repeating: "x", count: 118 + offset) + (offset < 2 ? "😀" : ""))
        }
    }
}

struct WebSocketAcceptTests {
    private func accept(_ key: String) -> (status: hr_status, text: String) {
        var out = [CChar](repeating: 0x2E, count: Int(HR_WS_ACCEPT_LEN))
        let status = unsafe Codec.withSlice(key) { unsafe hr_ws_accept($0, &out) }
        return (status, String(decoding: out.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    @Test func `the examples of the RFCs are answered`() {
        #expect(accept("dGhlIHNhbXBsZSBub25jZQ==").text == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(accept("x3JJHMbDL1EzLkh9GBhXDw==").text == "HSmrc0sMlYUkAGmm5OPpG2HaGWk=")
    }

    @Test(arguments: [
        "", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZXM=", "dGhlIHNhbXBsZSBub25jZQ==\n", " dGhlIHNhbXBsZSBub25jZQ==",
        "dGhl!HNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZXNzZXM=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ])
    func `a key that is not sixteen bytes is refused`(key: String) {
        let answer = accept(key)
        #expect(answer.status == .invalid)
        #expect(answer.text == String(repeating: ".", count: 28))
    }
}

private func deflated(_ text: [UInt8]) -> [UInt8] {
    unsafe Codec.withSlice(text) { slice in
        let room = text.count + 64
        let out = UnsafeMutablePointer<CChar>.allocate(capacity: room)
        defer { unsafe out.deallocate() }
        let length = unsafe hr_deflate(slice, 15, out, room)
        precondition(length > 4)
        return unsafe Codec.bytes(hr_slice(data: out, len: length - 4))
    }
}

struct CompressedMessageTests {
    /// "Hello" as the RFC compresses it: by Huffman codes, stored, in a final block, in two blocks (RFC 7692 §7.2.3).
    static let hellos: [[UInt8]] = [
        [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
        [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
        [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
        [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
    ]

    @Test(arguments: hellos)
    func `the examples of the RFC are read, whole and in fragments`(hello: [UInt8]) {
        #expect(read(frame(1, hello, reserved: 4), deflates: true) == [.text("Hello")])
        let fragments =
            frame(1, Array(hello.prefix(3)), final: false, reserved: 4) + frame(9, [1])
            + frame(0, Array(hello.dropFirst(3))) + text("plain")
        #expect(read(fragments, deflates: true) == [.control(.HR_WS_PING, [1]), .text("Hello"), .text("plain")])
    }

    @Test func `an empty message may be compressed too`() {
        #expect(
            read(frame(1, [0], reserved: 4) + frame(2, [], reserved: 4), deflates: true) == [
                .text(""), .message(.HR_WS_BINARY, []),
            ])
    }

    @Test func `the reserved bit is for the first frame of a message, where it was agreed on`() {
        let hello = Self.hellos[0]
        #expect(read(frame(1, hello, reserved: 4)) == [.failure(1002)])
        let inside = frame(1, Array(hello.prefix(3)), final: false, reserved: 4)
        #expect(read(inside + frame(0, Array(hello.dropFirst(3)), reserved: 4), deflates: true) == [.failure(1002)])
        for opcode: UInt8 in [8, 9, 10] {
            #expect(read(frame(opcode, [], reserved: 4), deflates: true) == [.failure(1002)])
        }
        for reserved: UInt8 in [1, 2, 5, 6, 7] {
            #expect(read(frame(1, hello, reserved: reserved), deflates: true) == [.failure(1002)])
        }
    }

    @Test(arguments: [
        [0x07], [0xF2, 0x48], [0x00, 0x05, 0x00, 0x00, 0x00], [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48],
        [0xFF, 0xFF, 0xFF, 0xFF], [0x02, 0x02, 0x00], [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x07],
    ])
    func `what cannot be inflated closes with 1007`(payload: [UInt8]) {
        #expect(read(frame(2, payload, reserved: 4), deflates: true) == [.failure(1007)])
    }

    @Test func `text is held to UTF-8 after it is inflated`() {
        #expect(read(frame(1, deflated([0x61, 0xFF]), reserved: 4), deflates: true) == [.failure(1007)])
        #expect(read(frame(1, deflated([0xE2, 0x82]), reserved: 4), deflates: true) == [.failure(1007)])
        #expect(
            read(frame(2, deflated([0xFF]), reserved: 4), deflates: true) == [.message(.HR_WS_BINARY, [0xFF])])
    }

    @Test func `a message at the limit is taken, one byte more is not, however small it came`() {
        let message = [UInt8](repeating: 0x61, count: 5000)
        let compressed = frame(1, deflated(message), reserved: 4)
        #expect(compressed.count < 60)
        #expect(read(compressed, limit: 5000, deflates: true) == [.message(.HR_WS_TEXT, message)])
        #expect(read(compressed, limit: 4999, deflates: true) == [.failure(1009)])
    }

    @Test func `what does not shrink may be as long as the limit, and not much longer`() {
        var random = CodecRandom(seed: 7)
        let message = random.bytes(5000)
        let compressed = deflated(message)
        #expect(compressed.count > 5000)
        let whole = frame(2, compressed, reserved: 4)
        #expect(read(whole, limit: 5000, deflates: true) == [.message(.HR_WS_BINARY, message)])
        let limit = hr_deflate_len_max(5000)
        let long = frame(2, [UInt8](repeating: 0, count: Int(limit) + 1), final: false, reserved: 4)
        #expect(read(long, limit: 5000, deflates: true) == [.failure(1009)])
    }

    @Test func `a bomb holds no more memory than the limit, and none when it is over`() {
        var bomb = [UInt8](repeating: 0x61, count: 8 << 20)
        bomb = frame(2, deflated(bomb), reserved: 4)
        var reading = Reading(limit: 100_000, deflates: true)
        for start in stride(from: 0, to: bomb.count, by: 1000) {
            reading.feed(bomb[start..<min(start + 1000, bomb.count)])
            #expect(reading.memory < 200_000)
        }
        #expect(reading.items == [.failure(1009)])
        #expect(reading.memory == 0)
    }
}
