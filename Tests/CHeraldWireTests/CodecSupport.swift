import CHeraldBase
import CHeraldWire

/// Safe ways into the JSON, base64, publication and event codecs.
enum Codec {
    /// Lends bytes as a slice; an empty one has no memory at all, as it may.
    static func withSlice<Result>(_ bytes: [UInt8], _ body: (hr_slice) -> Result) -> Result {
        unsafe bytes.withUnsafeBytes { raw in
            let data = unsafe bytes.isEmpty ? nil : raw.baseAddress?.assumingMemoryBound(to: CChar.self)
            return unsafe body(hr_slice(data: data, len: raw.count))
        }
    }

    static func withSlice<Result>(_ text: String, _ body: (hr_slice) -> Result) -> Result {
        unsafe withSlice(Array(text.utf8), body)
    }

    static func bytes(_ slice: hr_slice) -> [UInt8] {
        unsafe slice.len == 0 ? [] : Array(UnsafeRawBufferPointer(start: slice.data, count: slice.len))
    }

    static func text(_ slice: hr_slice) -> String {
        unsafe String(decoding: bytes(slice), as: UTF8.self)
    }

    /// The error's text, which must be printable ASCII.
    static func what(_ error: hr_batch_error) -> String {
        let all = unsafe withUnsafeBytes(of: error.what) { unsafe Array($0) }
        let text = all.prefix { $0 != 0 }
        precondition(text.count < all.count && text.allSatisfy { (0x20...0x7E).contains($0) })
        return String(decoding: text, as: UTF8.self)
    }

    /// What `fill` appends behind a few bytes that must stay.
    static func output(
        _ fill: (UnsafeMutablePointer<hr_buf>) -> hr_status
    ) -> (status: hr_status, bytes: [UInt8]) {
        var buf = unsafe hr_buf()
        defer { unsafe hr_buf_fini(&buf) }
        let before = Array("before".utf8)
        _ = unsafe withSlice(before) { unsafe hr_buf_append_slice(&buf, $0) }
        let status = unsafe fill(&buf)
        let all = unsafe bytes(hr_buf_slice(&buf))
        precondition(all.starts(with: before))
        return (status, Array(all.dropFirst(before.count)))
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014): the same numbers from the same seed.
struct CodecRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A text with what codecs stumble over: quotes, controls, line breaks, all lengths of UTF-8.
    mutating func text(upTo length: Int) -> String {
        let odd: [Unicode.Scalar] = [
            "\"", "\\", "/", "\n", "\r", "\t", "\u{0}", "\u{1F}", "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{2027}",
            "\u{2028}", "\u{2029}", "\u{202A}", "\u{D7FF}", "\u{E000}", "\u{FFFD}", "\u{10000}", "\u{10FFFF}", "é", "€",
        ]
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...length, using: &self) {
            let plain = Unicode.Scalar(UInt8.random(in: 0x20...0x7E, using: &self))
            text.append(Int.random(in: 0..<4, using: &self) == 0 ? odd.randomElement(using: &self)! : plain)
        }
        return String(text)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &self) }
    }

    /// A JSON text of nested values, with white space of all kinds between its tokens.
    mutating func json(depth: Int) -> String {
        let space = [" ", "\n", "\r\n", "\t", "", "", ""].randomElement(using: &self)!
        let value: String
        switch Int.random(in: 0..<(depth > 0 ? 7 : 5), using: &self) {
        case 0: value = ["null", "true", "false"].randomElement(using: &self)!
        case 1: value = "\(Int64.random(in: -(1 << 53)...(1 << 53), using: &self))"
        case 2: value = ["0", "-0", "1.5", "-2e3", "7E-2", "0.25e+1"].randomElement(using: &self)!
        case 3: value = #""\u0041\ud83d\ude00\/\b\"""#
        case 4: value = quoted(text(upTo: 12))
        case 5:
            let items = (0..<Int.random(in: 0...4, using: &self)).map { _ in json(depth: depth - 1) }
            value = "[\(space)\(items.joined(separator: ","))\(space)]"
        default:
            let members = (0..<Int.random(in: 0...4, using: &self)).map { index in
                "\(space)\"m\(index)\"\(space):\(json(depth: depth - 1))"
            }
            value = "{\(members.joined(separator: ","))\(space)}"
        }
        return space + value + space
    }

    private func quoted(_ text: String) -> String {
        let escaped = text.unicodeScalars.map { scalar in
            scalar == "\"" || scalar == "\\" || scalar.value < 0x20
                ? "\\u" + String(scalar.value + 0x10000, radix: 16).dropFirst() : String(scalar)
        }
        return "\"\(escaped.joined())\""
    }
}
