import CHeraldBase
import CHeraldWire
import Foundation
import Testing

/// An event to encode, in safe terms.
private struct Event {
    var epoch: UInt32 = 0x5f3a_9c1e
    var sequence: UInt64 = 42
    var milliseconds: Int64 = 1_767_323_045_678
    var topic = "orders/42"
    var type = ""
    var contentType: [UInt8] = Array("text/plain".utf8)
    var data: [UInt8] = []

    init(type: String = "", contentType: String = "text/plain", data: [UInt8]) {
        (self.type, self.contentType, self.data) = (type, Array(contentType.utf8), data)
    }

    init(type: String = "", contentType: String = "text/plain", data: String) {
        self.init(type: type, contentType: contentType, data: Array(data.utf8))
    }

    /// The event in an encoding; one that compresses does so from `least` bytes on.
    func encoded(_ encoding: hr_encoding, from least: Int = 0) -> [UInt8] {
        measured(encoding, from: least).bytes
    }

    /// The same, and how long it would be uncompressed.
    func measured(_ encoding: hr_encoding, from least: Int = 0) -> (bytes: [UInt8], plain: Int) {
        unsafe Codec.withSlice(topic) { topic in
            unsafe Codec.withSlice(type) { type in
                unsafe Codec.withSlice(contentType) { contentType in
                    unsafe Codec.withSlice(data) { data in
                        var view = unsafe hr_event_view(
                            epoch: epoch, sequence: sequence, time_ms: milliseconds, topic: topic, type: type,
                            content_type: contentType, data: data, compressed_len_min: least)
                        var plain = 0
                        let output = unsafe Codec.output { unsafe hr_event_encode(&view, encoding, $0, &plain) }
                        #expect(output.status == .ok)
                        return (output.bytes, plain)
                    }
                }
            }
        }
    }

    func text(_ encoding: hr_encoding) -> String { String(decoding: encoded(encoding), as: UTF8.self) }

    var json: [String: Any] {
        get throws {
            try #require(try JSONSerialization.jsonObject(with: Data(encoded(.HR_ENCODING_JSON))) as? [String: Any])
        }
    }
}

private func form(_ contentType: String, _ data: [UInt8]) -> hr_data_form {
    unsafe Codec.withSlice(contentType) { type in unsafe Codec.withSlice(data) { unsafe hr_data_form_of(type, $0) } }
}

/// An SSE block as a browser understands it (HTML, "Interpreting an event stream").
private struct Block {
    var id = ""
    var type = ""
    var data: [UInt8] = []

    init(_ bytes: [UInt8]) {
        #expect(bytes.suffix(2) == [0x0A, 0x0A] && !bytes.contains(0x0D))
        var lines: [ArraySlice<UInt8>] = bytes.dropLast(2).split(separator: 0x0A, omittingEmptySubsequences: false)
        #expect(!lines.contains { $0.isEmpty })
        let fields = lines.map { $0.split(separator: 0x3A, maxSplits: 1, omittingEmptySubsequences: false) }
        lines.removeAll()
        for field in fields {
            let value = field[1].dropFirst(field[1].first == 0x20 ? 1 : 0)
            switch String(decoding: field[0], as: UTF8.self) {
            case "id": id = String(decoding: value, as: UTF8.self)
            case "event": type = String(decoding: value, as: UTF8.self)
            case "data": lines.append(value)
            default: Issue.record("unexpected field")
            }
        }
        data = Array(lines.joined(separator: [0x0A]))
    }
}

/// The payload of one whole, final, unmasked frame.
private func payload(_ frame: [UInt8], opcode: UInt8) -> [UInt8] {
    #expect(frame[0] == 0x80 | opcode)
    let lengthBytes = frame[1] == 127 ? 8 : frame[1] == 126 ? 2 : 0
    let length = lengthBytes == 0 ? Int(frame[1]) : frame[2..<2 + lengthBytes].reduce(0) { $0 << 8 | Int($1) }
    #expect(frame.count == 2 + lengthBytes + length)
    return Array(frame.dropFirst(2 + lengthBytes))
}

private func same(_ left: Any?, _ right: Any) -> Bool { (left as? NSObject)?.isEqual(right as! NSObject) ?? false }

private func string(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

struct EncodeTests {
    @Test func `an event is one object with its members in order`() {
        let untyped = Event(contentType: "text/plain;charset=utf-8", data: "say \"hi\"\n")
        #expect(
            untyped.text(.HR_ENCODING_JSON)
                == #"{"id":"5f3a9c1e-42","topic":"orders/42","time":"2026-01-02T03:04:05.678Z","#
                + #""datacontenttype":"text/plain;charset=utf-8","data":"say \"hi\"\n"}"#)
        let typed = Event(type: "a\"b", contentType: "application/json", data: #"{"n": 1}"#)
        #expect(
            typed.text(.HR_ENCODING_JSON)
                == #"{"id":"5f3a9c1e-42","topic":"orders/42","type":"a\"b","time":"2026-01-02T03:04:05.678Z","#
                + #""datacontenttype":"application/json","data":{"n": 1}}"#)
        #expect(
            Event(contentType: "image/png", data: [0x89, 0x50]).text(.HR_ENCODING_JSON)
                .hasSuffix(#""datacontenttype":"image/png","data_base64":"iVA="}"#))
    }

    @Test func `an SSE block carries id, type when set, and the object on one line`() {
        let event = Event(type: "t", contentType: "application/json", data: "[\n1]")
        #expect(
            event.text(.HR_ENCODING_SSE)
                == "id: 5f3a9c1e-42\nevent: t\ndata: \(event.text(.HR_ENCODING_JSON))\n\n")
        #expect(Event(data: "x").text(.HR_ENCODING_SSE).hasPrefix("id: 5f3a9c1e-42\ndata: {"))
    }

    @Test func `an NDJSON line is the object and one line feed`() {
        let event = Event(type: "t", contentType: "application/json", data: "[\n1]")
        #expect(event.text(.HR_ENCODING_NDJSON) == event.text(.HR_ENCODING_JSON) + "\n")
    }

    @Test(arguments: [
        ("", "data: \n"), ("x", "data: x\n"), ("a\nb", "data: a\ndata: b\n"),
        ("a\r\nb\rc\n", "data: a\ndata: b\ndata: c\ndata: \n"),
        ("\n", "data: \ndata: \n"), ("\r\n\n\r", "data: \ndata: \ndata: \ndata: \n"), (" a", "data:  a\n"),
        ("12345678\n12345678", "data: 12345678\ndata: 12345678\n"), ("1234567\r\n8", "data: 1234567\ndata: 8\n"),
        ("é\u{2028}:", "data: é\u{2028}:\n"),
    ])
    func `raw SSE has a data line for each line of the data`(data: String, lines: String) {
        #expect(Event(data: data).text(.HR_ENCODING_SSE_RAW) == "id: 5f3a9c1e-42\n\(lines)\n")
    }

    @Test func `raw SSE sends JSON as it is and other bytes as one base64 line`() {
        let json = Event(type: "t", contentType: "application/json", data: "{\"a\":\n1}")
        #expect(json.text(.HR_ENCODING_SSE_RAW) == "id: 5f3a9c1e-42\nevent: t\ndata: {\"a\":\ndata: 1}\n\n")
        let binary = Event(contentType: "image/png", data: [0x0A, 0x0D, 0xFF])
        #expect(binary.text(.HR_ENCODING_SSE_RAW) == "id: 5f3a9c1e-42\ndata: Cg3/\n\n")
    }

    @Test(arguments: [0, 1, 120, 125, 126, 127, 65_535, 65_536, 70_000])
    func `a WebSocket frame holds exactly the object or the data`(length: Int) {
        let event = Event(data: [UInt8](repeating: 0x78, count: length))
        #expect(payload(event.encoded(.HR_ENCODING_WS), opcode: 1) == event.encoded(.HR_ENCODING_JSON))
        #expect(payload(event.encoded(.HR_ENCODING_WS_RAW), opcode: 1) == event.data)
    }

    @Test func `raw frames are text for text and JSON and binary for the rest`() {
        let data: [UInt8] = Array("[1,\n2]".utf8)
        #expect(
            payload(Event(contentType: "application/json", data: data).encoded(.HR_ENCODING_WS_RAW), opcode: 1) == data)
        #expect(payload(Event(contentType: "text/csv", data: data).encoded(.HR_ENCODING_WS_RAW), opcode: 1) == data)
        #expect(payload(Event(contentType: "image/png", data: data).encoded(.HR_ENCODING_WS_RAW), opcode: 2) == data)
        #expect(payload(Event(contentType: "text/csv", data: [0xFF]).encoded(.HR_ENCODING_WS_RAW), opcode: 2) == [0xFF])
    }

    @Test func `line breaks between JSON tokens become spaces and nothing else changes`() throws {
        let data = "\r\n{\n\"a\\n\" :\r\n\t[ 1 ,\r2 ]\n}\n"
        let event = Event(contentType: "application/json", data: data)
        let flat = string(data.utf8.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 })
        #expect(event.text(.HR_ENCODING_JSON).hasSuffix(",\"data\":\(flat)}"))
        #expect(same(try event.json["data"], ["a\n": [1, 2]]))
    }

    @Test(arguments: [
        ("application/json", "{}", hr_data_form.HR_DATA_JSON),
        ("APPLICATION/JSON ; charset=utf-8", " 1 ", .HR_DATA_JSON),
        ("\tapplication/json\t;x", "\"s\"", .HR_DATA_JSON), ("application/vnd.api+json", "null", .HR_DATA_JSON),
        ("application/problem+JSON;q=1", "[]", .HR_DATA_JSON), ("application/json", "{", .HR_DATA_BINARY),
        ("application/json", "", .HR_DATA_BINARY), ("application/x+json", "1 2", .HR_DATA_BINARY),
        ("text/plain", "{}", .HR_DATA_TEXT), ("TEXT/html;charset=utf-8", "x", .HR_DATA_TEXT),
        ("text/json", "{}", .HR_DATA_TEXT),
        ("application/x-www-form-urlencoded", "a=b", .HR_DATA_TEXT), ("application/xml", "<a/>", .HR_DATA_TEXT),
        ("image/svg+xml", "<svg/>", .HR_DATA_TEXT), ("application/octet-stream", "x", .HR_DATA_BINARY),
        ("", "x", .HR_DATA_BINARY), (";application/json", "{}", .HR_DATA_BINARY),
        ("application/jsonp", "{}", .HR_DATA_BINARY),
        ("application/json-seq", "{}", .HR_DATA_BINARY), ("application/x-json", "{}", .HR_DATA_BINARY),
        ("texts/plain", "x", .HR_DATA_BINARY), ("image/png;+json", "{}", .HR_DATA_BINARY),
        ("text", "x", .HR_DATA_BINARY),
    ])
    func `the content type and the bytes decide how data is embedded`(
        type: String, data: String, expected: hr_data_form
    ) {
        #expect(form(type, Array(data.utf8)) == expected)
    }

    @Test(arguments: ["application/json", "text/plain", "application/xml", "application/x-www-form-urlencoded"])
    func `text that is not UTF-8 is binary`(type: String) {
        for data in [[0x22, 0xFF, 0x22], [0xC3], [0xED, 0xA0, 0x80]] as [[UInt8]] {
            #expect(form(type, data) == .HR_DATA_BINARY)
        }
    }

    @Test func `a content type that JSON cannot hold is told as unknown bytes`() throws {
        var event = Event(data: "x")
        event.contentType = Array("text/plain;a=".utf8) + [0xE9]
        #expect(try event.json["datacontenttype"] as? String == "application/octet-stream")
        #expect(try event.json["data_base64"] as? String == "eA==")
    }

    @Test(arguments: [
        (UInt32(0), UInt64(0), "00000000-0"), (0x5f3a_9c1e, 42, "5f3a9c1e-42"),
        (.max, .max, "ffffffff-18446744073709551615"),
    ])
    func `an event id is written and read`(epoch: UInt32, sequence: UInt64, text: String) {
        var out = [CChar](repeating: 0x7E, count: Int(HR_ID_TEXT_MAX))
        let length = unsafe hr_id_format(epoch, sequence, &out)
        #expect(String(decoding: out.prefix(length).map(UInt8.init), as: UTF8.self) == text)
        #expect(out.dropFirst(length).allSatisfy { $0 == 0x7E })
        var read: (UInt32, UInt64) = (1, 1)
        let status = unsafe Codec.withSlice(text) { unsafe hr_id_parse($0, &read.0, &read.1) }
        #expect(status == .ok && read == (epoch, sequence))
    }

    @Test(arguments: [
        "", "-", "5f3a9c1e", "5f3a9c1e-", "5f3a9c1-42", "5f3a9c1e42", "5F3A9C1E-42", "5f3a9c1e-042", "5f3a9c1e--1",
        "5f3a9c1e-+1", "5f3a9c1e-4 ", " 5f3a9c1e-4", "5f3a9c1g-4", "5f3a9c1e-18446744073709551616", "0005f3a9c1e-4",
        "5f3a9c1e-4x", "earliest", "latest",
    ])
    func `anything else is no event id`(text: String) {
        var read: (UInt32, UInt64) = (7, 7)
        let status = unsafe Codec.withSlice(text) { unsafe hr_id_parse($0, &read.0, &read.1) }
        #expect(status == .invalid && read == (7, 7))
    }

    @Test func `a type is printable ASCII without spaces within its bound`() {
        func isValid(_ bytes: [UInt8]) -> Bool { unsafe Codec.withSlice(bytes) { unsafe hr_type_valid($0) } }
        let longest = [UInt8](repeating: 0x61, count: Int(HR_TYPE_LEN_MAX))
        #expect(isValid(longest) && !isValid(longest + [0x61]) && !isValid([]))
        for byte in UInt8.min ... .max {
            #expect(isValid([0x61, byte]) == (0x21...0x7E).contains(byte))
        }
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func `random events are read back the same from every encoding`(seed: UInt64) throws {
        var random = CodecRandom(seed: seed)
        for _ in 0..<10 {
            let text = random.text(upTo: 60)
            var event = [
                Event(contentType: "text/plain", data: text),
                Event(contentType: "image/png", data: random.bytes(text.utf8.count)),
                Event(contentType: "application/json", data: random.json(depth: 4)),
                Event(type: "a.b", contentType: "application/json; x=\"y\"", data: text),
            ].randomElement(using: &random)!
            event.sequence = random.next()
            event.epoch = UInt32(truncatingIfNeeded: random.next())
            try check(event)
        }
    }

    private func check(_ event: Event) throws {
        let object = try event.json
        let form = form(string(event.contentType), event.data)
        switch form {
        case .HR_DATA_JSON:
            let value = try JSONSerialization.jsonObject(with: Data(event.data), options: .fragmentsAllowed)
            #expect(same(object["data"], value))
        case .HR_DATA_TEXT: #expect(object["data"] as? String == string(event.data))
        case .HR_DATA_BINARY: #expect(object["data_base64"] as? String == Data(event.data).base64EncodedString())
        }
        #expect(object.count == (event.type.isEmpty ? 5 : 6))
        #expect(object["type"] as? String ?? "" == event.type)
        #expect(object["datacontenttype"] as? String == string(event.contentType))

        let block = Block(event.encoded(.HR_ENCODING_SSE))
        #expect(block.id == object["id"] as? String && block.type == event.type)
        #expect(block.data == event.encoded(.HR_ENCODING_JSON))
        let raw = Block(event.encoded(.HR_ENCODING_SSE_RAW))
        let isBinary = form == .HR_DATA_BINARY
        let lines = string(event.data).replacing("\r\n", with: "\n").replacing("\r", with: "\n")
        #expect(raw.data == (isBinary ? Array(Data(event.data).base64EncodedString().utf8) : Array(lines.utf8)))

        #expect(event.encoded(.HR_ENCODING_NDJSON) == event.encoded(.HR_ENCODING_JSON) + [0x0A])
        #expect(!event.encoded(.HR_ENCODING_JSON).contains(0x0A))
        #expect(payload(event.encoded(.HR_ENCODING_WS), opcode: 1) == event.encoded(.HR_ENCODING_JSON))
        #expect(payload(event.encoded(.HR_ENCODING_WS_RAW), opcode: isBinary ? 2 : 1) == event.data)
        for encoding in Compressed.plain { Compressed.check(event, encoding) }
    }
}

/// Encodings that compress, held against what they compress.
private enum Compressed {
    static let plain: [hr_encoding] = [
        .HR_ENCODING_SSE, .HR_ENCODING_SSE_RAW, .HR_ENCODING_NDJSON, .HR_ENCODING_WS, .HR_ENCODING_WS_RAW,
    ]

    /// Whether the encoding of `event` that compresses is no longer, and the same when it is inflated.
    static func check(_ event: Event, _ encoding: hr_encoding, from least: Int = 0) {
        let plain = event.encoded(encoding)
        let compressed = hr_encoding_compressed(encoding)
        let (bytes, length) = event.measured(compressed, from: least)
        #expect(length == plain.count)
        if hr_encoding_is_gzip(compressed) {
            #expect(bytes.count <= hr_deflate_stored_len(plain.count))
            // Further blocks follow in the stream; here an empty one takes their place.
            #expect(inflated(bytes + [0]) == plain)
        } else if bytes[0] & 0x40 == 0 {
            #expect(bytes == plain)
        } else {
            #expect(bytes.count < plain.count)
            let opcode = bytes[0] & 0x0F
            let message = inflated(payload([bytes[0] & ~0x40] + bytes.dropFirst(), opcode: opcode))
            #expect(message == payload(plain, opcode: opcode))
        }
    }

    private static func inflated(_ blocks: [UInt8]) -> [UInt8] {
        let output = unsafe Codec.withSlice(blocks) { slice in
            unsafe Codec.output { unsafe hr_inflate_append($0, slice, 1 << 24) }
        }
        #expect(output.status == .ok)
        return output.bytes
    }
}

struct CompressedEncodingTests {
    private static let long = Event(contentType: "text/plain", data: String(repeating: "again and ", count: 100))

    @Test(arguments: [0, 1, 100, 70_000])
    func `every encoding that compresses says the same as the one it compresses`(length: Int) {
        var random = CodecRandom(seed: UInt64(length))
        for data in [random.bytes(length), [UInt8](repeating: 0x61, count: length)] {
            for encoding in Compressed.plain { Compressed.check(Event(type: "t", data: data), encoding) }
        }
    }

    @Test func `what shrinks is compressed, and a message that does not is sent as it is`() {
        let message = Self.long.encoded(.HR_ENCODING_WS_DEFLATE)
        #expect(message[0] == 0xC1 && message.count < 250)
        #expect(Self.long.encoded(.HR_ENCODING_SSE_GZIP).count < 250)
        var random = CodecRandom(seed: 9)
        let noise = Event(contentType: "image/png", data: random.bytes(1000))
        #expect(noise.encoded(.HR_ENCODING_WS_RAW_DEFLATE) == noise.encoded(.HR_ENCODING_WS_RAW))
        #expect(noise.encoded(.HR_ENCODING_WS_RAW_DEFLATE)[0] == 0x82)
    }

    @Test func `what is shorter than the least is left as it is`() {
        let object = Self.long.encoded(.HR_ENCODING_JSON).count
        #expect(Self.long.encoded(.HR_ENCODING_WS_DEFLATE, from: object)[0] == 0xC1)
        #expect(
            Self.long.encoded(.HR_ENCODING_WS_DEFLATE, from: object + 1) == Self.long.encoded(.HR_ENCODING_WS))
        let line = object + 1
        #expect(Self.long.encoded(.HR_ENCODING_NDJSON_GZIP, from: line).count < line / 2)
        #expect(Self.long.encoded(.HR_ENCODING_NDJSON_GZIP, from: line + 1).count == line + 5)
        for encoding in Compressed.plain { Compressed.check(Self.long, encoding, from: 1 << 20) }
    }
}
