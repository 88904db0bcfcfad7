import Crypto
import HeraldCore

/// The SHA-256 of a credential, which stands for it wherever something about it is remembered.
struct TokenDigest: Hashable, Sendable {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    /// Digests bytes where they lie.
    init(_ bytes: borrowing Bytes) {
        var hash = SHA256()
        unsafe bytes.withUnsafeBytes { unsafe hash.update(bufferPointer: $0) }
        words = Self.words(hash.finalize())
    }

    /// Digests a text.
    init(_ text: String) {
        self = text.withBytes { TokenDigest($0) }
    }

    /// Reads a digest of 64 hexadecimal digits; nil for anything else.
    init?(hexadecimal text: String) {
        guard text.utf8.count == 64, text.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }) else {
            return nil
        }
        var rest = text[...]
        var words: [UInt64] = []
        for _ in 0..<4 {
            guard let word = UInt64(rest.prefix(16), radix: 16) else { return nil }
            words.append(word)
            rest = rest.dropFirst(16)
        }
        self.words = (words[0], words[1], words[2], words[3])
    }

    /// The digest as 64 hexadecimal digits.
    var hexadecimal: String {
        [words.0, words.1, words.2, words.3].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    /// A number that spreads digests evenly.
    var spread: Int { Int(truncatingIfNeeded: words.0 >> 1) }

    /// Takes as long for digests that differ in the first byte as for equal ones.
    static func == (one: TokenDigest, other: TokenDigest) -> Bool {
        let difference =
            (one.words.0 ^ other.words.0) | (one.words.1 ^ other.words.1)
            | (one.words.2 ^ other.words.2) | (one.words.3 ^ other.words.3)
        return difference == 0
    }

    /// A digest is spread as well as any hash of it; the hasher's seed keeps others from choosing places.
    func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
    }

    private static func words(_ digest: SHA256.Digest) -> (UInt64, UInt64, UInt64, UInt64) {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        for (index, byte) in digest.enumerated() {
            switch index / 8 {
            case 0: words.0 = words.0 << 8 | UInt64(byte)
            case 1: words.1 = words.1 << 8 | UInt64(byte)
            case 2: words.2 = words.2 << 8 | UInt64(byte)
            default: words.3 = words.3 << 8 | UInt64(byte)
            }
        }
        return words
    }
}
