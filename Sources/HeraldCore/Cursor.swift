internal import CHeraldBase
internal import CHeraldWire

/// A place in the log, and the id of the event that stands there: `<epoch>-<sequence>`.
public struct Cursor: Hashable, Sendable, CustomStringConvertible {
    /// Names the sequence that is counted in; a memory-only server draws a new one at each start.
    public let epoch: UInt32

    /// The number of the event in the epoch; 0: before the first.
    public let sequence: UInt64

    /// Makes a cursor of its two parts.
    public init(epoch: UInt32, sequence: UInt64) {
        self.epoch = epoch
        self.sequence = sequence
    }

    /// Reads an event id: eight lower-case hexadecimal digits, a dash, decimal without leading zeros.
    public init?(_ text: String) {
        guard let cursor = unsafe text.withSlice({ unsafe Cursor(slice: $0) }) else { return nil }
        self = cursor
    }

    init?(slice: hr_slice) {
        var epoch: UInt32 = 0
        var sequence: UInt64 = 0
        guard unsafe hr_id_parse(slice, &epoch, &sequence) == .ok else { return nil }
        self.init(epoch: epoch, sequence: sequence)
    }

    /// The cursor as events carry it in `id`.
    public var description: String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(HR_ID_TEXT_MAX)) { text in
            let length = unsafe hr_id_format(epoch, sequence, text.baseAddress)
            return unsafe hr_slice(data: text.baseAddress, len: length).text
        }
    }
}

/// Where a reader begins.
public enum Position: Hashable, Sendable {
    /// With the oldest event that is kept.
    case earliest
    /// With the first event from now on.
    case latest
    /// With what follows a place.
    case after(Cursor)

    /// Reads `earliest`, `latest` or an event id.
    public init?(_ text: String) {
        guard let position = text.withBytes({ Position($0) }) else { return nil }
        self = position
    }

    /// Reads `earliest`, `latest` or an event id.
    public init?(_ text: borrowing Bytes) {
        if text == "earliest" {
            self = .earliest
        } else if text == "latest" {
            self = .latest
        } else if let cursor = unsafe Cursor(slice: text.slice) {
            self = .after(cursor)
        } else {
            return nil
        }
    }
}

/// Wall-clock time as the log's events carry it.
public enum EventTime {
    /// Milliseconds since 1970 as RFC 3339 text in UTC, e.g. `2026-01-02T03:04:05.678Z`.
    public static func text(milliseconds: Int64) -> String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(HR_TIME_TEXT_LEN)) { text in
            unsafe hr_time_format(milliseconds, text.baseAddress)
            return unsafe hr_slice(data: text.baseAddress, len: text.count).text
        }
    }
}
