// A cursor names a place in a server's one order of events.
//
// The same cursor resumes a subscription over every transport and to every filter, because sequences are drawn
// out of one total order per server. It says nothing between two epochs: each epoch counts on its own.

/// The id of an event, and at once the place right after that event.
public struct Cursor: Sendable, Hashable {
    /// Names the run of sequences that `sequence` counts in.
    public let epoch: UInt32

    /// The event's place in the total order of its epoch.
    public let sequence: UInt64

    /// Makes the cursor that stands right after an event of the given epoch and sequence.
    public init(epoch: UInt32, sequence: UInt64) {
        self.epoch = epoch
        self.sequence = sequence
    }
}

extension Cursor: LosslessStringConvertible {
    /// Reads the form `5f3a9c1e-42`: eight lower-case hexadecimal digits, a hyphen, a decimal number.
    ///
    /// Gives `nil` for anything else, a number with leading zeros included, so that a cursor has one spelling only.
    public init?(_ description: String) {
        let text = Array(description.utf8)
        guard text.count >= 10, text.count <= 29, text[8] == UInt8(ascii: "-") else { return nil }
        var epoch: UInt32 = 0
        for byte in text[..<8] {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): epoch = epoch << 4 | UInt32(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): epoch = epoch << 4 | UInt32(byte - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        let digits = text[9...]
        guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            digits.count == 1 || digits.first != UInt8(ascii: "0"),
            let sequence = UInt64(String(decoding: digits, as: UTF8.self))
        else { return nil }
        self.init(epoch: epoch, sequence: sequence)
    }

    /// The cursor as it stands on the wire.
    public var description: String {
        let digits = String(epoch, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits + "-\(sequence)"
    }
}

/// Where a subscription starts.
public enum Position: Sendable, Hashable {
    /// At the oldest event that the server still keeps.
    case earliest

    /// With the first event published after the subscription began.
    case latest

    /// Right after the event of this id.
    case after(Cursor)
}

extension Position: LosslessStringConvertible {
    /// Reads `earliest`, `latest` or an event id.
    public init?(_ description: String) {
        switch description {
        case "earliest": self = .earliest
        case "latest": self = .latest
        default:
            guard let cursor = Cursor(description) else { return nil }
            self = .after(cursor)
        }
    }

    /// The position as it stands in the `after` parameter.
    public var description: String {
        switch self {
        case .earliest: "earliest"
        case .latest: "latest"
        case .after(let cursor): cursor.description
        }
    }
}
