/// Which events each reader has got, a bit for each.
struct Receipts: Sendable {
    private let events: Int
    private var words: [UInt64]

    init(readers: Int, events: Int) {
        self.events = events
        self.words = [UInt64](repeating: 0, count: (readers * events + 63) / 64)
    }

    /// Notes that a reader has got an event. Says no if it had got it before.
    mutating func note(_ event: Int, by reader: Int) -> Bool {
        let bit = reader * events + event
        let mask: UInt64 = 1 << UInt64(bit % 64)
        guard words[bit / 64] & mask == 0 else { return false }
        words[bit / 64] |= mask
        return true
    }
}
