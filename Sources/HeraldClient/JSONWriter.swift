/// Writes JSON objects member by member, with values that are already JSON taken over as they are.
struct JSONWriter {
    private(set) var bytes: [UInt8] = [UInt8(ascii: "{")]

    /// Adds a member whose value is text.
    mutating func member(_ name: String, text: String) {
        begin(name)
        Self.append(text, to: &bytes)
    }

    /// Adds a member whose value is a number.
    mutating func member(_ name: String, number: Int) {
        begin(name)
        bytes.append(contentsOf: String(number).utf8)
    }

    /// Adds a member whose value is JSON already. Line breaks in it become spaces, so that the whole stays one line.
    ///
    /// In well-formed JSON a raw line break stands between tokens only, where a space means the same.
    mutating func member(_ name: String, json: some Collection<UInt8>) {
        begin(name)
        bytes.append(contentsOf: json.lazy.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 })
    }

    /// Ends the object and gives its bytes.
    consuming func finish() -> [UInt8] {
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    private mutating func begin(_ name: String) {
        if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
        Self.append(name, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
    }

    private static func append(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0x00..<0x20:
                let digits = String(byte, radix: 16)
                bytes.append(contentsOf: ("\\u" + String(repeating: "0", count: 4 - digits.count) + digits).utf8)
            default:
                bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
