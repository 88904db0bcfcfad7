/// Text from outside, made safe to stand on one line of a log, a message or a configuration file.
///
/// Line breaks would let input begin a line of its own, control characters would let it drive a terminal, and
/// invisible format characters (U+202E and its like) would let it read as something else. All of them leave as
/// `\n`, `\t` or `\u001b`, the escapes that JSON and YAML share.
enum EscapedText {
    /// Appends `text` to `line`, escaping what could break or disguise the line, and the backslash itself.
    static func append(_ text: some StringProtocol, to line: inout [UInt8], escapingQuotes: Bool) {
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": line.append(contentsOf: #"\\"#.utf8)
            case "\"" where escapingQuotes: line.append(contentsOf: #"\""#.utf8)
            case "\n": line.append(contentsOf: #"\n"#.utf8)
            case "\r": line.append(contentsOf: #"\r"#.utf8)
            case "\t": line.append(contentsOf: #"\t"#.utf8)
            case let scalar where isHarmless(scalar):
                line.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            default: appendCodeUnits(of: scalar, to: &line)
            }
        }
    }

    /// Appends `text` in double quotes, as a JSON string.
    static func appendQuoted(_ text: some StringProtocol, to line: inout [UInt8]) {
        line.append(UInt8(ascii: "\""))
        append(text, to: &line, escapingQuotes: true)
        line.append(UInt8(ascii: "\""))
    }

    /// `text` in double quotes, as a JSON string; at most `limit` of its characters when one is given.
    static func quoted(_ text: some StringProtocol, limit: Int? = nil) -> String {
        var line: [UInt8] = []
        let shown = text.prefix(limit ?? Int.max)
        appendQuoted(shown, to: &line)
        if shown.endIndex < text.endIndex {
            line.append(contentsOf: "...".utf8)
        }
        return String(decoding: line, as: UTF8.self)
    }

    /// `text` on one line, without quotes.
    static func inline(_ text: some StringProtocol) -> String {
        var line: [UInt8] = []
        append(text, to: &line, escapingQuotes: false)
        return String(decoding: line, as: UTF8.self)
    }

    /// Whether the scalar can stand for itself: neither a control, a line break nor an invisible format character.
    static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.value < 0x80 {
            return scalar.value >= 0x20 && scalar.value != 0x7F
        }
        return switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }

    /// Writes a scalar as `\uXXXX`, beyond U+FFFF as the two surrogates that JSON asks for (RFC 8259 §7).
    private static func appendCodeUnits(of scalar: Unicode.Scalar, to line: inout [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
            line.append(contentsOf: #"\u"#.utf8)
            for shift in stride(from: 12, through: 0, by: -4) {
                line.append(digits[Int(unit >> UInt16(shift)) & 0xF])
            }
        }
    }
}
