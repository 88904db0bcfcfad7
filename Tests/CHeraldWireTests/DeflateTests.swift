import CHeraldBase
import CHeraldWire
import Testing

/// Deflate as the tests see it: bytes in, bytes out.
private enum Deflate {
    /// The blocks of a text; nil where they do not fit into so many bytes.
    static func blocks(of text: [UInt8], window: UInt32 = 15, room: Int? = nil) -> [UInt8]? {
        let room = room ?? text.count + 64
        return unsafe output(room) { out in
            unsafe Codec.withSlice(text) { unsafe hr_deflate($0, window, out, room) }
        }
    }

    static func stored(_ text: [UInt8]) -> [UInt8] {
        unsafe output(hr_deflate_stored_len(text.count)) { out in
            unsafe Codec.withSlice(text) { unsafe hr_deflate_store($0, out) }
        } ?? []
    }

    static func inflated(_ blocks: [UInt8], limit: UInt64 = 1 << 24) -> (status: hr_status, bytes: [UInt8]) {
        unsafe Codec.withSlice(blocks) { slice in
            unsafe Codec.output { unsafe hr_inflate_append($0, slice, limit) }
        }
    }

    private static func output(_ room: Int, _ fill: (UnsafeMutablePointer<CChar>) -> Int) -> [UInt8]? {
        let out = UnsafeMutablePointer<CChar>.allocate(capacity: max(room, 1))
        defer { unsafe out.deallocate() }
        let length = unsafe fill(out)
        precondition(length <= room)
        return length == 0 ? nil : unsafe Codec.bytes(hr_slice(data: out, len: length))
    }
}

private let tail: [UInt8] = [0, 0, 0xFF, 0xFF]

struct DeflateTests {
    @Test(arguments: [1, 2, 100, 255, 256, 4096, 65_535, 65_536, 300_000], [UInt32(9), 12, 15])
    func `a text comes out as it went in, whatever the window`(length: Int, window: UInt32) throws {
        var random = CodecRandom(seed: UInt64(length))
        let words = (0..<20).map { _ in random.bytes(7) }
        let text = Array((0..<length / 7 + 1).flatMap { _ in words.randomElement(using: &random)! }.prefix(length))
        let blocks = try #require(Deflate.blocks(of: text, window: window))
        #expect(blocks.suffix(4) == tail[...])
        #expect(Deflate.inflated(blocks.dropLast(4)) == (.ok, text))
        if length > 4096 { #expect(blocks.count < length / 2) }
    }

    @Test func `each text is compressed by itself`() throws {
        let text = Array(String(repeating: "the same words again ", count: 20).utf8)
        let first = try #require(Deflate.blocks(of: text))
        _ = Deflate.blocks(of: [1, 2, 3], window: 9)
        #expect(Deflate.blocks(of: text) == first)
    }

    @Test func `blocks that leave no byte of the room over are given up`() throws {
        var random = CodecRandom(seed: 1)
        for text in [random.bytes(1000), Array(repeating: 0x61, count: 1000)] {
            let blocks = try #require(Deflate.blocks(of: text))
            #expect(Deflate.blocks(of: text, room: blocks.count + 1) == blocks)
            for room in [blocks.count, blocks.count - 1, 1] { #expect(Deflate.blocks(of: text, room: room) == nil) }
        }
    }

    @Test(arguments: [0, 1, 65_534, 65_535, 65_536, 131_070, 131_071, 200_000])
    func `stored blocks hold a text of any length as it is`(length: Int) {
        var random = CodecRandom(seed: 3)
        let text = random.bytes(length)
        let blocks = Deflate.stored(text)
        #expect(blocks.count == hr_deflate_stored_len(length))
        #expect(blocks.count == length + (length + 65_534) / 65_535 * 5)
        #expect(Deflate.inflated(blocks + [0]) == (.ok, text))
    }

    @Test func `blocks of one kind and the other may follow each other`() throws {
        let text = Array("words and words and words".utf8)
        let all = Deflate.stored(text) + (try #require(Deflate.blocks(of: text))) + Deflate.stored(text) + [0]
        #expect(Deflate.inflated(all) == (.ok, text + text + text))
    }

    @Test func `inflating ends at the limit`() throws {
        let text = [UInt8](repeating: 7, count: 100_000)
        let blocks = try #require(Deflate.blocks(of: text)).dropLast(4)
        #expect(Deflate.inflated(Array(blocks), limit: 100_000) == (.ok, text))
        for limit: UInt64 in [0, 1, 99_999] { #expect(Deflate.inflated(Array(blocks), limit: limit) == (.tooBig, [])) }
        #expect(Deflate.inflated([], limit: 0) == (.ok, []))
    }

    @Test func `after a failure the next text is inflated as ever`() throws {
        #expect(Deflate.inflated([7]) == (.protocolError, []))
        let text = Array("good".utf8)
        #expect(Deflate.inflated(try #require(Deflate.blocks(of: text)).dropLast(4)) == (.ok, text))
    }

    @Test func `a gzip member has its head, its blocks, the check and the length`() {
        let text = Array("123456789".utf8)
        for text in [text, Array(String(repeating: "123456789", count: 100).utf8), []] {
            let output = unsafe Codec.withSlice(text) { slice in
                unsafe Codec.output { unsafe hr_gzip_append($0, slice) }
            }
            #expect(output.status == .ok)
            let head = unsafe Codec.bytes(hr_gzip_head())
            #expect(Array(output.bytes.prefix(10)) == head)
            #expect(output.bytes.prefix(4) == [0x1F, 0x8B, 8, 0])
            let length = output.bytes.suffix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
            #expect(length == text.count)
            #expect(Deflate.inflated(Array(output.bytes.dropFirst(10).dropLast(8))) == (.ok, text))
        }
        let short = unsafe Codec.withSlice(text) { slice in unsafe Codec.output { unsafe hr_gzip_append($0, slice) } }
        // The check value of CRC-32 that its definitions name.
        #expect(short.bytes.dropLast(4).suffix(4) == [0x26, 0x39, 0xF4, 0xCB])
    }
}

struct OfferTests {
    /// The answer to offers; nil: none is taken. Throws what is wrong with the header.
    private func answer(_ offers: String, from least: UInt32 = 15) throws(Refusal) -> String? {
        var terms = hr_ws_deflate_terms()
        let status = unsafe Codec.withSlice(offers) { unsafe hr_ws_deflate_choose($0, least, &terms) }
        guard status == .ok else { throw Refusal(status: status) }
        guard terms.window_bits != 0 else { return nil }
        let output = unsafe Codec.output { unsafe hr_ws_deflate_answer($0, &terms) }
        return String(decoding: output.bytes, as: UTF8.self)
    }

    struct Refusal: Error, Equatable {
        let status: hr_status
    }

    private static let taken = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    @Test(arguments: [
        "permessage-deflate", "permessage-deflate; client_max_window_bits", "  permessage-deflate\t",
        "permessage-deflate;client_max_window_bits=8", "permessage-deflate; client_max_window_bits=\"15\"",
        "permessage-deflate; server_no_context_takeover ; client_no_context_takeover",
        "permessage-deflate; client_max_window_bits = \"1\\0\"", "x-other; a=b, permessage-deflate",
        ", ,permessage-deflate, permessage-deflate; server_max_window_bits=9",
    ])
    func `an offer that can be kept to is taken`(offer: String) throws {
        #expect(try answer(offer) == Self.taken)
    }

    @Test(arguments: [
        "", " ", ",", "x-webkit-deflate-frame", "PERMESSAGE-DEFLATE", "permessage-deflatex",
        "permessage-deflate; unknown", "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=\"a\"", "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=7", "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=08", "permessage-deflate; client_max_window_bits=100",
        "permessage-deflate; client_max_window_bits=1x", "permessage-deflate; Client_Max_Window_Bits=10",
        "permessage-deflate; server_max_window_bits=0; server_max_window_bits=15",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
    ])
    func `one with parameters unknown, twice or of no use is not, and the next is tried`(offer: String) throws {
        #expect(try answer(offer) == nil)
        #expect(try answer(offer + ", permessage-deflate") == Self.taken)
    }

    @Test(arguments: [
        "permessage-deflate;", "permessage-deflate; =1", "permessage-deflate; a=", "permessage-deflate a", ";",
        "a b, c",
        "permessage-deflate; a=\"", "permessage-deflate; a=\"\"", "permessage-deflate; a=\"b c\"", "a; b=\"c\\",
        "permessage-deflate; a=\"b\"c", "permessage-deflate, \u{7F}", "permessage-deflate; client_max_window_bits=\"10",
    ])
    func `what is no list of extensions fails, whatever else stands there`(offers: String) {
        #expect(throws: Refusal(status: .invalid)) { try answer(offers) }
        #expect(throws: Refusal(status: .invalid)) { try answer("permessage-deflate, " + offers) }
    }

    @Test func `a window of the server's is kept to and named, or the offer is not taken`() throws {
        for bits in 8...15 {
            let offer = "permessage-deflate; server_max_window_bits=\(bits), permessage-deflate"
            let named = "\(Self.taken); server_max_window_bits=\(bits)"
            #expect(try answer(offer) == (bits == 15 ? named : Self.taken))
            #expect(try answer(offer, from: 9) == (bits >= 9 ? named : Self.taken))
        }
    }
}

struct CodingTests {
    @Test(arguments: [
        ("", hr_coding.HR_CODING_IDENTITY), ("gzip", .HR_CODING_GZIP), ("GZIP", .HR_CODING_GZIP),
        ("x-gzip", .HR_CODING_GZIP), ("gzip, deflate, br, zstd", .HR_CODING_GZIP), ("br", .HR_CODING_IDENTITY),
        ("deflate", .HR_CODING_IDENTITY), ("*", .HR_CODING_GZIP), ("*;q=0", .HR_CODING_IDENTITY),
        ("gzip;q=0", .HR_CODING_IDENTITY), ("gzip;q=0.000", .HR_CODING_IDENTITY), ("gzip;q=0.001", .HR_CODING_GZIP),
        ("gzip;q=0, *", .HR_CODING_IDENTITY), ("*;q=0, gzip", .HR_CODING_GZIP_ONLY),
        ("gzip;q=0.5, identity", .HR_CODING_IDENTITY), ("gzip ; q=0.5 , identity;q=0.5", .HR_CODING_GZIP),
        ("identity;q=0.4, gzip;Q=0.5", .HR_CODING_GZIP), ("identity", .HR_CODING_IDENTITY),
        ("identity;q=0", .HR_CODING_IDENTITY), ("identity;q=0, gzip", .HR_CODING_GZIP_ONLY),
        ("identity;q=0, *", .HR_CODING_GZIP_ONLY), ("gzip;q=1.000", .HR_CODING_GZIP),
        ("gzip;q=1.001", .HR_CODING_IDENTITY), ("gzip;q=2", .HR_CODING_IDENTITY), ("gzip;q=", .HR_CODING_IDENTITY),
        ("gzip;q=0.1234", .HR_CODING_IDENTITY), ("gzip;q=.5", .HR_CODING_IDENTITY), ("gzip;x=1", .HR_CODING_IDENTITY),
        ("gzip;q=1;x", .HR_CODING_IDENTITY), ("gzipx", .HR_CODING_IDENTITY), (",,gzip,,", .HR_CODING_GZIP),
        (";", .HR_CODING_IDENTITY), ("gzip gzip", .HR_CODING_IDENTITY),
    ])
    func `gzip is what was asked for with a weight, and identity what nobody refused`(
        header: String, coding: hr_coding
    ) {
        #expect(unsafe Codec.withSlice(header) { unsafe hr_coding_choose($0) } == coding)
    }
}
