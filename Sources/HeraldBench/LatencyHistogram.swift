/// Times by log-linear buckets: from a nanosecond to more than an hour, in bounded memory.
///
/// Below 512 each value has a bucket of its own; above, each doubling is cut into 256 equal ones, so that a bucket is
/// never wider than a 256th of its value. A quantile is told as the highest value of its bucket, and never above the
/// greatest that came.
struct LatencyHistogram: Sendable, Equatable {
    private static let halfBits = 8
    private static let half = 1 << halfBits
    private static let doublings = 34

    private var counts = [UInt64](repeating: 0, count: half * (doublings + 1))

    /// The values that came.
    private(set) var total: UInt64 = 0

    /// The greatest of them.
    private(set) var max: UInt64 = 0

    /// Counts a value. Those past the last bucket are counted in it.
    mutating func add(_ value: UInt64) {
        counts[Swift.min(Self.index(of: value), counts.count - 1)] += 1
        total += 1
        max = Swift.max(max, value)
    }

    /// The value that so many of a thousand do not exceed; nil if there is none.
    func quantile(perMille: UInt64) -> UInt64? {
        guard total > 0 else { return nil }
        let rank = Swift.max(1, (total * perMille + 999) / 1000)
        var seen: UInt64 = 0
        for (index, count) in counts.enumerated() {
            seen += count
            if seen >= rank { return index == counts.count - 1 ? max : Swift.min(Self.highest(in: index), max) }
        }
        return max
    }

    private static func index(of value: UInt64) -> Int {
        let bits = UInt64.bitWidth - (value | 1).leadingZeroBitCount
        let shift = Swift.max(bits - halfBits - 1, 0)
        return shift * half + Int(value >> shift)
    }

    private static func highest(in index: Int) -> UInt64 {
        guard index >= 2 * half else { return UInt64(index) }
        let shift = index / half - 1
        return (UInt64(index - shift * half + 1) << shift) - 1
    }
}
