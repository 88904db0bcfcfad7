// A strict reader of JSON text (RFC 8259) that never rewrites what it reads.
//
// Why not a decoder from Foundation: an event's data has to reach the reader byte for byte as it was published.
// A decoder gives values, and turns 1.0 into 1 and large integers into doubles; this gives the bytes of each value.
//
// Invariant: a range handed out by `root`, `members` or `elements` covers exactly one well-formed value.
// Nesting is counted in one byte a level on the heap, never on the stack: deep input cannot overflow it.

/// What is wrong with a piece of JSON text, and where.
struct JSONError: Error, Equatable, CustomStringConvertible {
    let offset: Int
    let reason: String

    var description: String { "\(reason) at byte \(offset)" }
}

/// JSON text whose values can be looked up without being changed.
struct JSONText {
    /// The text itself.
    let bytes: [UInt8]

    /// Gives the range of the one value that the whole text is. Reads all of it.
    func root() throws(JSONError) -> Range<Int> {
        var walk = JSONWalk(bytes, from: 0, to: bytes.count)
        let value = try walk.value()
        walk.skipSpace()
        guard walk.position == bytes.count else { throw walk.failure("text after the end of the value") }
        return value
    }

    /// Gives an object's members in their order.
    func members(of object: Range<Int>) throws(JSONError) -> [(name: String, value: Range<Int>)] {
        var walk = JSONWalk(bytes, from: object.lowerBound, to: object.upperBound)
        try walk.take(UInt8(ascii: "{"), "an object was expected")
        var found: [(name: String, value: Range<Int>)] = []
        walk.skipSpace()
        if walk.takeIfNext(UInt8(ascii: "}")) { return found }
        while true {
            walk.skipSpace()
            let name = try string(at: try walk.string())
            walk.skipSpace()
            try walk.take(UInt8(ascii: ":"), "a colon was expected")
            found.append((name, try walk.value()))
            walk.skipSpace()
            if walk.takeIfNext(UInt8(ascii: "}")) { return found }
            try walk.take(UInt8(ascii: ","), "a comma or a closing brace was expected")
        }
    }

    /// Gives an array's elements in their order.
    func elements(of array: Range<Int>) throws(JSONError) -> [Range<Int>] {
        var walk = JSONWalk(bytes, from: array.lowerBound, to: array.upperBound)
        try walk.take(UInt8(ascii: "["), "an array was expected")
        var found: [Range<Int>] = []
        walk.skipSpace()
        if walk.takeIfNext(UInt8(ascii: "]")) { return found }
        while true {
            found.append(try walk.value())
            walk.skipSpace()
            if walk.takeIfNext(UInt8(ascii: "]")) { return found }
            try walk.take(UInt8(ascii: ","), "a comma or a closing bracket was expected")
        }
    }

    /// Whether the value is a string.
    func isString(_ value: Range<Int>) -> Bool { bytes[value.lowerBound] == UInt8(ascii: "\"") }

    /// Whether the value is `null`.
    func isNull(_ value: Range<Int>) -> Bool { bytes[value.lowerBound] == UInt8(ascii: "n") }

    /// Gives a string's text, its escapes resolved.
    func string(at value: Range<Int>) throws(JSONError) -> String {
        guard isString(value) else { throw JSONError(offset: value.lowerBound, reason: "a string was expected") }
        let inner = bytes[(value.lowerBound + 1)..<(value.upperBound - 1)]
        let plain = inner.contains(UInt8(ascii: "\\")) ? Self.unescape(inner) : inner
        guard let text = String(validating: plain, as: UTF8.self) else {
            throw JSONError(offset: value.lowerBound, reason: "a string that is not UTF-8")
        }
        return text
    }

    /// Gives a number that is a whole one and fits.
    func integer<Integer: FixedWidthInteger>(at value: Range<Int>) throws(JSONError) -> Integer {
        guard let number = Integer(String(decoding: bytes[value], as: UTF8.self)) else {
            throw JSONError(offset: value.lowerBound, reason: "a whole number was expected")
        }
        return number
    }

    /// Resolves the escapes of a well-formed string. A lone surrogate, which names no character, becomes U+FFFD.
    private static func unescape(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var plain: [UInt8] = []
        plain.reserveCapacity(text.count)
        var at = text.startIndex
        while at < text.endIndex {
            guard text[at] == UInt8(ascii: "\\") else {
                plain.append(text[at])
                at += 1
                continue
            }
            let escape = text[at + 1]
            at += 2
            switch escape {
            case UInt8(ascii: "b"): plain.append(0x08)
            case UInt8(ascii: "f"): plain.append(0x0C)
            case UInt8(ascii: "n"): plain.append(0x0A)
            case UInt8(ascii: "r"): plain.append(0x0D)
            case UInt8(ascii: "t"): plain.append(0x09)
            case UInt8(ascii: "u"): plain.append(contentsOf: String(scalar(text, &at)).utf8)
            default: plain.append(escape)
            }
        }
        return plain[...]
    }

    /// Reads the digits of `\uXXXX`, and of the second half when the first is a high surrogate.
    private static func scalar(_ text: ArraySlice<UInt8>, _ at: inout Int) -> Unicode.Scalar {
        let replacement: Unicode.Scalar = "\u{FFFD}"
        let first = hexadecimal(text[at..<(at + 4)])
        at += 4
        guard (0xD800..<0xDC00).contains(first), at + 6 <= text.endIndex,
            text[at] == UInt8(ascii: "\\"), text[at + 1] == UInt8(ascii: "u")
        else { return Unicode.Scalar(first) ?? replacement }
        let second = hexadecimal(text[(at + 2)..<(at + 6)])
        guard (0xDC00..<0xE000).contains(second) else { return replacement }
        at += 6
        return Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)) ?? replacement
    }

    private static func hexadecimal(_ digits: ArraySlice<UInt8>) -> UInt32 {
        UInt32(String(decoding: digits, as: UTF8.self), radix: 16) ?? 0
    }
}

/// A place in JSON text that moves over whole values.
private struct JSONWalk {
    private enum Expected { case value, valueOrEnd, name, nameOrEnd, separator }

    private let bytes: [UInt8]
    private let end: Int
    private(set) var position: Int

    init(_ bytes: [UInt8], from start: Int, to end: Int) {
        self.bytes = bytes
        self.position = start
        self.end = end
    }

    func failure(_ reason: String) -> JSONError { JSONError(offset: position, reason: reason) }

    mutating func skipSpace() {
        while position < end {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    mutating func takeIfNext(_ byte: UInt8) -> Bool {
        guard position < end, bytes[position] == byte else { return false }
        position += 1
        return true
    }

    mutating func take(_ byte: UInt8, _ complaint: String) throws(JSONError) {
        guard takeIfNext(byte) else { throw failure(complaint) }
    }

    /// Moves over one value of any kind, spaces before it included.
    mutating func value() throws(JSONError) -> Range<Int> {
        skipSpace()
        let start = position
        var open: [UInt8] = []
        var expected = Expected.value
        repeat {
            skipSpace()
            guard position < end else { throw failure("the text ends too early") }
            expected = try step(expected, bytes[position], &open)
        } while !(open.isEmpty && expected == .separator)
        return start..<position
    }

    /// Moves over one token, and says what may follow it.
    private mutating func step(
        _ expected: Expected, _ byte: UInt8, _ open: inout [UInt8]
    ) throws(JSONError) -> Expected {
        switch (expected, byte) {
        case (.valueOrEnd, UInt8(ascii: "]")), (.nameOrEnd, UInt8(ascii: "}")):
            open.removeLast()
            position += 1
            return .separator
        case (.value, UInt8(ascii: "{")), (.valueOrEnd, UInt8(ascii: "{")):
            open.append(byte)
            position += 1
            return .nameOrEnd
        case (.value, UInt8(ascii: "[")), (.valueOrEnd, UInt8(ascii: "[")):
            open.append(byte)
            position += 1
            return .valueOrEnd
        case (.value, _), (.valueOrEnd, _):
            try scalar(byte)
            return .separator
        case (.name, _), (.nameOrEnd, _):
            _ = try string()
            skipSpace()
            try take(UInt8(ascii: ":"), "a colon was expected")
            return .value
        case (.separator, UInt8(ascii: ",")):
            position += 1
            return open.last == UInt8(ascii: "{") ? .name : .value
        case (.separator, UInt8(ascii: "}")) where open.last == UInt8(ascii: "{"),
            (.separator, UInt8(ascii: "]")) where open.last == UInt8(ascii: "["):
            open.removeLast()
            position += 1
            return .separator
        case (.separator, _):
            throw failure("a comma or a closing bracket was expected")
        }
    }

    private mutating func scalar(_ byte: UInt8) throws(JSONError) {
        switch byte {
        case UInt8(ascii: "\""): _ = try string()
        case UInt8(ascii: "t"): try literal("true")
        case UInt8(ascii: "f"): try literal("false")
        case UInt8(ascii: "n"): try literal("null")
        default: try number()
        }
    }

    private mutating func literal(_ word: StaticString) throws(JSONError) {
        for byte in String(describing: word).utf8 {
            try take(byte, "a value was expected")
        }
    }

    /// Moves over a string, quotes included.
    mutating func string() throws(JSONError) -> Range<Int> {
        let start = position
        try take(UInt8(ascii: "\""), "a string was expected")
        while position < end {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return start..<position
            case UInt8(ascii: "\\"):
                position += 1
                try escape()
            case 0x00..<0x20:
                throw failure("a control character inside a string")
            default:
                position += 1
            }
        }
        throw failure("a string that does not end")
    }

    private mutating func escape() throws(JSONError) {
        guard position < end else { throw failure("a string that does not end") }
        switch bytes[position] {
        case UInt8(ascii: "u"):
            position += 1
            for _ in 0..<4 {
                guard position < end, Self.isHexadecimal(bytes[position]) else {
                    throw failure("four hexadecimal digits were expected")
                }
                position += 1
            }
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            position += 1
        default:
            throw failure("an unknown escape")
        }
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }

    private mutating func number() throws(JSONError) {
        _ = takeIfNext(UInt8(ascii: "-"))
        if !takeIfNext(UInt8(ascii: "0")) { try digits("a value was expected") }
        if takeIfNext(UInt8(ascii: ".")) { try digits("a digit was expected") }
        if takeIfNext(UInt8(ascii: "e")) || takeIfNext(UInt8(ascii: "E")) {
            if !takeIfNext(UInt8(ascii: "+")) { _ = takeIfNext(UInt8(ascii: "-")) }
            try digits("a digit was expected")
        }
    }

    private mutating func digits(_ complaint: String) throws(JSONError) {
        let start = position
        while position < end, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) { position += 1 }
        guard position > start else { throw failure(complaint) }
    }
}
