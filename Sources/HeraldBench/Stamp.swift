import NIOCore

/// The number of an event within its measurement, as it stands at the very end of its data: `#0000002a;`.
///
/// Neither JSON nor the framing of any transport has to escape these characters or ever uses them by itself. So a
/// reader finds the events in what it gets by looking for numbers, the same for all transports and at little cost, and
/// whoever has the number has the whole of the data.
enum Stamp {
    static let mark = UInt8(ascii: "#")
    static let end = UInt8(ascii: ";")
    static let digitCount = 8

    /// The bytes of a stamp.
    static let length = digitCount + 2

    /// The data of an event: filling, and its number. The size is at least that of a stamp.
    static func data(event: Int, size: Int) -> ByteBuffer {
        var data = ByteBuffer(repeating: UInt8(ascii: "x"), count: size - length)
        data.writeInteger(mark)
        for shift in stride(from: (digitCount - 1) * 4, through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: event >> shift) & 0xF
            data.writeInteger(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
        data.writeInteger(end)
        return data
    }
}

/// Finds the numbers of events in bytes that come in pieces of any size.
struct StampScanner {
    /// The digits of a stamp that have come; nil outside of one.
    private var digitCount: Int?
    private var number = 0

    /// Takes the next piece; calls back with each number that ends in it.
    mutating func feed(_ piece: ByteBufferView, _ found: (Int) -> Void) {
        var rest = piece
        while !rest.isEmpty {
            if digitCount == nil {
                guard let mark = rest.firstIndex(of: Stamp.mark) else { return }
                begin()
                rest = rest[(mark + 1)...]
                continue
            }
            let byte = rest[rest.startIndex]
            rest = rest.dropFirst()
            if let number = take(byte) { found(number) }
        }
    }

    private mutating func begin() {
        digitCount = 0
        number = 0
    }

    /// Takes a byte within a stamp; gives the number if it was the last of one.
    private mutating func take(_ byte: UInt8) -> Int? {
        guard let count = digitCount else { return nil }
        if byte == Stamp.mark {
            begin()
        } else if count == Stamp.digitCount {
            digitCount = nil
            if byte == Stamp.end { return number }
        } else if let digit = Self.digit(byte) {
            number = number << 4 | digit
            digitCount = count + 1
        } else {
            digitCount = nil
        }
        return nil
    }

    private static func digit(_ byte: UInt8) -> Int? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte - UInt8(ascii: "a")) + 10
        default: nil
        }
    }
}
