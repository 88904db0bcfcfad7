/// Base64 for URLs without padding (RFC 4648 §5), as tokens and keys are written.
///
/// Strict: of the several texts that could stand for the same bytes only the one that encoding writes is read, so that
/// a token has one form only.
enum Base64URL {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    /// The value of each byte as a digit; 255 for what is none.
    private static let digits: [UInt8] = {
        var digits = [UInt8](repeating: 255, count: 256)
        for (value, byte) in alphabet.enumerated() { digits[Int(byte)] = UInt8(value) }
        return digits
    }()

    /// Writes bytes.
    static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        var (pending, bits): (UInt32, UInt32) = (0, 0)
        for byte in bytes {
            pending = (pending << 8 | UInt32(byte)) & 0xFFFF
            bits += 8
            while bits >= 6 {
                bits -= 6
                text.append(alphabet[Int(pending >> bits) & 0x3F])
            }
        }
        if bits > 0 { text.append(alphabet[Int(pending << (6 - bits)) & 0x3F]) }
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads bytes; nil for anything that `encode` would not have written.
    static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        guard text.count % 4 != 1 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count * 3 / 4)
        var (pending, bits): (UInt32, UInt32) = (0, 0)
        for byte in text {
            let digit = digits[Int(byte)]
            guard digit != 255 else { return nil }
            pending = (pending << 6 | UInt32(digit)) & 0xFFFF
            bits += 6
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: pending >> bits))
            }
        }
        // What is left over of the last digit has to be zeros.
        return pending & ((1 << bits) - 1) == 0 ? bytes : nil
    }
}
