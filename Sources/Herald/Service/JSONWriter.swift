/// Writes JSON of our own making: members in the order in which they are added.
struct JSONWriter {
    /// What was written.
    private(set) var bytes: [UInt8] = []
    private var needsComma = false

    /// Opens an object or, with another bracket, an array.
    mutating func open(_ bracket: Unicode.Scalar = "{") {
        separate()
        bytes.append(UInt8(ascii: bracket))
        needsComma = false
    }

    /// Closes what was opened last.
    mutating func close(_ bracket: Unicode.Scalar = "}") {
        bytes.append(UInt8(ascii: bracket))
        needsComma = true
    }

    /// Adds a member's name; its value comes next.
    mutating func name(_ name: String) {
        separate()
        EscapedText.appendQuoted(name, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    /// Adds a member with a text.
    mutating func member(_ name: String, _ text: String) {
        self.name(name)
        EscapedText.appendQuoted(text, to: &bytes)
        needsComma = true
    }

    /// Adds a member with a text, or null.
    mutating func member(_ name: String, _ text: String?) {
        if let text {
            member(name, text)
        } else {
            self.name(name)
            bytes.append(contentsOf: "null".utf8)
            needsComma = true
        }
    }

    /// Adds a member with a whole number.
    mutating func member(_ name: String, _ number: some BinaryInteger) {
        self.name(name)
        bytes.append(contentsOf: String(number).utf8)
        needsComma = true
    }

    /// Adds a value that is JSON already.
    mutating func raw(_ json: String) {
        bytes.append(contentsOf: json.utf8)
        needsComma = true
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }
}
