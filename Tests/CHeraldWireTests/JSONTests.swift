import CHeraldBase
import CHeraldWire
import Foundation
import Testing

/// What the scanner says of a text that should be one value.
private struct Scan: Equatable {
    var kind: hr_json_kind?
    var raw = ""
    var what = ""
    var line: UInt32 = 0
    var column: UInt32 = 0
    var offset = 0

    init(_ bytes: [UInt8]) {
        unsafe Codec.withSlice(bytes) { text in
            var cursor = unsafe hr_json_cursor()
            var value = unsafe hr_json_value()
            unsafe hr_json_begin(&cursor, text)
            if unsafe hr_json_value_read(&cursor, &value) == .ok, unsafe hr_json_end(&cursor) == .ok {
                unsafe (kind, raw) = (value.kind, Codec.text(value.raw))
            } else {
                unsafe (what, line, column) = (
                    String(cString: cursor.error.what), cursor.error.line, cursor.error.column
                )
                offset = unsafe cursor.error.offset
            }
        }
    }

    init(_ text: String) { self.init(Array(text.utf8)) }
}

/// Every value of a text as a tree: what a reader that walks it sees.
private indirect enum Tree: Equatable {
    case scalar(String)
    case array([Tree])
    case object([Member])

    struct Member: Equatable {
        var key: String
        var value: Tree
    }

    init(_ value: hr_json_value) {
        var item = unsafe hr_json_value()
        var key = unsafe hr_slice()
        var place = 0
        switch unsafe value.kind {
        case .HR_JSON_ARRAY:
            var items: [Tree] = []
            while unsafe hr_json_array_next(value, &place, &item) {
                items.append(unsafe Tree(item))
            }
            self = .array(items)
        case .HR_JSON_OBJECT:
            var members: [Member] = []
            while unsafe hr_json_object_next(value, &place, &key, &item) {
                members.append(unsafe Member(key: Codec.text(key), value: Tree(item)))
            }
            self = .object(members)
        default: self = .scalar(unsafe Codec.text(value.raw))
        }
    }

    init?(_ text: String) {
        let tree: Tree? = unsafe Codec.withSlice(text) { slice in
            var cursor = unsafe hr_json_cursor()
            var value = unsafe hr_json_value()
            unsafe hr_json_begin(&cursor, slice)
            return unsafe hr_json_value_read(&cursor, &value) == .ok ? unsafe Tree(value) : nil
        }
        guard let tree else { return nil }
        self = tree
    }

    /// The same text without white space between tokens.
    var compact: String {
        switch self {
        case .scalar(let raw): raw
        case .array(let items): "[\(items.map(\.compact).joined(separator: ","))]"
        case .object(let members): "{\(members.map { "\($0.key):\($0.value.compact)" }.joined(separator: ","))}"
        }
    }
}

private func isValid(_ bytes: [UInt8]) -> Bool {
    unsafe Codec.withSlice(bytes) { unsafe hr_json_valid($0) }
}

private func isValid(_ text: String) -> Bool { isValid(Array(text.utf8)) }

private func decoded(_ raw: String) -> [UInt8] {
    unsafe Codec.withSlice(raw) { slice in unsafe Codec.output { unsafe hr_json_string_decode(slice, $0) } }.bytes
}

private func encoded(_ text: String) -> String {
    let bytes = unsafe Codec.withSlice(text) { slice in
        unsafe Codec.output { unsafe hr_json_string_append($0, slice) }
    }.bytes
    return String(decoding: bytes, as: UTF8.self)
}

private func string(_ raw: String, is text: [UInt8]) -> Bool {
    unsafe Codec.withSlice(raw) { raw in unsafe Codec.withSlice(text) { unsafe hr_json_string_is(raw, $0) } }
}

private func same(_ left: Any, _ right: Any) -> Bool { (left as! NSObject).isEqual(right as! NSObject) }

private func parsed(_ text: String) throws -> Any {
    try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
}

struct JSONTests {
    @Test(arguments: [
        ("null", hr_json_kind.HR_JSON_NULL), ("true", .HR_JSON_BOOL), ("false", .HR_JSON_BOOL), ("0", .HR_JSON_NUMBER),
        ("-0", .HR_JSON_NUMBER), ("-12.50e+07", .HR_JSON_NUMBER), ("1E9", .HR_JSON_NUMBER), (#""""#, .HR_JSON_STRING),
        (#""a\"b\\""#, .HR_JSON_STRING), ("[]", .HR_JSON_ARRAY), ("[1,[2],{}]", .HR_JSON_ARRAY),
        ("{}", .HR_JSON_OBJECT),
        (#"{"a":{"b":[]},"a":1}"#, .HR_JSON_OBJECT),
    ])
    func `a value is its own bytes without the white space around it`(text: String, kind: hr_json_kind) {
        let scan = Scan(" \t\r\n\(text)\n ")
        #expect(scan.kind == kind)
        #expect(scan.raw == text)
        #expect(Scan(text).kind == kind)
    }

    @Test(arguments: [
        ("", "unexpected end of text", 1, 1), ("  ", "unexpected end of text", 1, 3), ("x", "expected a value", 1, 1),
        ("nul", "expected a value", 1, 1), ("True", "expected a value", 1, 1), ("\u{FEFF}1", "expected a value", 1, 1),
        ("\0", "expected a value", 1, 1), ("1\0", "unexpected text behind the value", 1, 2),
        ("01", "unexpected text behind the value", 1, 2), ("-", "unexpected end of text", 1, 2),
        ("+1", "expected a value", 1, 1), (".5", "expected a value", 1, 1), ("1.", "unexpected end of text", 1, 3),
        ("1.e1", "expected a digit", 1, 3), ("1e+]", "expected a digit", 1, 4), ("-a", "expected a digit", 1, 2),
        ("NaN", "expected a value", 1, 1), ("0x1", "unexpected text behind the value", 1, 2),
        ("[1,]", "expected a value", 1, 4), ("[1 2]", "expected a comma or a closing bracket", 1, 4),
        ("[1}", "expected a comma or a closing bracket", 1, 3), ("[", "unexpected end of text", 1, 2),
        ("]", "expected a value", 1, 1), ("[,1]", "expected a value", 1, 2), ("{,}", "expected a member name", 1, 2),
        (#"{"a":1,}"#, "expected a member name", 1, 8), (#"{a:1}"#, "expected a member name", 1, 2),
        (#"{"a" 1}"#, "expected a colon", 1, 6), (#"{"a":}"#, "expected a value", 1, 6),
        (#"{"a":1]"#, "expected a comma or a closing brace", 1, 7), (#"{"a"}"#, "expected a colon", 1, 5),
        ("{} {}", "unexpected text behind the value", 1, 4), ("'a'", "expected a value", 1, 1),
        ("// c\n1", "expected a value", 1, 1), (#""a"#, "unexpected end of text", 1, 3),
        (#""\x""#, "unknown escape in a string", 1, 2), (#""\"#, "unknown escape in a string", 1, 2),
        ("\"\\\0\"", "unknown escape in a string", 1, 2), (#""\u12g4""#, "expected four hex digits", 1, 2),
        (#""\u12"#, "expected four hex digits", 1, 2), (#""\U0041""#, "unknown escape in a string", 1, 2),
        ("[1,\n2,\r\n  tru]", "expected a value", 3, 3), ("\n\n\n", "unexpected end of text", 4, 1),
    ])
    func `a malformed text is refused at its place`(text: String, what: String, line: UInt32, column: UInt32) {
        let scan = Scan(text)
        #expect(scan.kind == nil)
        #expect(scan.what == what)
        #expect(scan.line == line)
        #expect(scan.column == column)
        #expect(!isValid(text))
    }

    @Test(arguments: [("[", "]"), (#"{"a":"#, "}")])
    func `sixty four levels are accepted and one more is not`(open: String, close: String) {
        func nested(_ depth: Int) -> String {
            String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)
        }
        #expect(isValid(nested(Int(HR_JSON_DEPTH_MAX))))
        let scan = Scan(nested(Int(HR_JSON_DEPTH_MAX) + 1))
        #expect(scan.what == "nested too deeply")
        #expect(scan.offset == Int(HR_JSON_DEPTH_MAX) * open.utf8.count)
    }

    @Test func `a million open brackets cost no stack`() {
        #expect(Scan([UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)).what == "nested too deeply")
    }

    @Test func `closing a container gives its level back`() {
        #expect(isValid("[" + String(repeating: "[{}],{\"a\":[]},", count: 1000) + "1]"))
    }

    @Test func `a control character in a string is refused and delete is not`() {
        for byte in UInt8(0)..<0x20 {
            #expect(Scan([0x22, byte, 0x22]).what == "control character in a string")
        }
        #expect(isValid([0x22, 0x7F, 0x22]))
    }

    @Test(arguments: 0..<26)
    func `what ends a run of plain bytes is found wherever it stands`(length: Int) {
        for place in 0..<max(length, 1) where length > 0 {
            var text = [UInt8](repeating: UInt8(ascii: "x"), count: length)
            for stop in [UInt8(0), 0x1F, 0x80, 0xFF, 0x22] {
                text[place] = stop
                let scan = Scan([0x22] + text + [0x22])
                #expect(scan.kind == nil)
                #expect(scan.offset == place + (stop == 0x22 ? 2 : 1))
            }
            for plain in [UInt8(0x20), 0x21, 0x23, 0x5B, 0x5D, 0x7E, 0x7F] {
                text[place] = plain
                #expect(isValid([0x22] + text + [0x22]))
            }
        }
    }

    @Test(
        arguments: [
            ([0x80], 0), ([0xC3], 1), ([0xC0, 0x80], 0), ([0xC1, 0xBF], 0), ([0xE0, 0x9F, 0xBF], 1), ([0xE2, 0x82], 2),
            ([0xED, 0xA0, 0x80], 1), ([0xF0, 0x8F, 0xBF, 0xBF], 1), ([0xF4, 0x90, 0x80, 0x80], 1), ([0xF5], 0),
            ([0xC3, 0xA9, 0xA9], 2),
        ] as [([UInt8], Int)])
    func `malformed UTF-8 is refused at its first bad byte`(bytes: [UInt8], bad: Int) {
        let scan = Scan(Array(#"["a", "b"#.utf8) + bytes + Array(#"c"]"#.utf8))
        #expect(scan.what == "malformed UTF-8 in a string")
        #expect(scan.offset == 8 + bad)
    }

    @Test(arguments: [
        #""\ud800""#, #""\udbffx""#, #""\ud800\n""#, #""\ud800\ud800""#, #""\udc00""#, #""\udfff\ud800""#,
        #""\ud800\u0041""#, #""\ud800\u12""#,
    ])
    func `half a surrogate pair is refused`(text: String) {
        #expect(Scan(text).what == "lone surrogate in a string")
    }

    @Test(arguments: [
        (#""""#, ""), (#""abc""#, "abc"), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""\u0000""#, "\u{0}"),
        (#""\u007f\u0080\u07FF\u0800\uFFFF""#, "\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}"),
        (#""\ud800\udc00\uDBFF\uDFFF""#, "\u{10000}\u{10FFFF}"), (#""a\u00e9b""#, "aéb"), (#""日本\n語""#, "日本\n語"),
    ])
    func `a raw string stands for its text and for no other`(raw: String, text: String) {
        let bytes = Array(text.utf8)
        #expect(isValid(raw))
        #expect(decoded(raw) == bytes)
        #expect(string(raw, is: bytes))
        #expect(!string(raw, is: bytes + [0x61]))
        if !bytes.isEmpty {
            #expect(!string(raw, is: bytes.dropLast()))
            #expect(!string(raw, is: bytes.dropLast() + [bytes.last! ^ 1]))
        }
    }

    @Test func `what JSON or a line protocol cannot hold is escaped and nothing else`() {
        #expect(encoded("") == #""""#)
        #expect(encoded("\"\\\u{8}\u{C}\n\r\t") == #""\"\\\b\f\n\r\t""#)
        #expect(encoded("\u{0}\u{1}\u{1F}") == #""\u0000\u0001\u001f""#)
        #expect(encoded("\u{2028}\u{2029}") == #""\u2028\u2029""#)
        #expect(encoded("/<>&'\u{7F}é€\u{2027}\u{202A}😀") == "\"/<>&'\u{7F}é€\u{2027}\u{202A}😀\"")
    }

    @Test(arguments: 0..<20)
    func `an escape is found wherever it stands in a text`(place: Int) throws {
        for odd in ["\"", "\\", "\n", "\u{2028}", "€", "\u{1}"] {
            for after in [0, 1, 7, 8, 9] {
                let text = String(repeating: "x", count: place) + odd + String(repeating: "y", count: after)
                #expect(same(try parsed(encoded(text)), text))
            }
        }
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func `random texts come back through JSON`(seed: UInt64) throws {
        var random = CodecRandom(seed: seed)
        for _ in 0..<25 {
            let text = random.text(upTo: 80)
            let json = encoded(text)
            #expect(same(try parsed(json), text))
            #expect(decoded(json) == Array(text.utf8))
            #expect(string(json, is: Array(text.utf8)))
        }
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func `random values are walked to what another parser reads`(seed: UInt64) throws {
        var random = CodecRandom(seed: seed)
        for _ in 0..<10 {
            let text = random.json(depth: 5)
            let tree = try #require(Tree(text))
            #expect(same(try parsed(tree.compact), try parsed(text)))
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `no prefix of an object is a value`(seed: UInt64) {
        var random = CodecRandom(seed: seed)
        let text = Array("{\"a\":\(random.json(depth: 3))}".utf8)
        for length in 0..<text.count {
            #expect(!isValid(Array(text.prefix(length))))
        }
        #expect(isValid(text))
    }

    @Test func `walking is not misled by what strings hold`() throws {
        let tree = try #require(Tree(#" { "}" : "]\"," , "\\" : [ "[{", "\\\"" , { } ] , "" : -1.5e3 } "#))
        #expect(
            tree
                == .object([
                    .init(key: #""}""#, value: .scalar(#""]\",""#)),
                    .init(
                        key: #""\\""#,
                        value: .array([.scalar(#""[{""#), .scalar(#""\\\"""#), .object([])])),
                    .init(key: #""""#, value: .scalar("-1.5e3")),
                ]))
    }

    @Test func `a walk that has ended stays ended`() {
        unsafe Codec.withSlice("[ ]") { text in
            var item = unsafe hr_json_value()
            var place = 0
            let array = unsafe hr_json_value(kind: .HR_JSON_ARRAY, raw: text)
            #expect(unsafe !hr_json_array_next(array, &place, &item))
            #expect(unsafe !hr_json_array_next(array, &place, &item))
        }
    }

    @Test func `several values are read one after the other`() {
        unsafe Codec.withSlice(" 1 [2]\n\"3\"x") { text in
            var cursor = unsafe hr_json_cursor()
            var value = unsafe hr_json_value()
            unsafe hr_json_begin(&cursor, text)
            for expected in ["1", "[2]", "\"3\""] {
                #expect(unsafe hr_json_value_read(&cursor, &value) == .ok)
                #expect(unsafe Codec.text(value.raw) == expected)
            }
            #expect(unsafe hr_json_end(&cursor) == .invalid)
            #expect(unsafe cursor.error.line == 2 && cursor.error.column == 4)
        }
    }

    @Test(arguments: [(0, 1, 1), (1, 1, 2), (2, 2, 1), (3, 3, 1), (5, 3, 3), (6, 4, 1)])
    func `a position counts lines by their feeds and columns in bytes`(offset: Int, line: UInt32, column: UInt32) {
        unsafe Codec.withSlice("a\n\né\n") { text in
            var found: (line: UInt32, column: UInt32) = (0, 0)
            unsafe hr_json_position(text, offset, &found.line, &found.column)
            #expect(found == (line, column))
        }
    }
}
